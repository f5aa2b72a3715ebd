"""Razorpay's own routes: the part of the simulator a production client talks to without knowing."""

from razorpay_simulator import capture, orders, payments, refunds, webhook_settings
from razorpay_simulator.fields import Page
from razorpay_simulator.provider import Provider
from razorpay_simulator.routing import Route
from razorpay_simulator.wire import Answer, Request, json_answer

REFUND_KEY = "x-refund-idempotency"


def create_order(provider: Provider, request: Request) -> Answer:
    return json_answer(orders.create(provider, request.json()), status=provider.variants.created_status)


def list_orders(provider: Provider, request: Request) -> Answer:
    query = request.query
    found = orders.listing(
        provider,
        Page.from_query(query),
        receipt=query.get("receipt", [None])[-1],
        authorized=query.get("authorized", [None])[-1],
        expand=[*query.get("expand[]", []), *query.get("expand", [])],
    )
    return json_answer(found)


def fetch_order(provider: Provider, request: Request) -> Answer:
    return json_answer(orders.fetch(provider, request.params["order_id"]))


def edit_order(provider: Provider, request: Request) -> Answer:
    return json_answer(orders.edit(provider, request.params["order_id"], request.json()))


def payments_of_order(provider: Provider, request: Request) -> Answer:
    return json_answer(orders.payments_of(provider, request.params["order_id"]))


def list_payments(provider: Provider, request: Request) -> Answer:
    return json_answer(payments.listing(provider, Page.from_query(request.query)))


def fetch_payment(provider: Provider, request: Request) -> Answer:
    return json_answer(payments.fetch(provider, request.params["payment_id"]))


def edit_payment(provider: Provider, request: Request) -> Answer:
    return json_answer(payments.edit(provider, request.params["payment_id"], request.json()))


def capture_payment(provider: Provider, request: Request) -> Answer:
    return json_answer(capture.capture_by_merchant(provider, request.params["payment_id"], request.json()))


def refund_payment(provider: Provider, request: Request) -> Answer:
    made = refunds.refund_once(
        provider,
        request.params["payment_id"],
        request.json(),
        raw=request.body,
        key=request.headers.get(REFUND_KEY),
    )
    return json_answer(made, status=provider.variants.created_status)


def refunds_of_payment(provider: Provider, request: Request) -> Answer:
    return json_answer(refunds.of_payment(provider, request.params["payment_id"], Page.from_query(request.query)))


def refund_of_payment(provider: Provider, request: Request) -> Answer:
    params = request.params
    return json_answer(refunds.fetch_of_payment(provider, params["payment_id"], params["refund_id"]))


def list_refunds(provider: Provider, request: Request) -> Answer:
    return json_answer(refunds.listing(provider, Page.from_query(request.query)))


def fetch_refund(provider: Provider, request: Request) -> Answer:
    return json_answer(refunds.fetch(provider, request.params["refund_id"]))


def edit_refund(provider: Provider, request: Request) -> Answer:
    return json_answer(refunds.edit(provider, request.params["refund_id"], request.json()))


def create_webhook(provider: Provider, request: Request) -> Answer:
    _check_account(provider, request)
    made = webhook_settings.create(provider, request.json())
    return json_answer(made, status=provider.variants.created_status)


def list_webhooks(provider: Provider, request: Request) -> Answer:
    _check_account(provider, request)
    return json_answer(webhook_settings.listing(provider))


def fetch_webhook(provider: Provider, request: Request) -> Answer:
    _check_account(provider, request)
    return json_answer(webhook_settings.fetch(provider, request.params["webhook_id"]))


def edit_webhook(provider: Provider, request: Request) -> Answer:
    _check_account(provider, request)
    return json_answer(webhook_settings.edit(provider, request.params["webhook_id"], request.json()))


def delete_webhook(provider: Provider, request: Request) -> Answer:
    _check_account(provider, request)
    return json_answer(webhook_settings.delete(provider, request.params["webhook_id"]))


def _check_account(provider: Provider, request: Request) -> None:
    """Only the routes below `/v2/accounts` name one."""
    if (account_id := request.params.get("account_id")) is not None:
        webhook_settings.check_account(provider, account_id)


OWN, OF_ACCOUNT = "/v1/webhooks", "/v2/accounts/{account_id}/webhooks"
ORDER, PAYMENT = "/v1/orders/{order_id}", "/v1/payments/{payment_id}"
API_ROUTES = (
    Route(name="orders.create", method="POST", path="/v1/orders", operation=create_order),
    Route(name="orders.list", method="GET", path="/v1/orders", operation=list_orders),
    Route(name="orders.fetch", method="GET", path=ORDER, operation=fetch_order),
    Route(name="orders.edit", method="PATCH", path=ORDER, operation=edit_order),
    Route(name="orders.payments", method="GET", path=f"{ORDER}/payments", operation=payments_of_order),
    Route(name="payments.list", method="GET", path="/v1/payments", operation=list_payments),
    Route(name="payments.fetch", method="GET", path=PAYMENT, operation=fetch_payment),
    Route(name="payments.edit", method="PATCH", path=PAYMENT, operation=edit_payment),
    Route(name="payments.capture", method="POST", path=f"{PAYMENT}/capture", operation=capture_payment),
    Route(name="payments.refund", method="POST", path=f"{PAYMENT}/refund", operation=refund_payment),
    Route(name="payments.refunds", method="GET", path=f"{PAYMENT}/refunds", operation=refunds_of_payment),
    Route(
        name="payments.fetch_refund",
        method="GET",
        path=f"{PAYMENT}/refunds/{{refund_id}}",
        operation=refund_of_payment,
    ),
    Route(name="refunds.list", method="GET", path="/v1/refunds", operation=list_refunds),
    Route(name="refunds.fetch", method="GET", path="/v1/refunds/{refund_id}", operation=fetch_refund),
    Route(name="refunds.edit", method="PATCH", path="/v1/refunds/{refund_id}", operation=edit_refund),
    Route(name="webhooks.create", method="POST", path=OWN, operation=create_webhook),
    Route(name="webhooks.list", method="GET", path=OWN, operation=list_webhooks),
    Route(name="webhooks.fetch", method="GET", path=f"{OWN}/{{webhook_id}}", operation=fetch_webhook),
    Route(name="webhooks.edit", method="PUT", path=f"{OWN}/{{webhook_id}}", operation=edit_webhook),
    Route(name="webhooks.create", method="POST", path=OF_ACCOUNT, operation=create_webhook),
    Route(name="webhooks.list", method="GET", path=OF_ACCOUNT, operation=list_webhooks),
    Route(name="webhooks.fetch", method="GET", path=f"{OF_ACCOUNT}/{{webhook_id}}", operation=fetch_webhook),
    Route(name="webhooks.edit", method="PATCH", path=f"{OF_ACCOUNT}/{{webhook_id}}", operation=edit_webhook),
    Route(name="webhooks.delete", method="DELETE", path=f"{OF_ACCOUNT}/{{webhook_id}}", operation=delete_webhook),
)
API_ROUTE_NAMES = {route.name for route in API_ROUTES}
