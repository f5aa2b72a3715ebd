"""A guest becomes a user: the guest's cart goes into the user's, once, in one transaction, and the token dies.

Whichever comes first does it: the event of the sign-in or registration, a request that carries both, an explicit
merge, or the checkout. Each locks the guest's cart, then the user's; whoever comes later finds no live guest cart
and changes nothing. A guest's write under way at that moment waits for the lock, then finds the token dead too.

Quantities add up, capped by what is available, by 99 and by 50 items; what the user had already never shrinks. What
was capped is kept with the dead cart, so that a shopper learns of it even when the event was faster.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from cart.events import SignedIn
from cart.models import MAX_ITEMS, MAX_QUANTITY, CartItem, LockedCart, lock_guest_cart, lock_user_cart, offers


@dataclass(frozen=True, slots=True)
class Capped:
    """A variant of which the user's cart could not take over all that both carts held."""

    variant_id: UUID
    wanted: int
    got: int

    def document(self) -> dict[str, str | int]:
        """As clients read it and as it is stored."""
        return {"variant_id": str(self.variant_id), "wanted": self.wanted, "got": self.got}


async def open_cart(session: AsyncSession, *, user_id: UUID | None, token_hash: str | None) -> LockedCart | None:
    """The cart that a request may change, locked; none for a guest without a live one.

    A user who still carries a live guest token gets both carts merged first.
    """
    guest = await lock_guest_cart(session, token_hash) if token_hash else None
    if user_id is None:
        return guest
    user = await lock_user_cart(session, user_id)
    if guest is not None:
        await merge(session, guest, user)
    return user


async def on_signed_in(session: AsyncSession, event: SignedIn) -> None:
    """Merge what the user held as a guest, even if no request ever carries both."""
    guest = await lock_guest_cart(session, event.guest_token_hash) if event.guest_token_hash else None
    if guest is not None:
        await merge(session, guest, await lock_user_cart(session, event.user_id))


async def merge(session: AsyncSession, guest: LockedCart, user: LockedCart) -> None:
    """Move what can be moved from one locked cart into the other, and end the guest's token."""
    offered = await offers(session, guest.items)
    capped: list[Capped] = []
    for item in list(guest.items.values()):
        present = user.items.get(item.variant_id)
        in_cart = present.quantity if present else 0
        wanted = in_cart + item.quantity
        got = max(in_cart, min(wanted, MAX_QUANTITY, offered[item.variant_id].available))
        if present is None and len(user.items) >= MAX_ITEMS:
            got = 0
        if got < wanted:
            capped.append(Capped(item.variant_id, wanted, got))
        _hand_over(item, present, got, guest=guest, user=user)
    guest.cart.merged_into = user.cart.id
    guest.cart.capped = [entry.document() for entry in capped]


def _hand_over(item: CartItem, present: CartItem | None, got: int, *, guest: LockedCart, user: LockedCart) -> None:
    if present is not None:
        user.put(item.variant_id, got, seen_price=present.seen_price)
        guest.remove(item)
    elif got == 0:
        guest.remove(item)
    else:
        user.adopt(item, source=guest)
        user.put(item.variant_id, got, seen_price=item.seen_price)
