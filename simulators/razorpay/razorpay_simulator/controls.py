"""The routes of tests and demos: the shopper's hand, the clock, the faults, the dashboard, the ledger."""

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from razorpay_simulator import paying, refunds
from razorpay_simulator.api import API_ROUTE_NAMES
from razorpay_simulator.deadlines import advance
from razorpay_simulator.entities import payment_entity, refund_entity
from razorpay_simulator.errors import InvalidField, ProviderRefusal
from razorpay_simulator.faults import FaultOrder
from razorpay_simulator.fields import check_address
from razorpay_simulator.ledger import ledger, webhook_view
from razorpay_simulator.paying import PaymentForm
from razorpay_simulator.provider import Provider
from razorpay_simulator.routing import Route
from razorpay_simulator.variants import Variants
from razorpay_simulator.wire import Answer, Request, json_answer

LONGEST_LEAP_SECONDS = 10 * 366 * 86400
Form = TypeVar("Form")


class ClockForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    seconds: float


class WebhookForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Given no secret, a webhook keeps the one it has; a new one signs only later events."""

    url: str
    secret: str | None = None
    name: str = "primary"
    events: list[str] = []


class BankAnswerForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    outcome: Literal["success", "failure"]


class SettleForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    status: Literal["processed", "failed"]


def pay(provider: Provider, request: Request) -> Answer:
    payment = paying.pay(provider, request.params["order_id"], _form(request, PaymentForm))
    return json_answer(paying.handshake(provider, payment))


def bank_answer(provider: Provider, request: Request) -> Answer:
    yes = _form(request, BankAnswerForm).outcome == "success"
    payment = paying.answer_late(provider, request.params["payment_id"], yes=yes)
    return json_answer(payment_entity(payment, provider.variants))


def dashboard_refund(provider: Provider, request: Request) -> Answer:
    made = refunds.refund(provider, request.params["payment_id"], request.json(), by_dashboard=True)
    return json_answer(refund_entity(made, provider.variants))


def settle_refund(provider: Provider, request: Request) -> Answer:
    processed = _form(request, SettleForm).status == "processed"
    made = provider.refund(request.params["refund_id"])
    settled = refunds.settle(provider, made, processed=processed, at=provider.clock.now())
    return json_answer(refund_entity(settled, provider.variants))


def show_clock(provider: Provider, _request: Request) -> Answer:
    return json_answer({"now": provider.clock.now(), "offset": provider.clock.offset})


def advance_clock(provider: Provider, request: Request) -> Answer:
    seconds = _form(request, ClockForm).seconds
    if not 0 <= seconds <= LONGEST_LEAP_SECONDS:
        raise InvalidField("The seconds must be from 0 to ten years: virtual time never goes back.", field="seconds")
    advance(provider, seconds)
    return show_clock(provider, request)


def show_variants(provider: Provider, _request: Request) -> Answer:
    return json_answer(provider.variants)


def choose_variants(provider: Provider, request: Request) -> Answer:
    """What is not named stays as it is."""
    chosen = msgspec.to_builtins(provider.variants) | request.json()
    provider.choose(_converted(chosen, Variants))
    return json_answer(provider.variants)


def show_faults(provider: Provider, _request: Request) -> Answer:
    return json_answer({"faults": provider.faults.faults})


def add_fault(provider: Provider, request: Request) -> Answer:
    order = _form(request, FaultOrder)
    fault = provider.faults.add(order, routes=API_ROUTE_NAMES, store=provider.store, now=provider.clock.now())
    return json_answer(fault)


def clear_faults(provider: Provider, _request: Request) -> Answer:
    provider.faults.clear()
    return json_answer({"faults": []})


def clear_fault(provider: Provider, request: Request) -> Answer:
    number = request.params["fault_id"]
    if number.isascii() and number.isdecimal():
        provider.faults.clear(int(number))
    return show_faults(provider, request)


def show_webhook(provider: Provider, _request: Request) -> Answer:
    return json_answer(webhook_view(provider, "primary"))


def set_webhook(provider: Provider, request: Request) -> Answer:
    form = _form(request, WebhookForm)
    check_address(form.url)
    known = provider.store.webhooks.get(form.name)
    secret = form.secret if form.secret is not None else known.secret if known else ""
    provider.set_webhook(form.name, url=form.url, secret=secret, events=form.events)
    return json_answer(webhook_view(provider, form.name))


def settle_webhooks(provider: Provider, _request: Request) -> Answer:
    waiting = provider.store.deliveries.where("status = 'pending'")
    return json_answer({"deliveries_pending": len(waiting)})


def show_ledger(provider: Provider, _request: Request) -> Answer:
    return json_answer(ledger(provider))


def _form(request: Request, kind: type[Form]) -> Form:
    return _converted(request.json(), kind)


def _converted(value: dict[str, Any], kind: type[Form]) -> Form:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProviderRefusal(str(error)) from None


def _control(method: str, path: str, operation: Any, *, after_webhooks: bool = False) -> Route:
    name = f"simulator.{operation.__name__}"
    return Route(
        name=name,
        method=method,
        path=f"/simulator/{path}",
        operation=operation,
        after_webhooks=after_webhooks,
    )


CONTROL_ROUTES = (
    _control("POST", "orders/{order_id}/pay", pay),
    _control("POST", "payments/{payment_id}/answer", bank_answer),
    _control("POST", "payments/{payment_id}/refund", dashboard_refund),
    _control("POST", "refunds/{refund_id}/settle", settle_refund),
    _control("GET", "clock", show_clock),
    _control("POST", "clock/advance", advance_clock),
    _control("GET", "variants", show_variants),
    _control("POST", "variants", choose_variants),
    _control("GET", "faults", show_faults),
    _control("POST", "faults", add_fault),
    _control("DELETE", "faults", clear_faults),
    _control("DELETE", "faults/{fault_id}", clear_fault),
    _control("GET", "webhook", show_webhook),
    _control("POST", "webhook", set_webhook),
    _control("POST", "webhook/settle", settle_webhooks, after_webhooks=True),
    _control("GET", "ledger", show_ledger),
)
