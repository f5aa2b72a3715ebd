"""The checker of invariants, checked: books that are in order pass, and each kind of falsification is told."""

from collections.abc import AsyncIterator

import pytest

from tests.books import opened_books, quiet
from tests.invariants import violations
from tests.replay import Replay, opened_replay
from tests.shop import Shop

FALSIFICATIONS = {
    "I1": ("catalog", "UPDATE stock_levels SET reserved = on_hand + 1 WHERE variant_id = $1"),
    "I2": ("catalog", "UPDATE stock_levels SET reserved = reserved + 1 WHERE variant_id = $1"),
    "I3": ("catalog", "UPDATE stock_levels SET on_hand = on_hand + 1 WHERE variant_id = $1"),
    "I3 per order": ("catalog", "DELETE FROM stock_movements WHERE variant_id = $1 AND kind = 'committed'"),
    "I4: order": ("orders", "UPDATE order_moves SET move = 'T8' WHERE order_id = $2 AND move = 'T3'"),
    "I4: reservation": ("catalog", "DELETE FROM reservation_history WHERE order_id = $2 AND to_status = 'committed'"),
    "I4: payment": (
        "payments",
        """
        DELETE FROM payment_history WHERE status = 'creating'
            AND payment_id IN (SELECT id FROM payments WHERE order_id = $2)
        """,
    ),
    "I5": ("orders", "UPDATE order_items SET price_at_purchase = price_at_purchase - 1 WHERE order_id = $2"),
    "I7": ("orders", "UPDATE orders SET paying_attempt_id = NULL WHERE id = $2"),
    "I8": ("orders", "UPDATE orders SET currency = 'EUR' WHERE id = $2"),
    "I9": ("orders", "UPDATE orders SET paying_attempt_id = gen_random_uuid() WHERE id = $2"),
    "I11": (
        "payments",
        """
        INSERT INTO refunds (id, attempt_id, kind, amount, reason, status, provider_refund_id, body)
        SELECT gen_random_uuid(), attempt.id, 'staff', 100, 'false', 'processed', 'rfnd_NeverMade12345', '{}'
        FROM attempts AS attempt JOIN payments AS payment ON payment.id = payment_id WHERE payment.order_id = $2
        """,
    ),
    "I12": ("catalog", "UPDATE reservations SET status = 'released' WHERE order_id = $2"),
    "I13": ("catalog", "DELETE FROM inbox WHERE type = 'order.paid.v1'"),
    "I14": ("cart", "UPDATE stock_copies SET available = available + 1 WHERE variant_id = $1"),
    "I14: cart shows": ("cart", "UPDATE variant_copies SET unit_price = unit_price + 1 WHERE variant_id = $1"),
    "I14: orders shows": ("orders", "UPDATE orders SET payment_status = 'partially_refunded' WHERE id = $2"),
    "I15": ("orders", "DELETE FROM orders WHERE id = $2"),
    "I16": ("orders", "UPDATE orders SET user_id = gen_random_uuid() WHERE id = $2"),
    "I17": ("catalog", "UPDATE reservation_items SET quantity = quantity + 1 WHERE order_id = $2"),
}
"""What the sentence must begin with → database and change; $1 is the variant of a paid order, $2 the order."""

LIFTED = (
    ("catalog", "ALTER TABLE stock_levels DROP CONSTRAINT ck_stock_levels_never_oversold"),
    ("orders", "ALTER TABLE orders DROP CONSTRAINT ck_orders_paid_by_an_attempt"),
)
"""What the databases themselves would refuse; undone with everything else."""


@pytest.fixture(scope="module")
async def bought(own_shop: Shop) -> tuple[str, str, str]:
    """The variant, the order and the buyer of a purchase after which everything is quiet."""
    assert own_shop.process is not None
    variant = await own_shop.new_variant()
    shopper = await own_shop.customer()
    order = await shopper.buy(variant)
    await quiet(own_shop.process.database_urls(), waiting=own_shop.process.messages_waiting, ledger=own_shop.ledger)
    return variant, order["id"], shopper.user_id


@pytest.fixture(scope="module")
async def replay(own_shop: Shop) -> AsyncIterator[Replay]:
    assert own_shop.process is not None
    async with opened_replay(own_shop.process.admin_url()) as replay:
        yield replay


async def test_a_shop_in_order_breaks_nothing(own_shop: Shop, bought: tuple[str, str, str], replay: Replay) -> None:
    assert own_shop.process is not None
    async with opened_books(own_shop.process.database_urls(), ledger=own_shop.ledger) as books:
        assert await violations(books, promised={bought[1]: bought[2]}, replay=replay.differences) == []


@pytest.mark.parametrize("number", FALSIFICATIONS)
async def test_falsified_books_are_noticed(
    own_shop: Shop, bought: tuple[str, str, str], replay: Replay, number: str
) -> None:
    """Changed inside a transaction that is rolled back, so that the shop never knows."""
    assert own_shop.process is not None
    database, change = FALSIFICATIONS[number]
    async with opened_books(own_shop.process.database_urls(), ledger=own_shop.ledger) as books:
        for lifted_in, statement in LIFTED:
            if lifted_in == database:
                await books.connections[lifted_in].execute(statement)
        named = [value for name, value in (("$1", bought[0]), ("$2", bought[1])) if name in change]
        change = change if "$1" in change else change.replace("$2", "$1")
        done = await books.connections[database].execute(change, *named)
        assert not done.endswith(" 0"), f"The falsification changed nothing: {done}"

        anew = replay.differences if number.startswith("I14") else None
        told = await violations(books, promised={bought[1]: bought[2]}, replay=anew)

    assert [sentence for sentence in told if sentence.startswith(number)], told
