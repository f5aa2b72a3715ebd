"""A shop that has sold for a month gets its webhooks as cheaply as a new one."""

from pathlib import Path

from razorpay_simulator.courier import Courier
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Delivery
from razorpay_simulator.settings import Settings

MANY = 3000


def delivery(number: int) -> Delivery:
    return Delivery(
        id=f"del_{number}",
        event_id=f"evt_{number}",
        event="payment.captured",
        webhook_id="whk_1",
        secret="s",
        created_at=1.0,
        due_at=1.0,
        status="delivered",
    )


def test_what_was_delivered_long_ago_is_not_looked_at_again(tmp_path: Path) -> None:
    provider = Provider.open(Settings(data=tmp_path, key_id="rzp_test_x", key_secret="x"))
    courier, store = Courier(provider), provider.store
    with store.transaction():
        for number in range(MANY):
            store.deliveries.save(delivery(number))
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    store.connection.set_progress_handler(count, 10)
    courier.let_go_held_back(delivery(MANY), now=0.0)
    store.connection.set_progress_handler(None, 0)
    assert steps * 10 < MANY, "SQLite went through the whole ledger"
    store.close()
