"""The page a shopper sees, used as a browser without scripts uses it: read the form, fill it in, post it."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin
from urllib.request import Request, urlopen

import pytest
import razorpay

from razorpay_simulator.checkout_page import rupees
from razorpay_simulator.testing import SimulatorProcess


class Page(HTMLParser):
    """What matters of a page: its forms with their fields, its links, and whatever it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.action, self.method = html, "", ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action, self.method = given["action"], given["method"]
        elif tag == "input" and (given["type"] == "hidden" or "checked" in given):
            self.fields[given["name"]] = given["value"]
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option":
            self.fields.setdefault(self._select, given["value"])
        elif tag == "button" and "name" in given:
            self.buttons.append((given["name"], given["value"]))
        elif tag == "a":
            self.links.append(given["href"])
        if tag in {"script", "link", "img", "iframe"} or "src" in given or "style" in given:
            self.loads.append(tag)


def read(url: str, form: dict[str, str] | None = None) -> tuple[str, Page]:
    data = urlencode(form).encode() if form is not None else None
    with urlopen(Request(url, data=data), timeout=20) as answer:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        return answer.url, Page(answer.read().decode())


@pytest.fixture
def order(client: razorpay.Client) -> dict[str, Any]:
    made: dict[str, Any] = client.order.create({"amount": 12345600, "currency": "INR", "receipt": "<b>R-7</b>"})
    return made


def page_url(simulator: SimulatorProcess, order: dict[str, Any]) -> str:
    return f"{simulator.base_url}/simulator/checkout/{order['id']}"


def test_the_form_as_it_stands_pays_the_order(
    simulator: SimulatorProcess, client: razorpay.Client, order: dict[str, Any]
) -> None:
    url, page = read(page_url(simulator, order))
    assert "Payment simulator" in page.html
    assert "₹1,23,456.00" in page.html
    assert "&lt;b&gt;R-7&lt;/b&gt;" in page.html
    assert page.loads == []
    assert page.method == "post"
    result_url, result = read(urljoin(url, page.action), page.fields)
    paid = client.order.payments(order["id"])["items"][0]
    assert paid["status"] == "captured"
    signature = result.html.split('class="mono">')[-1].split("<")[0]
    assert paid["id"] in result.html
    assert client.utility.verify_payment_signature(
        {"razorpay_order_id": order["id"], "razorpay_payment_id": paid["id"], "razorpay_signature": signature}
    )
    assert read(result_url)[1].html == result.html
    assert client.order.fetch(order["id"])["attempts"] == 1
    assert "This order is paid" in read(url)[1].html


def test_a_card_that_fails_leads_back_to_the_checkout(
    simulator: SimulatorProcess, client: razorpay.Client, order: dict[str, Any]
) -> None:
    url, page = read(page_url(simulator, order))
    form = {**page.fields, "method": "card", "card_number": "4100280000060003"}
    _, result = read(urljoin(url, page.action), form)
    assert "Payment failed" in result.html
    assert "declined by the bank" in result.html
    assert result.links == [f"/simulator/checkout/{order['id']}"]
    _, again = read(urljoin(url, result.links[0]))
    assert "Attempts on this order" in again.html
    assert client.order.fetch(order["id"])["status"] == "attempted"


def test_each_button_ends_the_payment_its_own_way(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    seen = {}
    for outcome in ("failure", "late", "authorize_only"):
        order = client.order.create({"amount": 50000, "currency": "INR", "payment": {"capture": "manual"}})
        url, page = read(page_url(simulator, order))
        assert ("outcome", outcome) in page.buttons
        _, result = read(urljoin(url, page.action), {**page.fields, "outcome": outcome})
        status = client.order.payments(order["id"])["items"][0]["status"]
        seen[outcome] = (status, "razorpay_signature" in result.html)
    assert seen == {"failure": ("failed", False), "late": ("created", False), "authorize_only": ("authorized", True)}


def test_the_proof_is_posted_to_a_callback_url_on_this_machine(
    simulator: SimulatorProcess, order: dict[str, Any]
) -> None:
    callback = "http://localhost:3000/paid?cart=7"
    url, page = read(f"{page_url(simulator, order)}?{urlencode({'callback_url': callback})}")
    _, result = read(urljoin(url, page.action), page.fields)
    assert (result.action, result.method) == (callback, "post")
    assert set(result.fields) == {"razorpay_payment_id", "razorpay_order_id", "razorpay_signature"}


@pytest.mark.parametrize("callback", ["https://shop.example/paid", "javascript:alert(1)", "http://[", "//localhost/x"])
def test_a_callback_url_elsewhere_is_ignored(simulator: SimulatorProcess, order: dict[str, Any], callback: str) -> None:
    url, page = read(f"{page_url(simulator, order)}?{urlencode({'callback_url': callback})}")
    _, result = read(urljoin(url, page.action), page.fields)
    assert callback not in result.html
    assert result.action == ""


def test_a_return_url_gives_a_way_back() -> None:
    with SimulatorProcess(return_url="http://127.0.0.1:8000/orders") as simulator:
        client = razorpay.Client(auth=(simulator.key_id, simulator.key_secret), base_url=simulator.base_url)
        url, page = read(page_url(simulator, client.order.create({"amount": 100, "currency": "INR"})))
        _, result = read(urljoin(url, page.action), page.fields)
        assert result.links == ["http://127.0.0.1:8000/orders"]
        client.session.close()


@pytest.mark.parametrize("form", [b"", b"method=cheque", b"\xff\xfe=1", b"a=1&" * 200])
def test_a_form_nobody_could_have_filled_in_shows_a_sentence(
    simulator: SimulatorProcess, order: dict[str, Any], form: bytes
) -> None:
    answer = simulator.request("POST", f"/simulator/checkout/{order['id']}/pay", body=form)
    assert answer.status == 400
    assert b'role="alert"' in answer.body


def test_an_unknown_order_gets_a_page_too(simulator: SimulatorProcess) -> None:
    for path in ("order_00000000000000", "order_00000000000000/payments/pay_00000000000000", "%3Cscript%3E"):
        answer = simulator.request("GET", f"/simulator/checkout/{path}")
        assert answer.status == 404
        assert b"No such order" in answer.body


@pytest.mark.parametrize(
    ("paise", "text"),
    [(100, "₹1.00"), (99999, "₹999.99"), (123456789, "₹12,34,567.89"), (100000000005, "₹1,00,00,00,000.05")],
)
def test_rupees_are_grouped_the_indian_way(paise: int, text: str) -> None:
    assert rupees(paise) == text
