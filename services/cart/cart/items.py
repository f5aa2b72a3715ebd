"""A shopper fills the cart: add, change, remove, clear.

Nothing here reserves stock; the order does. What is asked for is compared with cart's copy of the catalogue, so that
the shopper hears early what checkout would refuse anyway.
"""

from uuid import UUID

from cart.errors import (
    CartFull,
    CartItemNotFound,
    InsufficientStock,
    OutOfStock,
    QuantityLimitReached,
    VariantNotFound,
)
from cart.locked_cart import Item, LockedCart, Offer
from cart.models import MAX_ITEMS, MAX_QUANTITY


def add(cart: LockedCart, offer: Offer, *, quantity: int) -> None:
    """Put `quantity` more of a variant into the cart.

    The price shown at this moment becomes the one the shopper saw.
    Raises VariantNotFound, OutOfStock, InsufficientStock, QuantityLimitReached or CartFull.
    """
    if not offer.is_sellable:
        raise VariantNotFound(offer.variant_id)
    present = cart.items.get(offer.variant_id)
    in_cart = present.quantity if present else 0
    _refuse_more_than_available(offer, wanted=in_cart + quantity, in_cart=in_cart)
    if in_cart + quantity > MAX_QUANTITY:
        raise QuantityLimitReached(MAX_QUANTITY, in_cart=in_cart)
    if present is None and len(cart.items) >= MAX_ITEMS:
        raise CartFull(MAX_ITEMS)
    cart.offers[offer.variant_id] = offer
    cart.put(offer.variant_id, in_cart + quantity, seen_price=offer.unit_price)


def change(cart: LockedCart | None, *, item_id: UUID, quantity: int) -> None:
    """Make `quantity` the number of an item; the price the shopper saw stays what it was.

    Raises CartItemNotFound, OutOfStock or InsufficientStock.
    """
    cart, item = _find(cart, item_id)
    _refuse_more_than_available(cart.offers[item.variant_id], wanted=quantity, in_cart=item.quantity)
    cart.put(item.variant_id, quantity, seen_price=item.seen_price)


def remove(cart: LockedCart | None, *, item_id: UUID) -> None:
    """Take one item out. Raises CartItemNotFound."""
    cart, item = _find(cart, item_id)
    cart.remove(item)


def clear(cart: LockedCart | None) -> None:
    """Take everything out; an empty or missing cart is clear already."""
    if cart is not None:
        for item in list(cart.items.values()):
            cart.remove(item)


def _find(cart: LockedCart | None, item_id: UUID) -> tuple[LockedCart, Item]:
    if cart is not None:
        for item in cart.items.values():
            if item.id == item_id:
                return cart, item
    raise CartItemNotFound


def _refuse_more_than_available(offer: Offer, *, wanted: int, in_cart: int) -> None:
    if offer.available <= 0:
        raise OutOfStock(offer.variant_id)
    if wanted > offer.available:
        raise InsufficientStock(offer.variant_id, available=offer.available, in_cart=in_cart)
