"""The page a shopper pays on, in place of Razorpay's: plain HTML forms, without scripts."""

import ipaddress
from urllib.parse import quote, urlsplit

import msgspec

from razorpay_simulator import checkout_page, paying
from razorpay_simulator.checkout_page import CheckoutView
from razorpay_simulator.errors import ProviderRefusal
from razorpay_simulator.paying import PaymentForm
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Order
from razorpay_simulator.routing import Route
from razorpay_simulator.wire import Answer, Request

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'self' http://localhost:* http://127.0.0.1:*"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def show_checkout(provider: Provider, request: Request) -> Answer:
    try:
        order = provider.order(request.params["order_id"])
    except ProviderRefusal:
        return _page(checkout_page.unknown_order(), status=404)
    return _page(checkout_page.checkout(_view(provider, order, request)))


def pay(provider: Provider, request: Request) -> Answer:
    """A payment, then a redirect to what became of it: reloading that page pays nothing again."""
    try:
        order = provider.order(request.params["order_id"])
    except ProviderRefusal:
        return _page(checkout_page.unknown_order(), status=404)
    try:
        payment = paying.pay(provider, order.id, _payment_form(request.form()))
    except ProviderRefusal as refusal:
        view = _view(provider, provider.order(order.id), request)
        return _page(checkout_page.checkout(view, problem=refusal.description), status=refusal.status)
    location = f"/simulator/checkout/{order.id}/payments/{payment.id}{_kept_query(request)}"
    return Answer(status=303, headers={"location": location, "cache-control": "no-store"})


def show_result(provider: Provider, request: Request) -> Answer:
    try:
        order = provider.order(request.params["order_id"])
        payment = provider.payment(request.params["payment_id"])
    except ProviderRefusal:
        return _page(checkout_page.unknown_order(), status=404)
    if payment.order_id != order.id:
        return _page(checkout_page.unknown_order(), status=404)
    view = _view(provider, order, request)
    signature = provider.sign(order.id, payment.id) if payment.authorized_at is not None else None
    return _page(checkout_page.result(view, payment, signature=signature))


def _view(provider: Provider, order: Order, request: Request) -> CheckoutView:
    return CheckoutView(
        order=order,
        payments=provider.store.payments.where("order_id = ?", (order.id,)),
        callback_url=_callback_url(request),
        return_url=provider.settings.return_url,
        query=_kept_query(request),
    )


def _payment_form(form: dict[str, str]) -> PaymentForm:
    """Both instruments are sent, as no script removes one; the method says which counts."""
    used = "vpa" if form.get("method") == "upi" else "card_number"
    kept = {name: form[name] for name in ("method", "outcome", used) if form.get(name)}
    try:
        return msgspec.convert(kept, PaymentForm)
    except msgspec.ValidationError:
        raise ProviderRefusal("Choose how to pay: by UPI or by card.") from None


def _callback_url(request: Request) -> str:
    """Where to send the signed proof: only to this machine, as a test page must not post to strangers."""
    url = request.query.get("callback_url", [""])[-1]
    try:
        address = urlsplit(url)
        host = address.hostname or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return ""
    return url if local and address.scheme in ("http", "https") else ""


def _kept_query(request: Request) -> str:
    callback_url = _callback_url(request)
    return f"?callback_url={quote(callback_url, safe='')}" if callback_url else ""


def _page(html: str, *, status: int = 200) -> Answer:
    return Answer(status=status, body=html.encode(), media_type="text/html; charset=utf-8", headers=dict(_HEADERS))


_PAGE = "/simulator/checkout/{order_id}"
CHECKOUT_ROUTES = (
    Route(name="checkout.show", method="GET", path=_PAGE, operation=show_checkout),
    Route(name="checkout.pay", method="POST", path=f"{_PAGE}/pay", operation=pay),
    Route(name="checkout.result", method="GET", path=f"{_PAGE}/payments/{{payment_id}}", operation=show_result),
)
