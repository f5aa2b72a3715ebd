"""What must always hold in a simulated shop, after every step and once it is quiet (I1 to I17 of the checkout design).

I13 holds in its second half, that an event is applied once; that each is applied follows from the quiet end, at which
every letter was acknowledged. I16 is checked as far as there is no HTTP: an order that a shopper was told of exists and
is theirs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any
from uuid import UUID

from catalog.claims import Status as ReservationStatus
from orders.models import CLOSED, PaymentStatus
from orders.models import Status as OrderStatus
from orders.payment_outcome import RefundReport, status_after_failure, status_of_sums
from payments.balances import MINIMUM
from payments.models import RefundKind, RefundStatus
from tests.allowed_paths import ORDER_MOVES, PAYMENT, REFUND, RESERVATION, STAY, Step
from tests.simulation.goods import levels
from tests.simulation.provider import SimulatedProvider
from tests.simulation.rows import Books, Letter

OWES_GOODS = (OrderStatus.PAID, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
_GIVEN_BACK = ("released", "expired", "returned", "commit_failed")


class Checks:
    """Reads each line of history once."""

    def __init__(self) -> None:
        self._on_hand = {level.variant_id: level.on_hand for level in levels()}
        self._moved = self._ordered = self._reserved = self._paid = self._refunded = 0
        self._at: dict[tuple[str, Any], str] = {}
        self._promised: dict[UUID, UUID] = {}
        self._applied: Counter[tuple[str, str]] = Counter()

    def promise(self, order_id: UUID, shopper: UUID) -> None:
        """A shopper was told of an order."""
        self._promised[order_id] = shopper

    def applied(self, consumer: str, letter: Letter) -> None:
        """A consumer says that it had not had this event before."""
        self._applied[consumer, letter.id] += 1

    def always(self, books: Books) -> list[str]:
        """What is broken in this state, as sentences that begin with the invariant's number."""
        return [
            *(f"I1: a row was refused by {constraint}" for constraint in books.refused),
            *self._stock(books),
            *self._histories(books),
            *self._orders(books),
            *self._refunds(books),
            *(
                f"I13: {key} was applied {count} times"
                for key, count in self._applied.items()
                if count > 1 and key[0] != "cart"
            ),
        ]

    def _stock(self, books: Books) -> Iterator[str]:
        held: Counter[UUID] = Counter()
        for reservation in books.stock.reservations.values():
            held.update(reservation.claim.held)
        for variant, _, delta, _ in books.stock.movements[self._moved :]:
            self._on_hand[variant] += delta
        self._moved = len(books.stock.movements)
        for variant, level in books.stock.levels.items():
            if not 0 <= level.reserved <= level.on_hand:
                yield f"I1: {level.reserved} reserved of {level.on_hand} on hand"
            if level.reserved != held[variant]:
                yield f"I2: {level.reserved} reserved, and reservations hold {held[variant]}"
            if level.on_hand != self._on_hand[variant]:
                yield f"I3: {level.on_hand} on hand, and the ledger says {self._on_hand[variant]}"

    def _histories(self, books: Books) -> Iterator[str]:
        for move in books.orders.moves[self._ordered :]:
            step = (move["from_status"], move["to_status"])
            allowed = step[0] == step[1] if move["move"] in STAY else step in ORDER_MOVES[move["move"]]
            before = self._at.get(("order", move["order_id"]))
            if not allowed or step[0] != before:
                yield f"I4: an order went {step} by {move['move']} when it was {before}"
            self._at["order", move["order_id"]] = move["to_status"]
        self._ordered = len(books.orders.moves)
        for order_id, _, to_status, _, _ in books.stock.history[self._reserved :]:
            yield from self._step("reservation", order_id, to_status, RESERVATION)
        self._reserved = len(books.stock.history)
        for payment_id, status, _ in books.ledger.payment_history[self._paid :]:
            yield from self._step("payment", payment_id, status, PAYMENT)
        self._paid = len(books.ledger.payment_history)
        for refund_id, status in books.ledger.refund_history[self._refunded :]:
            yield from self._step("refund", refund_id, status, REFUND)
        self._refunded = len(books.ledger.refund_history)
        present = {
            "order": {key: row["status"] for key, row in books.orders.orders.items()},
            "reservation": {key: row.claim.status for key, row in books.stock.reservations.items()},
            "payment": {key: row["status"] for key, row in books.ledger.payments.items()},
            "refund": {key: row["status"] for key, row in books.ledger.refunds.items()},
        }
        for kind, rows in present.items():
            for key, status in rows.items():
                if self._at.get((kind, key)) != status:
                    yield f"I4: {kind} is {status}, but its history ends at {self._at.get((kind, key))}"

    def _step(self, kind: str, key: Any, after: str, allowed: set[Step]) -> Iterator[str]:
        before = self._at.get((kind, key))
        if (before, after) not in allowed:
            yield f"I4: {kind} went {before} → {after}"
        self._at[kind, key] = after

    def _orders(self, books: Books) -> Iterator[str]:
        versions: Counter[tuple[UUID, int]] = Counter()
        paying: Counter[UUID] = Counter()
        for order_id, order in books.orders.orders.items():
            value = sum(item["quantity"] * item["price_at_purchase"] for item in books.orders.items[order_id])
            if order["total"] != value + order["shipping"] + order["tax"] - order["discount"]:
                yield f"I5: an order of {value} has the total {order['total']}"
            versions[order["cart_id"], order["cart_version"]] += order["status"] not in CLOSED
            if order["paying_attempt_id"] is not None:
                paying[order["paying_attempt_id"]] += 1
            elif order["status"] in OWES_GOODS and order["total"]:
                yield f"I7: an order is {order['status']} and nobody paid"
            if self._promised.get(order_id, order["user_id"]) != order["user_id"]:
                yield "I16: a shopper was told of somebody else's order"
        yield from (f"I6: {count} open orders of one cart version" for count in versions.values() if count > 1)
        yield from (f"I7: {count} orders are paid by one attempt" for count in paying.values() if count > 1)
        yield from ("I16: a shopper was told of no order" for key in self._promised if key not in books.orders.orders)

    def _refunds(self, books: Books) -> Iterator[str]:
        going: Counter[UUID] = Counter()
        for refund in books.ledger.refunds.values():
            if refund["status"] is not RefundStatus.FAILED and refund["kind"] is not RefundKind.EXTERNAL:
                going[refund["attempt_id"]] += refund["amount"]
        for attempt_id, amount in going.items():
            captured = books.ledger.attempts[attempt_id]["captured"]
            if amount > captured:
                yield f"I10: an attempt took {captured}, and {amount} goes back"

    def once_quiet(self, books: Books, provider: SimulatedProvider, history: list[Letter]) -> list[str]:
        """What is broken when nothing is left to do."""
        return [
            *self.always(books),
            *_money(books),
            *_provider_agrees(books, provider),
            *_ranks(books),
            *_stock_follows_orders(books),
            *_projections(books, history),
            *_shown_money(books),
        ]


def _returned(books: Books) -> dict[UUID, int]:
    returned: dict[UUID, int] = defaultdict(int)
    for refund in books.ledger.refunds.values():
        if refund["status"] is RefundStatus.PROCESSED:
            returned[refund["attempt_id"]] += refund["amount"]
    return returned


def _money(books: Books) -> Iterator[str]:
    attempts, returned = books.ledger.attempts, _returned(books)
    payments = books.ledger.payments
    paid_by = {row["paying_attempt_id"]: row for row in books.orders.orders.values() if row["paying_attempt_id"]}
    failed = {row["attempt_id"] for row in books.ledger.refunds.values() if row["status"] is RefundStatus.FAILED}
    for order in books.orders.orders.values():
        if order["status"] in OWES_GOODS and order["total"]:
            attempt = attempts.get(order["paying_attempt_id"])
            taken = (attempt["captured"], attempt["currency"]) if attempt else None
            if taken != (order["total"], order["currency"]):
                yield f"I8: an order of {order['total']} is paid by an attempt that took {taken}"
    for attempt_id, attempt in attempts.items():
        pays = paid_by.get(attempt_id, {}).get("status") in OWES_GOODS
        its_order = books.orders.orders.get(payments[attempt["payment_id"]]["order_id"])
        # Less than the provider gives back is left to people; the job that returns what is left counts it.
        too_little = attempt["to_return"] is not None and attempt["captured"] - returned[attempt_id] < MINIMUM
        alarm = attempt_id in failed or too_little or bool(its_order and its_order["needs_review"])
        if attempt["captured"] and not pays and returned[attempt_id] < attempt["captured"] and not alarm:
            yield f"I9: an attempt took {attempt['captured']} for nothing and gave back {returned[attempt_id]}"
        if returned[attempt_id] > attempt["captured"]:
            yield f"I10: an attempt took {attempt['captured']} and gave back {returned[attempt_id]}"


def _provider_agrees(books: Books, provider: SimulatedProvider) -> Iterator[str]:
    ours = {row["provider_payment_id"]: (key, row) for key, row in books.ledger.attempts.items()}
    returned = _returned(books)
    captured = refunded = 0
    for payment in provider.all_payments():
        if not payment.captured:
            continue
        captured, refunded = captured + payment.amount, refunded + payment.amount_refunded
        key, row = ours.get(payment.id, (None, None))
        if row is None or row["captured"] != payment.amount:
            yield f"I9: the provider took {payment.amount}, and payments knows of {row and row['captured']}"
        elif key is not None and returned[key] != payment.amount_refunded:
            yield f"I11: {payment.amount_refunded} went back at the provider; payments knows {returned[key]}"
    made = (refund for refund in provider.all_refunds() if refund.made_by != "razorpay")
    theirs = Counter(refund.id for refund in made if refund.status == "processed")
    named = Counter(
        row["provider_refund_id"] for row in books.ledger.refunds.values() if row["status"] is RefundStatus.PROCESSED
    )
    if theirs != named:
        yield f"I11: {len(theirs)} refunds at the provider, {len(named)} here"
    kept = sum(
        order["total"] - returned[order["paying_attempt_id"]]
        for order in books.orders.orders.values()
        if order["status"] in OWES_GOODS and order["total"]
    )
    kept += sum(
        rest
        for key, row in books.ledger.attempts.items()
        if row["to_return"] is not None and 0 < (rest := row["captured"] - returned[key]) < MINIMUM
    )
    if captured - refunded != kept:
        yield f"I15: the provider keeps {captured - refunded}, and orders are worth {kept}"


def _ranks(books: Books) -> Iterator[str]:
    """I14: whatever was observed in whatever order, an attempt is where the farthest observation saw it."""
    farthest: dict[UUID, int] = defaultdict(int)
    for attempt_id, _, rank, _ in books.ledger.observations:
        farthest[attempt_id] = max(farthest[attempt_id], rank)
    for attempt_id, attempt in books.ledger.attempts.items():
        if attempt["rank"] != farthest[attempt_id]:
            yield f"I14: an attempt is at {attempt['rank']}, and was seen at {farthest[attempt_id]}"


def _stock_follows_orders(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.orders.items():
        reservation = books.stock.reservations.get(order_id)
        state = reservation.claim.status if reservation else None
        if order["status"] in (OrderStatus.AWAITING_PAYMENT, OrderStatus.CLOSING):
            yield f"I12: an order is still {order['status']}"
            continue
        if not (state in _GIVEN_BACK if order["status"] in CLOSED else state is ReservationStatus.COMMITTED):
            yield f"I12: an order is {order['status']}, and its stock is {state}"
        bought = {item["variant_id"]: item["quantity"] for item in books.orders.items[order_id]}
        if order["status"] not in CLOSED and reservation and dict(reservation.claim.items) != bought:
            yield f"I17: an order has {bought}, and its reservation {reservation.claim.items}"
    for order_id, reservation in books.stock.reservations.items():
        if order_id not in books.orders.orders and reservation.claim.held:
            yield "I12: stock is held for no order"


def _projections(books: Books, history: list[Letter]) -> Iterator[str]:
    """I14: events that carry a copy whole end in the same copy, in whatever order they are replayed."""
    shuffled = list(history)
    Random(len(history)).shuffle(shuffled)
    shown: dict[str, tuple[int, PaymentStatus]] = {}
    available: dict[str, tuple[int, int]] = {}
    for letter in shuffled:
        data = letter.data
        if letter.type == "stock.changed.v1":
            if data["stock_version"] > available.get(data["variant_id"], (0, 0))[0]:
                available[data["variant_id"]] = (data["stock_version"], data["available"])
        elif letter.type in SUMS:
            order_id, version = data["order_id"], data["payment_version"]
            if version > shown.get(order_id, (0, PaymentStatus.UNPAID))[0]:
                shown[order_id] = (version, _status_in(letter))
    for order_id, order in books.orders.orders.items():
        version, status = shown.get(str(order_id), (0, PaymentStatus.UNPAID))
        if order["total"] and (order["payment_version"], order["payment_status"]) != (version, status):
            yield f"I14: an order shows {order['payment_status']}, and its events say {status}"
    for variant_id, level in books.stock.levels.items():
        told = available.get(str(variant_id), (1, level.available))
        if told != (level.stock_version, level.available) and level.stock_version > 1:
            yield f"I14: {level.available} can be had, and the events say {told}"


SUMS = ("payment.captured.v1", "refund.submitted.v1", "refund.processed.v1", "refund.failed.v1")
"""Events that tell what was captured and what went back."""


def _status_in(letter: Letter) -> PaymentStatus:
    if letter.type == "refund.failed.v1":
        return status_after_failure(RefundReport.model_validate(letter.data))
    return status_of_sums(letter.data["captured_total"], letter.data["refunded_total"])


def _shown_money(books: Books) -> Iterator[str]:
    """I14: what an order shows of its money is what happened to it."""
    returned = _returned(books)
    for order_id, order in books.orders.orders.items():
        attempts = [
            (key, row)
            for key, row in books.ledger.attempts.items()
            if books.ledger.payments[row["payment_id"]]["order_id"] == order_id and row["captured"]
        ]
        if not order["total"]:
            continue
        captured, back = sum(row["captured"] for _, row in attempts), sum(returned[key] for key, _ in attempts)
        status = status_of_sums(captured, back) if captured else PaymentStatus.UNPAID
        has_failed = any(
            row["status"] is RefundStatus.FAILED and row["attempt_id"] in dict(attempts)
            for row in books.ledger.refunds.values()
        )
        may_alarm = has_failed and status is not PaymentStatus.REFUNDED
        shows = order["payment_status"]
        if shows is not status and not (may_alarm and shows is PaymentStatus.REFUND_FAILED):
            yield f"I14: an order shows {shows}, and its money is {status}"
