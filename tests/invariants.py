"""What must always hold between the five databases and the provider (design of the checkout, §7).

`violations(books)` reads a shop and tells every broken promise as a sentence that begins with the invariant's number.
Some hold in every committed state, the others once the shop is quiet. On its own, aimed at an open `make run`:

    make check-invariants                          # HAAT_DATA and SIMULATOR_PORT as for `make run` and `make stack`

I13 reads the filed needs of the consumers to know who must have applied what. I14 has two halves: the copies that
events keep up to date equal their originals, and events in any order lead to them again (`replay`).
"""

import argparse
import asyncio
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx

from tests.allowed_paths import ORDER_MOVES, PAYMENT, REFUND, RESERVATION, STAY, Step, wrong_steps
from tests.books import Books, Ledger, Row, opened_books, quiet
from tests.invariant_queries import ALWAYS, LONG_STUCK
from tests.patience import NeverHappened
from tests.replay import opened_replay
from tests.shop_process import ShopProcess, opened_shop

CONTRACTS = Path(__file__).parents[1] / "services"
PAUSE = 1.0
"""Seconds until books that were not in order are read again."""

Check = Callable[[Books], AsyncIterator[str]]


async def violations(
    books: Books,
    *,
    is_quiet: bool = True,
    promised: Mapping[str, str] | None = None,
    replay: Callable[[Books], Awaitable[list[str]]] | None = None,
) -> list[str]:
    """Every broken invariant. `promised`: order ids that clients were given, with the user each was given to (I16)."""
    found = []
    for number, (database, sql, sentence) in ALWAYS.items():
        found += [f"{number}: {sentence.format(**row)}" for row in await books.rows(database, sql)]
    for check in (*IN_EVERY_STATE, *(ONCE_QUIET if is_quiet else ())):
        found += [sentence async for sentence in check(books)]
    found += [sentence async for sentence in _promises_kept(books, promised=promised or {})]
    if replay is not None:
        found += await replay(books)
    return found


async def _histories(books: Books) -> AsyncIterator[str]:
    moves = await books.rows("orders", "SELECT * FROM order_moves ORDER BY order_id, version")
    orders = await books.rows("orders", "SELECT id, status FROM orders")
    async for sentence in _order_paths(orders, moves):
        yield sentence
    reservations = await books.rows("catalog", "SELECT order_id AS id, status FROM reservations")
    steps = await books.rows(
        "catalog", "SELECT order_id AS id, to_status AS status FROM reservation_history ORDER BY order_id, number"
    )
    for sentence in _paths("reservation of order", reservations, steps, allowed=RESERVATION):
        yield sentence
    for what, table, column, allowed in (
        ("payment", "payment", "payment_id", PAYMENT),
        ("refund", "refund", "refund_id", REFUND),
    ):
        rows = await books.rows("payments", f"SELECT id, status FROM {table}s")
        steps = await books.rows(
            "payments",
            f"SELECT {column} AS id, status FROM {table}_history ORDER BY {column}, at, id",
        )
        for sentence in _paths(what, rows, steps, allowed=allowed):
            yield sentence


async def _order_paths(orders: list[Row], moves: list[Row]) -> AsyncIterator[str]:
    ends: dict[Any, str] = {}
    for order_id, rows in groupby(moves, key=lambda row: row["order_id"]):
        before = None
        for move in rows:
            step = (move["from_status"], move["to_status"])
            allowed = step[0] == step[1] if move["move"] in STAY else step in ORDER_MOVES.get(move["move"], ())
            if step[0] != before or not allowed:
                yield f"I4: order {order_id} went {step[0]} → {step[1]} by {move['move']} when it was {before}"
            before = move["to_status"]
        ends[order_id] = str(before)
    for order in orders:
        if ends.get(order["id"]) != order["status"]:
            yield f"I4: order {order['id']} is {order['status']}, but its history ends at {ends.get(order['id'])}"


def _paths(what: str, rows: list[Row], steps: list[Row], *, allowed: set[Step]) -> list[str]:
    visited: dict[Any, list[str]] = defaultdict(list)
    for step in steps:
        visited[step["id"]].append(step["status"])
    found = [
        f"I4: {what} {id_} went {step}" for id_, path in visited.items() for step in wrong_steps(path, allowed=allowed)
    ]
    return found + [
        f"I4: {what} {row['id']} is {row['status']}, but its history ends at {visited[row['id']][-1:]}"
        for row in rows
        if visited[row["id"]][-1:] != [row["status"]]
    ]


async def _money_is_known(books: Books) -> AsyncIterator[str]:
    attempts = {row["id"]: row for row in await books.rows("payments", "SELECT * FROM attempts")}
    sold = "SELECT * FROM orders WHERE status IN ('paid', 'shipped', 'delivered') AND total > 0"
    for order in await books.rows("orders", sold):
        attempt = attempts.get(order["paying_attempt_id"])
        taken = (attempt["captured"], attempt["currency"]) if attempt else None
        if taken != (order["total"], order["currency"]):
            yield f"I8: order {order['id']} is paid with {order['total']} by an attempt that took {taken}"


async def _money_is_somewhere(books: Books) -> AsyncIterator[str]:
    orders = await books.rows("orders", "SELECT * FROM orders")
    paid_by = {row["paying_attempt_id"]: row for row in orders if row["paying_attempt_id"]}
    reviewed = {row["id"] for row in orders if row["needs_review"]}
    reviewed |= {row["order_id"] for row in await books.rows("orders", "SELECT * FROM order_moves WHERE move = 'T13'")}
    sql = """
        SELECT attempt.id, attempt.captured, payment.order_id,
            coalesce(sum(refund.amount) FILTER (WHERE refund.status = 'processed'), 0) AS returned,
            coalesce(sum(refund.amount) FILTER (WHERE refund.status <> 'failed'), 0) AS returning,
            coalesce(bool_or(refund.status = 'failed'), false) AS is_alarming
        FROM attempts AS attempt JOIN payments AS payment ON payment.id = attempt.payment_id
        LEFT JOIN refunds AS refund ON refund.attempt_id = attempt.id
        WHERE attempt.captured > 0 GROUP BY attempt.id, payment.order_id
    """
    for attempt in await books.rows("payments", sql):
        order = paid_by.get(attempt["id"])
        pays = order is not None and order["status"] in ("paid", "shipped", "delivered")
        alarm = attempt["order_id"] in reviewed or attempt["is_alarming"]
        if not pays and attempt["returned"] < attempt["captured"] and not alarm:
            told = f"took {attempt['captured']} for nothing and gave back {attempt['returned']}"
            yield f"I9: attempt {attempt['id']} {told}"
        if attempt["returning"] > attempt["captured"]:
            yield f"I10: attempt {attempt['id']} took {attempt['captured']}, and {attempt['returning']} goes back"


async def _provider_agrees(books: Books) -> AsyncIterator[str]:
    ledger = await books.ledger()
    sql = """
        SELECT attempt.provider_payment_id AS id, attempt.captured,
            coalesce(sum(refund.amount) FILTER (WHERE refund.status = 'processed'), 0) AS returned
        FROM attempts AS attempt LEFT JOIN refunds AS refund ON refund.attempt_id = attempt.id GROUP BY attempt.id
    """
    known = {row["id"]: row for row in await books.rows("payments", sql)}
    for payment in ledger["payments"]:
        ours = known.get(payment["id"])
        if payment["captured"] and (ours is None or ours["captured"] != payment["amount"]):
            yield f"I9: the provider took {payment['amount']} by {payment['id']}, and payments knows of {ours}"
        # An authorisation that lapsed is shown as refunded, too; but nothing was taken, so nothing went back.
        if ours is not None and payment["captured"] and ours["returned"] != payment["amount_refunded"]:
            yield f"I11: {payment['amount_refunded']} of {payment['id']} went back; payments knows {ours['returned']}"
    refunds = await books.rows("payments", "SELECT provider_refund_id FROM refunds WHERE status = 'processed'")
    theirs = Counter(refund["id"] for refund in ledger["refunds"])
    for refund in refunds:
        if theirs[refund["provider_refund_id"]] != 1:
            yield f"I11: the provider knows {refund['provider_refund_id']} {theirs[refund['provider_refund_id']]} times"
    async for sentence in _sums_agree(books, ledger):
        yield sentence


async def _sums_agree(books: Books, ledger: Ledger) -> AsyncIterator[str]:
    sold = "SELECT * FROM orders WHERE status IN ('paid', 'shipped', 'delivered') AND total > 0"
    orders = await books.rows("orders", sold)
    returned = await books.value(
        "payments",
        "SELECT coalesce(sum(amount), 0) FROM refunds WHERE status = 'processed' AND attempt_id = ANY($1::uuid[])",
        [order["paying_attempt_id"] for order in orders],
    )
    kept = sum(order["total"] for order in orders) - returned
    totals = ledger["totals"]
    if totals["captured"] - totals["refunded"] != kept:
        yield f"I15: the provider keeps {totals['captured'] - totals['refunded']} for us, and orders are worth {kept}"


async def _stock_follows_orders(books: Books) -> AsyncIterator[str]:
    reservations = {row["order_id"]: row for row in await books.rows("catalog", "SELECT * FROM reservations")}
    held: dict[Any, dict[Any, int]] = defaultdict(dict)
    for row in await books.rows("catalog", "SELECT * FROM reservation_items"):
        held[row["order_id"]][row["variant_id"]] = row["quantity"]
    bought: dict[Any, dict[Any, int]] = defaultdict(dict)
    for row in await books.rows("orders", "SELECT * FROM order_items"):
        bought[row["order_id"]][row["variant_id"]] = row["quantity"]
    fitting = {
        **dict.fromkeys(("paid", "shipped", "delivered"), ("committed",)),
        **dict.fromkeys(("cancelled", "expired"), ("released", "expired", "returned", "commit_failed")),
        "awaiting_payment": ("held",),
    }
    for order in await books.rows("orders", "SELECT id, status FROM orders WHERE status <> 'closing'"):
        reservation = reservations.get(order["id"])
        state = reservation["status"] if reservation else None
        if state not in fitting[order["status"]]:
            yield f"I12: order {order['id']} is {order['status']}, and its stock is {state}"
        if order["status"] not in ("cancelled", "expired") and held[order["id"]] != bought[order["id"]]:
            yield f"I17: order {order['id']} has {bought[order['id']]}, and its reservation {held[order['id']]}"
    for database, (sql, what) in LONG_STUCK.items():
        for row in await books.rows(database, sql):
            yield f"I12: {what} {row['id']} is stuck for more than an hour"


async def _events_arrived(books: Books) -> AsyncIterator[str]:
    published: dict[str, set[Any]] = defaultdict(set)
    for producer in books.connections:
        for row in await books.rows(producer, "SELECT id, type FROM outbox WHERE required"):
            published[row["type"]].add(row["id"])
    for consumer in books.connections:
        listens_to = {file.stem for file in CONTRACTS.glob(f"*/contracts/consumers/{consumer}/*.json")}
        rows = await books.rows(consumer, _APPLIED)
        applied = {row["event_id"] for row in rows}
        for event_type in sorted(listens_to):
            if missing := published[event_type] - applied:
                yield f"I13: {consumer} never applied {len(missing)} {event_type}, such as {min(missing)}"
        for row in rows:
            if row["is_recent"] and row["event_id"] not in published[row["type"]]:
                yield f"I13: {consumer} applied the {row['type']} {row['event_id']} that nobody has published"


_APPLIED = "SELECT event_id, type, received_at > now() - interval '6 days' AS is_recent FROM inbox"
"""An inbox remembers longer than the outboxes, which forget after seven days."""


async def _copies_are_true(books: Books) -> AsyncIterator[str]:
    levels = await books.rows("catalog", "SELECT variant_id, on_hand - reserved AS available FROM stock_levels")
    available = {row["variant_id"]: row["available"] for row in levels}
    for copy in await books.rows("cart", "SELECT variant_id, available FROM stock_copies"):
        if available.get(copy["variant_id"]) != copy["available"]:
            told = f"{copy['available']} of variant {copy['variant_id']} can be had"
            yield f"I14: cart believes that {told}, and it is {available.get(copy['variant_id'])}"
    captured = await books.rows(
        "payments",
        "SELECT payment.order_id FROM attempts JOIN payments AS payment ON payment.id = payment_id WHERE captured > 0",
    )
    paid = {row["order_id"] for row in captured}
    for order in await books.rows("orders", "SELECT id, payment_status FROM orders WHERE total > 0"):
        took = order["id"] in paid
        if (order["payment_status"] != "unpaid") != took:
            yield f"I14: order {order['id']} shows {order['payment_status']}, and payments took money: {took}"


async def _promises_kept(books: Books, *, promised: Mapping[str, str]) -> AsyncIterator[str]:
    owners = {
        str(row["id"]): str(row["user_id"]) for row in await books.rows("orders", "SELECT id, user_id FROM orders")
    }
    for order_id, user_id in promised.items():
        if owners.get(order_id) != user_id:
            yield f"I16: user {user_id} was told of order {order_id}, which belongs to {owners.get(order_id)}"


IN_EVERY_STATE: tuple[Check, ...] = (_histories,)
ONCE_QUIET: tuple[Check, ...] = (
    _money_is_known,
    _money_is_somewhere,
    _provider_agrees,
    _stock_follows_orders,
    _events_arrived,
    _copies_are_true,
)


async def settled_violations(
    urls: Mapping[str, str],
    *,
    waiting: Callable[[], Awaitable[int]],
    ledger: Callable[[], Awaitable[Ledger]],
    within: float = 60.0,
    is_expected: Callable[[str], object] = lambda _sentence: False,
    **how: Any,
) -> list[str]:
    """The violations that are still there when nothing is under way: five databases are not read in one instant.

    `is_expected`: those that the test itself has caused and nothing can mend. Raises NeverHappened when it does not
    get quiet.
    """
    deadline = time.monotonic() + within
    while True:
        await quiet(urls, waiting=waiting, ledger=ledger, within=max(1.0, deadline - time.monotonic()))
        async with opened_books(urls, ledger=ledger) as books:
            found = [sentence for sentence in await violations(books, **how) if not is_expected(sentence)]
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(PAUSE)


def main() -> int:
    """Check the open shop; 1 when something is broken."""
    parser = argparse.ArgumentParser(description="Check the books of an open shop.")
    parser.add_argument("--busy", action="store_true", help="only what holds while the shop is at work")
    is_busy = parser.parse_args().busy
    process = opened_shop()
    if process is None:
        sys.stderr.write(
            "No shop is open: start one with `make run` or `make stack`, or name its folder in HAAT_DATA.\n"
        )
        return 1
    try:
        broken = asyncio.run(_check(process, is_quiet=not is_busy))
    except NeverHappened as never:
        broken = [f"{never}; `--busy` checks what holds meanwhile"]
    print("\n".join(broken) or f"Every invariant holds in {process.data}.")
    return 1 if broken else 0


async def _check(process: ShopProcess, *, is_quiet: bool) -> list[str]:
    async def ledger() -> Ledger:
        async with httpx.AsyncClient() as http:
            found: Ledger = (await http.get(f"{process.simulator}/simulator/ledger")).raise_for_status().json()
            return found

    urls = process.database_urls()
    if not is_quiet:
        async with opened_books(urls, ledger=ledger) as books:
            return await violations(books, is_quiet=False)
    async with opened_replay(process.admin_url()) as replay:
        return await settled_violations(
            urls, waiting=process.messages_waiting, ledger=ledger, within=20, replay=replay.differences
        )


if __name__ == "__main__":
    sys.exit(main())
