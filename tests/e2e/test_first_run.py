"""The first five minutes: what `make run` prints is true, and what it serves needs nothing from elsewhere."""

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.shop import Shop
from tests.shop_process import OPENS_WITHIN, ShopProcess

SCHEMAS = Path(__file__).parents[2] / "services"


@pytest.fixture
def printed(own_shop: Shop) -> str:
    """The block on the terminal."""
    assert own_shop.process is not None
    return own_shop.process.printed


def test_the_block_is_all_there_is_on_the_terminal(own_shop: Shop, printed: str) -> None:
    assert own_shop.process is not None
    assert printed.strip().startswith("Haat is open")
    assert own_shop.process.complaints == ""
    assert len(printed.strip().splitlines()) < 45
    for wanted in (f"localhost:{own_shop.process.port}", "/docs", "customer@haat.example", "Ctrl-C", "make reset"):
        assert wanted in printed


def test_the_printed_commands_really_buy_something(printed: str) -> None:
    """Taken from the block as a reader would copy them, and pasted into a shell."""
    lines = printed.splitlines()
    begin = next(number for number, line in enumerate(lines) if "paste this" in line) + 1
    end = next(number for number, line in enumerate(lines) if "or pay by hand" in line)
    commands = "\n".join(line.strip() for line in lines[begin:end])

    done = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.strip().splitlines()[-1] == "paid", done.stdout + done.stderr


def test_the_log_is_a_file_of_json_lines(own_shop: Shop) -> None:
    assert own_shop.process is not None
    log = own_shop.process.data / "logs" / "haat.log"
    lines = log.read_text().splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_no_secret_is_in_the_log(own_shop: Shop) -> None:
    assert own_shop.process is not None
    log = (own_shop.process.data / "logs" / "haat.log").read_text()
    secrets = own_shop.process.secrets()
    kept = [
        *secrets["database_passwords"].values(),
        secrets["razorpay_key_secret"],
        secrets["webhook_secret"],
        secrets["refresh_key"],
        "haat-demo-2026",
        *(key["d"] for key in (*secrets["signing_keys"], *secrets["service_keys"].values())),
    ]
    assert [secret for secret in kept if secret in log] == []
    assert "eyJ" not in log, "no token either"


async def test_the_docs_page_needs_nothing_from_the_internet(shop: Shop) -> None:
    page = await shop.http.get(f"{shop.gateway}/docs", follow_redirects=True)
    assert page.status_code == 200
    named = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#]+)""", page.text)
    assert any(name.endswith(".js") for name in named)
    for name in named:
        address = httpx.URL(urljoin(str(page.url), name))
        assert address.host == page.url.host, f"{name} is elsewhere"
        asset = await shop.http.get(address)
        assert asset.status_code == 200, name
        if "css" in asset.headers["content-type"]:
            assert not re.findall(r"""url\(\s*["']?(?:https?:)?//""", asset.text), f"{name} loads from elsewhere"


async def test_the_one_document_of_the_api_is_valid_and_complete(shop: Shop) -> None:
    document = await shop.openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert document["x-missing-services"] == []
    assert {"/api/v1/orders", "/api/v1/payments", "/api/v1/cart", "/api/v1/products"} <= set(document["paths"])


async def test_the_document_of_the_events_is_complete(shop: Shop) -> None:
    document = (await shop.http.get(f"{shop.gateway}/asyncapi.json")).json()
    published = {file.name.removesuffix(".schema.json") for file in SCHEMAS.glob("*/contracts/events/*.schema.json")}
    assert set(document["channels"]) == published
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            assert message["$ref"].removeprefix("#/components/messages/") in document["components"]["messages"]


async def test_every_refusal_has_a_page_that_explains_it(shop: Shop) -> None:
    refusal = (await shop.http.get(f"{shop.gateway}/api/v1/orders")).json()
    page = await shop.http.get(urljoin(shop.gateway, refusal["type"]))
    assert page.status_code == 200
    assert refusal["code"] in page.text


async def test_the_checkout_page_is_there_for_people(shop: Shop) -> None:
    """The demo can be paid in a browser."""
    shopper = await shop.customer()
    await shopper.add_to_cart(await shop.new_variant())
    payment = await shopper.start_payment(await shopper.place_order())

    page = await shop.http.get(payment["checkout"]["page_url"])
    assert page.status_code == 200
    assert "<form" in page.text
    assert not re.findall(r"""(?:src|href)\s*=\s*["']https?://(?!localhost|127\.0\.0\.1)""", page.text)


def test_variables_that_cannot_be_used_are_told_in_a_line_each(own_shop: Shop, tmp_path: Path) -> None:
    other = ShopProcess(tmp_path)
    try:
        opening = other.launch(CATALOG_DB_POOL_SIZE="five", GATEWAY_LIMIT_READ="often")
        assert opening.wait(timeout=OPENS_WITHIN) == 1
        told = [line.partition(":")[0] for line in other.complaints.splitlines()]
        assert told == ["CATALOG_DB_POOL_SIZE", "GATEWAY_LIMIT_READ"]
    finally:
        other.kill()
