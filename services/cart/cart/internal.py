"""Routes for other services; the gateway never routes them."""

from starlette.requests import Request

from cart import merging, ordered_items
from cart.locked_cart import LockedCart, lock_guest_cart, lock_user_cart
from cart.order_trace import trace_of
from cart.schemas import CheckoutAnswer, CheckoutItem, CheckoutRequest
from chassis.routes import Db, Router, Session, access
from chassis.strict import Id
from chassis.traces import Trace

router = Router(prefix="/internal", tags=["internal"])


@router.post(
    "/carts/{user_id}/checkout",
    response_model=CheckoutAnswer,
    openapi_extra=access("service", callers=("orders",), idempotency="none", max_body=1024 * 1024),
)
async def checkout(request: Request, user_id: Id, body: CheckoutRequest, session: Session) -> CheckoutAnswer:
    """What the user has to order, once the named orders are applied and the guest's cart is merged."""
    guest = await lock_guest_cart(session, body.guest_token_hash) if body.guest_token_hash else None
    cart = await lock_user_cart(session, user_id)
    acknowledged = await ordered_items.apply(session, cart, body.orders)
    if guest is not None:
        merging.merge(guest, cart)
    cart.save_with_commit()
    return CheckoutAnswer(
        cart_id=cart.id,
        version=cart.version,
        currency=request.app.state.settings.currency,
        items=_in_order(cart),
        acknowledged=acknowledged,
        taken_by=await ordered_items.taken_by(session, cart),
    )


def _in_order(cart: LockedCart) -> list[CheckoutItem]:
    kept = sorted(cart.items.values(), key=lambda item: item.id)
    return [CheckoutItem(variant_id=item.variant_id, quantity=item.quantity) for item in kept]


@router.get("/orders/{order_id}/trace", openapi_extra=access("service", callers=("orders",)))
async def read_trace(order_id: Id, database: Db) -> Trace:
    """What cart did about an order; nothing when it has not heard of it."""
    return Trace(items=await trace_of(database.primary_reads, order_id))
