"""The routes of payments that the gateway publishes."""

from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chassis.problems import ContentTooLarge
from chassis.routes import Caller, Db, IdempotencyKey, Router, Session, access
from chassis.strict import Id
from payments import lookup, observation, refunds, webhooks
from payments.collection import Collection, JustOpened
from payments.postgres_ledger import PostgresLedger, ledger_of
from payments.provider import Provider
from payments.schemas import (
    Handshake,
    PaymentAnswer,
    PaymentList,
    PaymentQuery,
    PaymentRequest,
    RefundAnswer,
    RefundList,
    RefundRequest,
)
from payments.settings import PaymentsSettings

router = Router(prefix="/api/v1/payments", tags=["payments"])


async def _settings(request: Request) -> PaymentsSettings:
    settings: PaymentsSettings = request.app.state.settings
    return settings


async def _collection(request: Request) -> Collection:
    collection: Collection = request.app.state.collection
    return collection


async def _provider(request: Request) -> Provider:
    provider: Provider = request.app.state.provider
    return provider


Settings = Annotated[PaymentsSettings, Depends(_settings)]
Collecting = Annotated[Collection, Depends(_collection)]
Razorpay = Annotated[Provider, Depends(_provider)]


@router.post(
    "",
    status_code=201,
    responses={200: {"model": PaymentAnswer, "description": "The provider order exists already."}},
    openapi_extra=access("user", idempotency="none", transaction=False),
)
async def open_payment(
    *, body: PaymentRequest, caller: Caller, db: Db, collection: Collecting, settings: Settings, response: Response
) -> PaymentAnswer:
    """Make an order payable at the provider; `preparing` when the provider takes longer than three seconds."""
    opened = await collection.open_payment(body.order_id, user_id=caller.user_id)
    response.status_code = 201 if opened else 200
    if isinstance(opened, JustOpened):
        return lookup.describe_opened(opened.lease, opened.provider_order_id, settings)
    async with db.transaction() as session:
        payment = await lookup.payment_of_order(session, body.order_id, user_id=caller.user_id)
        assert payment is not None  # noqa: S101 - opened above
        return await lookup.describe(session, payment, settings)


@router.get("", openapi_extra=access("user"))
async def find_payment_of_order(
    query: Annotated[PaymentQuery, Query()], caller: Caller, session: Session, settings: Settings
) -> PaymentList:
    """The payment of an order: a list of none or one."""
    owner = None if caller.is_staff else caller.user_id
    payment = await lookup.payment_of_order(session, query.order_id, user_id=owner)
    return PaymentList(items=[await lookup.describe(session, payment, settings)] if payment else [])


@router.get("/{payment_id}", openapi_extra=access("user"))
async def read_payment(payment_id: Id, caller: Caller, session: Session, settings: Settings) -> PaymentAnswer:
    """One payment with its attempts and refunds."""
    owner = None if caller.is_staff else caller.user_id
    payment = await lookup.find_payment(session, payment_id, user_id=owner)
    return await lookup.describe(session, payment, settings)


@router.post("/{payment_id}/verify", openapi_extra=access("user", idempotency="none", transaction=False))
async def verify_payment(
    *, payment_id: Id, body: Handshake, caller: Caller, db: Db, provider: Razorpay, settings: Settings
) -> PaymentAnswer:
    """Prove with the checkout's signature that an attempt was authorised. Repeating it changes nothing."""
    async with db.transaction() as session:
        payment = await lookup.find_payment(session, payment_id, user_id=caller.user_id)
    await observation.verify_handshake(
        ledger_of(db),
        provider,
        payment,
        order=body.razorpay_order_id,
        attempt=body.razorpay_payment_id,
        signature=body.razorpay_signature,
    )
    async with db.transaction() as session:
        payment = await lookup.find_payment(session, payment_id, user_id=caller.user_id)
        return await lookup.describe(session, payment, settings)


@router.post("/{payment_id}/refunds", status_code=202, openapi_extra=access("staff", idempotency="required"))
async def refund_payment(
    payment_id: Id, body: RefundRequest, caller: Caller, key: IdempotencyKey, session: Session
) -> RefundAnswer:
    """Give money back: never more than captured minus refunded."""
    payment = await lookup.find_payment(session, payment_id, user_id=None)
    refund = await refunds.ask_for_refund(
        PostgresLedger(session), payment, amount=body.amount, reason=body.reason, key=key or "", staff_id=caller.user_id
    )
    return lookup.describe_refund(refund, payment.currency)


@router.get("/{payment_id}/refunds", openapi_extra=access("staff"))
async def list_refunds(payment_id: Id, session: Session) -> RefundList:
    """Every refund of a payment, oldest first."""
    payment = await lookup.find_payment(session, payment_id, user_id=None)
    return RefundList(items=await lookup.describe_refunds(session, payment))


@router.post("/webhooks/razorpay", openapi_extra=access("provider", transaction=False))
async def receive_webhook(request: Request, db: Db, settings: Settings) -> Response:
    """Razorpay's calls: proven over the raw body, stored, answered; processed after."""
    body = await _raw_body(request)
    webhooks.prove(body, signature=request.headers.get("x-razorpay-signature"), secrets=settings.webhook_secrets)
    async with db.one_statement() as session:
        event_id = await webhooks.receive(session, body, event_id=request.headers.get("x-razorpay-event-id"))
    if event_id is not None:
        processing: webhooks.Processing = request.app.state.webhooks
        processing.soon(event_id, body)
    return JSONResponse({"status": "stored"})


async def _raw_body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > webhooks.MAX_BODY:
            raise ContentTooLarge(f"A webhook has at most {webhooks.MAX_BODY} bytes.", limit=webhooks.MAX_BODY)
        chunks.append(chunk)
    return b"".join(chunks)
