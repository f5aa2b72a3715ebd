"""The end of a schedule in names that do not depend on where its rows were kept, to compare two ends."""

from typing import Any

from tests.simulation.rows import Books

_ORDER = (
    "status", "version", "close_reason", "needs_review", "payment_status", "payment_version", "cart_id",
    "cart_version", "cart_knows", "currency", "subtotal", "total", "stock_committed_at", "stock_given_back_at",
    "carrier", "tracking", "placed_at", "pay_by", "deadline", "paid_at", "closing_since", "closed_at", "shipped_at",
    "delivered_at",
)  # fmt: skip
_MOVE = ("order_id", "version", "move", "from_status", "to_status", "cause", "actor_kind", "actor_id", "note")
_PAYMENT = (
    "user_id", "status", "amount", "currency", "pay_by", "version", "lease_until", "closing_at", "next_ask_at",
    "created_at",
)  # fmt: skip
_ATTEMPT = (
    "rank", "method", "amount", "currency", "captured", "captured_at", "error_code", "error_description", "to_return",
    "refunds_checked", "refunds_seen", "first_seen_at", "changed_at",
)  # fmt: skip
_REFUND = ("kind", "amount", "reason", "status", "tries", "next_try_at", "requested_by", "created_at")


def end_state(books: Books) -> dict[str, Any]:
    """Everything that is kept but ids that are made by chance."""
    attempts = {key: f"attempt {number}" for number, key in enumerate(books.ledger.attempts, start=1)}
    orders = {key: row["order_id"] for key, row in books.ledger.payments.items()}
    refunds = {key: f"refund {number}" for number, key in enumerate(books.ledger.refunds, start=1)}
    return {
        "orders": {
            key: {
                **_some(row, _ORDER),
                "paid by": attempts.get(row["paying_attempt_id"]),
                "returned": [attempts.get(attempt) for attempt in row["returned_attempts"]],
                "items": [
                    (item["variant_id"], item["quantity"], item["price_at_purchase"])
                    for item in books.orders.items[key]
                ],
            }
            for key, row in books.orders.orders.items()
        },
        "moves": [
            {**_some(dict(line), _MOVE), "attempt": attempts.get(line["attempt_id"])} for line in books.orders.moves
        ],
        "levels": {
            key: (level.on_hand, level.reserved, level.stock_version) for key, level in books.stock.levels.items()
        },
        "movements": books.stock.movements,
        "reservations": books.stock.reservations,
        "reservation history": books.stock.history,
        "payments": {row["order_id"]: _some(row, _PAYMENT) for row in books.ledger.payments.values()},
        "payment history": [(orders[key], status) for key, status, _ in books.ledger.payment_history],
        "provider orders": [(orders[key], moment) for key, moment in books.ledger.provider_orders.values()],
        "attempts": [
            {**_some(row, _ATTEMPT), "order": orders[row["payment_id"]]} for row in books.ledger.attempts.values()
        ],
        "observations": [(attempts[key], *rest) for key, *rest in books.ledger.observations],
        "refunds": [
            {**_some(row, _REFUND), "attempt": attempts[row["attempt_id"]], "is named": bool(row["provider_refund_id"])}
            for row in books.ledger.refunds.values()
        ],
        "refund history": [(refunds[key], status) for key, status in books.ledger.refund_history],
    }


def _some(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row.get(name) for name in names}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two ends differ, as sentences."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [each for name in one for each in differences(one[name], other[name], f"{where} {name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [each for number, (first, second) in pairs for each in differences(first, second, f"{where} {number}")]
    return [] if one == other else [f"{where.strip()}: {one} and {other}"]
