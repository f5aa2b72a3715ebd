"""What must happen for a seldom used path to be taken, each provoked from outside the shop."""

import json
from contextlib import suppress
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import aio_pika

from chassis.auth import ServiceIdentity
from chassis.rabbitmq_queues import incoming
from stack.topology import PARTS
from tests.faults.load import UNLUCKY
from tests.faults.stage import Stage

POISON = NAMESPACE_OID
"""The ids of injected messages are derived from it, so that nothing else parked is taken for one."""


def poison_id(consumer: str, number: int) -> UUID:
    """The id under which an injected message is parked."""
    return uuid5(POISON, f"{consumer} {number}")


async def registration(stage: Stage) -> None:
    """Accounts writes and publishes."""
    with suppress(*UNLUCKY):
        await stage.shop.customer()


async def reloaded_list(stage: Stage) -> None:
    """The gateway asks catalog, whatever it keeps."""
    with suppress(*UNLUCKY):
        visitor = stage.shop.visitor()
        visitor.reloads = True
        await visitor.get("/categories")


async def unknown_variant(stage: Stage) -> None:
    """Cart asks catalog."""
    with suppress(*UNLUCKY):
        await stage.shop.visitor().add_to_cart(str(uuid4()))


async def unknown_order(stage: Stage) -> None:
    """Payments asks orders."""
    with suppress(*UNLUCKY):
        shopper = await stage.shop.customer()
        await shopper.send("POST", "/api/v1/payments", json={"order_id": str(uuid4())})


async def order_to_a_known_address(stage: Stage) -> None:
    """Orders asks accounts."""
    with suppress(*UNLUCKY):
        shopper = await stage.shop.customer()
        await shopper.try_to_order(shipping_address_id=str(uuid4()), shipping_address=None)


async def order_trace(stage: Stage) -> None:
    """Orders asks payments what it knows of an order, for staff who follow it."""
    with suppress(*UNLUCKY):
        staff = await stage.shop.staff()
        (order, *_) = (await staff.get("/admin/orders"))["items"]
        await staff.get(f"/admin/orders/{order['id']}/trace")


async def overview_of_jobs(stage: Stage) -> None:
    """Payments asks every service, for staff who look whether the books agree."""
    with suppress(*UNLUCKY):
        await (await stage.shop.staff()).get("/admin/payments/reconciliation")


async def orphaned_hold(stage: Stage) -> None:
    """What a checkout that died in the middle leaves: catalog will ask orders whether there is such an order."""
    key = stage.process.secrets()["service_keys"]["orders"]
    token = ServiceIdentity("orders", key, issuer="haat").token_for("catalog")
    with suppress(*UNLUCKY):
        variant = await stage.shop.new_variant(stock=5)
        await stage.shop.http.put(
            f"{stage.address('catalog')}/internal/reservations/{uuid4()}",
            json={"items": [{"variant_id": variant, "quantity": 1}]},
            headers={"authorization": f"Bearer {token}"},
        )


SPOILED = 3
"""Kinds of messages that nobody will ever be able to apply."""


def _spoiled(consumer: str, number: int) -> bytes:
    """No JSON, no envelope, or an event of a type that the consumer knows, without what it promises."""
    known = next(part.listens_to[0] for part in PARTS if part.name == consumer)
    empty = {
        "id": str(poison_id(consumer, number)),
        "source": "/services/nobody",
        "type": known,
        "subject": "1",
        "time": "2026-01-01T00:00:00Z",
        "sequence": f"{1:019}",
        "data": {},
        "correlationid": "1",
    }
    return (b"\x00 not JSON at all", b'{"specversion": "1.0"}', json.dumps(empty).encode())[number]


async def poison(stage: Stage, consumer: str, number: int = 0) -> UUID:
    """A spoiled message reaches a consumer; the id under which it will be parked."""
    id_ = poison_id(consumer, number)
    async with await aio_pika.connect(stage.queues().urls[consumer], timeout=5) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(f"{consumer}.retry", ensure=False)
        message = aio_pika.Message(
            _spoiled(consumer, number),
            message_id=str(id_),
            type="order.placed.v1",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await exchange.publish(message, incoming(consumer), timeout=10)
    return id_
