"""What checkout asks of the other services, and how it reads their answers: only what it needs, ignoring the rest.

Every call may be repeated without harm. Whatever an answer is not prepared for becomes 503, and nothing was ordered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from chassis.clients import InternalClient, Reply, UpstreamUnavailable
from chassis.telemetry import get_logger
from orders.errors import AddressNotFound, CheckoutInterrupted, InsufficientStock
from orders.known_orders import UntoldOrder
from orders.schemas import Address

ORDERS_PER_CALL = 10
"""Orders named to cart in one call, so that its body stays small however many are under way."""


class CartItem(BaseModel):
    """A variant the shopper wants, and how many."""

    variant_id: UUID
    quantity: int


class Cart(BaseModel):
    """The caller's cart, after cart has applied the orders it was told of."""

    cart_id: UUID
    version: int
    items: list[CartItem]
    acknowledged: list[UUID]
    taken_by: UUID | None


class OfferedItem(CartItem):
    """A held variant with its name and price of this moment."""

    product_id: UUID
    sku: str
    name: str
    image_url: str | None
    unit_price: int


class Offer(BaseModel):
    """What catalog holds and for how much; `hold` numbers the holds of this order id: only the newest is released."""

    hold: int
    currency: str
    items: list[OfferedItem]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The services that take part in placing an order."""

    accounts: InternalClient
    cart: InternalClient
    catalog: InternalClient

    async def address(self, user_id: UUID, address_id: UUID) -> dict[str, Any]:
        """An address of the user's book, to be kept as it is now. Raises AddressNotFound."""
        reply = await self.accounts.call("GET", f"/internal/users/{user_id}/addresses/{address_id}")
        if reply.status == 404:
            raise AddressNotFound("Choose an address of your address book, or send the address itself.")
        if not reply.is_ok:
            raise _unexpected("accounts", reply)
        return {name: reply.data.get(name) for name in Address.model_fields}

    async def cart_of(
        self, user_id: UUID, *, untold: Sequence[UntoldOrder], guest_token_hash: str | None
    ) -> tuple[Cart, list[UUID]]:
        """The user's cart once it knows of the given orders, and those it need not be told of again."""
        cart = None
        told: list[UUID] = []
        for orders in _batches(untold):
            body = {"guest_token_hash": guest_token_hash, "orders": orders}
            reply = await self.cart.call("POST", f"/internal/carts/{user_id}/checkout", json=body)
            if not reply.is_ok:
                raise _unexpected("cart", reply)
            cart = Cart.model_validate(reply.data)
            # Nothing of a paid order ever comes back to the cart, so once it is taken cart is done with it.
            told += [*cart.acknowledged, *(order.order_id for order in orders if order.was_paid)]
        assert cart is not None  # noqa: S101 - there is one batch at least
        return cart, told

    async def hold(self, order_id: UUID, cart: Cart) -> Offer:
        """All of the cart, held for this order. Raises InsufficientStock when any of it is missing."""
        items = [{"variant_id": item.variant_id, "quantity": item.quantity} for item in cart.items]
        reply = await self.catalog.call("PUT", f"/internal/reservations/{order_id}", json={"items": items})
        if reply.is_ok:
            return Offer.model_validate(reply.data)
        code = reply.data.get("code") if isinstance(reply.data, dict) else None
        if code == "insufficient_stock":
            detail = "Lower the quantities to what is available, or remove the items."
            raise InsufficientStock(detail, shortages=reply.data["shortages"])
        if code == "reservation_decided":
            # Catalog has heard of this very order: another request of the same key has made it.
            raise CheckoutInterrupted("Repeat with the same Idempotency-Key.")
        raise _unexpected("catalog", reply)

    async def release(self, order_id: UUID, *, hold: int) -> None:
        """Give back what was held, unless another holder came. Where that fails, catalog's own job does it later."""
        try:
            await self.catalog.call("DELETE", f"/internal/reservations/{order_id}?hold={hold}")
        except UpstreamUnavailable:
            get_logger().warning("hold left to the orphan job", order_id=str(order_id), hold=hold)


def _unexpected(service: str, reply: Reply) -> UpstreamUnavailable:
    get_logger().error("unexpected answer", upstream=service, status=reply.status, answer=reply.data)
    return UpstreamUnavailable(service)


def _batches(orders: Sequence[UntoldOrder]) -> Iterator[Sequence[UntoldOrder]]:
    """The orders in batches, one empty batch if there are none: each is a call, and the call also reads the cart."""
    for start in range(0, max(1, len(orders)), ORDERS_PER_CALL):
        yield orders[start : start + ORDERS_PER_CALL]
