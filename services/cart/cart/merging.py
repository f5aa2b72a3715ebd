"""A guest becomes a user: the guest's cart goes into the user's, once, in one transaction, and the token dies.

Whichever comes first does it: the event of the sign-in or registration, a request that carries both, an explicit
merge, or the checkout. Each locks the guest's cart, then the user's; whoever comes later finds no live guest cart
and changes nothing. A guest's write under way at that moment waits for the lock, then finds the token dead too.

Quantities add up, capped by what is available, by 99 and by 50 items; what the user had already never shrinks. What
was capped is kept with the dead cart, so that a shopper learns of it even when the event was faster.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cart.events import SignedIn
from cart.locked_cart import Item, LockedCart, lock_guest_cart, lock_user_cart
from cart.models import MAX_ITEMS, MAX_QUANTITY, Cart


@dataclass(frozen=True, slots=True)
class Capped:
    """A variant of which the user's cart could not take over all that both carts held."""

    variant_id: UUID
    wanted: int
    got: int

    def document(self) -> dict[str, str | int]:
        """As clients read it and as it is stored."""
        return {"variant_id": str(self.variant_id), "wanted": self.wanted, "got": self.got}


@dataclass(frozen=True, slots=True)
class Opened:
    """The cart that a request may change."""

    cart: LockedCart | None
    """None for a guest without a live one."""
    capped: list[dict[str, Any]]
    """What the merge of the guest's cart, whose token the request carries, had to cap."""


async def open_cart(session: AsyncSession, *, user_id: UUID | None, token_hash: str | None) -> Opened:
    """Lock the user's cart, merging the guest's into it when the token is alive; else the guest's."""
    guest = await lock_guest_cart(session, token_hash) if token_hash else None
    if user_id is None:
        return Opened(guest, [])
    user = await lock_user_cart(session, user_id)
    if guest is not None:
        merge(guest, user)
        await user.save()
        return Opened(user, guest.capped)
    return Opened(user, await _capped_before(session, token_hash, user) if token_hash else [])


async def on_signed_in(session: AsyncSession, event: SignedIn) -> None:
    """Merge what the user held as a guest, even if no request ever carries both."""
    guest = await lock_guest_cart(session, event.guest_token_hash) if event.guest_token_hash else None
    if guest is not None:
        user = await lock_user_cart(session, event.user_id)
        merge(guest, user)
        user.save_with_commit()


async def _capped_before(session: AsyncSession, token_hash: str, user: LockedCart) -> list[dict[str, Any]]:
    merged = select(Cart.capped).where(Cart.token_hash == token_hash, Cart.merged_into == user.id)
    return (await session.execute(merged)).scalar_one_or_none() or []


def merge(guest: LockedCart, user: LockedCart) -> None:
    """Move what can be moved from one locked cart into the other, which is still to be saved; end the guest's token."""
    capped: list[Capped] = []
    for item in list(guest.items.values()):
        present = user.items.get(item.variant_id)
        in_cart = present.quantity if present else 0
        wanted = in_cart + item.quantity
        got = max(in_cart, min(wanted, MAX_QUANTITY, guest.offers[item.variant_id].available))
        if present is None and len(user.items) >= MAX_ITEMS:
            got = 0
        if got < wanted:
            capped.append(Capped(item.variant_id, wanted, got))
        _hand_over(item, present, got, guest=guest, user=user)
    guest.end(merged_into=user.id, capped=[entry.document() for entry in capped])
    guest.save_with_commit()


def _hand_over(item: Item, present: Item | None, got: int, *, guest: LockedCart, user: LockedCart) -> None:
    if present is not None:
        user.put(item.variant_id, got, seen_price=present.seen_price)
        guest.remove(item)
    elif got == 0:
        guest.remove(item)
    else:
        user.adopt(item, source=guest)
        user.put(item.variant_id, got, seen_price=item.seen_price)
