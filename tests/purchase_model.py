"""What a shop that does everything right shows of the orders of one shopper, in a page of plain Python.

No events, no databases, no provider that fails: the model says at once how everything must stand once it is quiet.
"""

from dataclasses import dataclass, field
from typing import Literal

MOST_IN_CART = 99

CLOSED = ("cancelled", "expired")

Word = Literal["pending", "failed", "authorized", "captured", "lapsed"]


@dataclass
class Attempt:
    """One try to pay at the provider, as the provider knows it."""

    id: str
    word: Word
    is_old: bool = False
    """The provider captures it no more by itself."""


@dataclass
class Order:
    """One order and its money."""

    id: str
    key: str
    pieces: int
    total: int
    status: str = "awaiting_payment"
    reason: str = ""
    """Why it closes."""
    payment_id: str = ""
    provider_order: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    captured: int = 0
    refunded: int = 0
    refunds: dict[str, tuple[int | None, str]] = field(default_factory=dict)
    """By key: what staff asked for, and the id of what came of it."""

    @property
    def left(self) -> int:
        """What can still be given back."""
        return self.captured - self.refunded

    @property
    def payment_status(self) -> str:
        """As the order shows it."""
        if not self.captured:
            return "unpaid"
        if not self.refunded:
            return "paid"
        return "refunded" if self.left == 0 else "partially_refunded"

    @property
    def is_undecided(self) -> bool:
        """Whether the provider may still take money for it without being asked."""
        return any(attempt.word in ("pending", "authorized") for attempt in self.attempts)

    def with_word(self, *words: Word) -> list[Attempt]:
        """Its attempts of which the provider says this."""
        return [attempt for attempt in self.attempts if attempt.word in words]


@dataclass
class Model:
    """One shopper, one kind of goods."""

    on_hand: int
    price: int
    reserved: int = 0
    in_cart: int = 0
    orders: list[Order] = field(default_factory=list)
    emptied_by: Order | None = None
    """The order that left nothing in the cart, as long as nothing was put in since."""

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    def put(self, pieces: int) -> None:
        """Into the cart."""
        self.in_cart += pieces
        self.emptied_by = None

    def placed(self, order: Order) -> None:
        """The whole cart was ordered."""
        self.reserved += order.pieces
        self.in_cart, self.emptied_by = 0, order
        self.orders.append(order)

    def captured(self, order: Order, attempt: Attempt) -> None:
        """The provider took the money: it pays, or it goes back."""
        attempt.word, order.captured = "captured", order.total
        if order.status == "awaiting_payment" or (order.status, order.reason) == ("closing", "expired"):
            order.status = "paid"
            self.on_hand -= order.pieces
            self.reserved -= order.pieces
            return
        order.refunded = order.total
        if order.status == "closing":
            order.status = "cancelled"
            self.reserved -= order.pieces

    def cancelled(self, order: Order) -> None:
        """Somebody asked for it, and it was allowed."""
        if order.status == "paid":
            order.status, order.refunded = "cancelled", order.captured
            self.on_hand += order.pieces
        elif order.status in ("awaiting_payment", "closing"):
            order.status, order.reason = "closing", "cancelled"

    def time_is_up(self, order: Order) -> None:
        """Half an hour without money."""
        order.status, order.reason = "closing", "expired"

    def hours_pass_at_the_provider(self) -> None:
        """No bank answers any more by itself, and what nobody captured is the shopper's again."""
        for order in self.orders:
            for attempt in order.attempts:
                attempt.is_old = True
                if attempt.word == "pending":
                    attempt.word = "failed"
                elif attempt.word == "authorized":
                    attempt.word = "lapsed"

    def settle(self) -> None:
        """A closing order ends as soon as the provider can say that nothing will come."""
        for order in self.orders:
            if order.status == "closing" and not order.is_undecided:
                order.status = order.reason
                self.reserved -= order.pieces
                self.in_cart = min(MOST_IN_CART, self.in_cart + order.pieces)
                self.emptied_by = None
