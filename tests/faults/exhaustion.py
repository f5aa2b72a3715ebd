"""Too much of something: connections, time, and people who do not wait for their answer."""

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from uuid import uuid4

import asyncpg
import httpx

from tests.faults.fault import Fault, NeverFired
from tests.faults.links import BOTH, POSTGRES
from tests.faults.load import UNLUCKY
from tests.faults.stage import FIRED_WITHIN, Stage
from tests.patience import eventually
from tests.shopper import API, HOME

STARVED = 6.0
CANCELLED = 1500
AT_ONCE = 25
TOO_LONG = (
    "application:set_env(rabbit, consumer_timeout, 3000), application:set_env(rabbit, channel_tick_interval, 500)."
)
AS_EVER = (
    "application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000)."
)
TIMED_OUT = "has timed out wait"
"""What the broker writes down when it closes a channel for it."""


async def consumer_too_slow(stage: Stage, _dice: random.Random) -> str:
    """The broker takes its messages back from a consumer whose database does not answer. Evidence: it says so."""
    wire = stage.wires["catalog", POSTGRES]
    seen = stage.broker_told(TIMED_OUT)
    await stage.rabbitmqctl("eval", TOO_LONG)
    await stage.rabbitmqctl("close_all_connections", "shorter time-outs are for new channels")
    await stage.all_ready()
    wire.hold(*BOTH)
    try:

        async def is_told() -> bool:
            return stage.broker_told(TIMED_OUT) > seen

        await eventually(is_told, what="The consumer's time-out", within=45)
    except AssertionError as never:
        raise NeverFired(str(never)) from None
    finally:
        wire.let_go(is_broken=True)
        await stage.rabbitmqctl("eval", AS_EVER)
    return f"{stage.broker_told(TIMED_OUT) - seen} channels closed by the broker"


async def database_full(stage: Stage, _dice: random.Random) -> str:
    """Somebody takes every connection that the server has, again and again. Evidence: the server refused more."""
    url, refused, taken = stage.process.database_url("accounts"), 0, 0
    admin = await asyncpg.connect(stage.process.admin_url())
    now = asyncio.get_running_loop().time
    deadline = now() + FIRED_WITHIN
    async with AsyncExitStack() as stack:
        stack.push_async_callback(admin.close)
        while now() < deadline:
            try:
                connection = await asyncpg.connect(url, server_settings={"application_name": "greedy"})
            except (asyncpg.PostgresError, OSError, TimeoutError):
                deadline = min(deadline, now() + STARVED) if not refused else deadline
                refused += 1
                with suppress(asyncpg.PostgresError):
                    await admin.execute(_END_OTHERS)
            else:
                taken += 1
                stack.push_async_callback(connection.close)
    if not refused:
        raise NeverFired(f"The server gave {taken} connections and refused none")
    return f"{taken} taken, then refused {refused} times"


_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name <> 'greedy' AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    AND usename <> 'postgres'"""


async def broker_full(stage: Stage, _dice: random.Random) -> str:
    """The broker accepts nobody. Evidence: it has no connection left."""
    await stage.rabbitmqctl("set_vhost_limits", "-p", "/", '{"max-connections": 0}')
    try:
        await stage.rabbitmqctl("close_all_connections", "nobody is welcome")
        await asyncio.sleep(STARVED)
        left = await stage.rabbitmqctl("list_connections", "--silent", "name")
    finally:
        await stage.rabbitmqctl("clear_vhost_limits", "-p", "/")
    if left.strip():
        raise NeverFired(f"Somebody is still connected: {left}")
    return "nobody was let in"


async def impatient(stage: Stage, dice: random.Random) -> str:
    """Requests of every kind whose sender is gone before the answer. Evidence: so many were cut off."""
    cut_off = 0
    variant = await stage.shop.new_variant(stock=100_000)
    shoppers = [await stage.shop.customer() for _ in range(5)]
    turns = asyncio.Semaphore(AT_ONCE)

    async def leave_early() -> None:
        nonlocal cut_off
        shopper, kind = dice.choice(shoppers), dice.random()
        patience = dice.uniform(0.0, 0.15)
        async with turns:
            try:
                async with asyncio.timeout(patience):
                    if kind < 0.3:
                        body = {"variant_id": variant, "quantity": 1}
                        await shopper.http.post(
                            f"{shopper.gateway}{API}/cart/items", json=body, headers=shopper.headers
                        )
                    elif kind < 0.6:
                        headers = {**shopper.headers, "idempotency-key": uuid4().hex}
                        order = {"shipping_address": HOME}
                        await shopper.http.post(f"{shopper.gateway}{API}/orders", json=order, headers=headers)
                    else:
                        path = dice.choice(("/cart", "/orders", "/products", "/users/me"))
                        await shopper.http.get(f"{shopper.gateway}{API}{path}", headers=shopper.headers)
            except TimeoutError:
                cut_off += 1
            except httpx.HTTPError:
                pass

    async with asyncio.timeout(120):
        while cut_off < CANCELLED:
            await asyncio.gather(*(leave_early() for _ in range(250)))
    for shopper in shoppers:
        with suppress(*UNLUCKY):
            await shopper.send("DELETE", f"{API}/cart")
    return f"{cut_off} cut off"


def exhaustion_faults() -> list[Fault]:
    """Each kind of too much."""
    return [
        Fault("a consumer takes too long", consumer_too_slow),
        Fault("PostgreSQL has no connection left", database_full),
        Fault("RabbitMQ lets nobody in", broker_full),
        Fault("people leave before the answer", impatient),
    ]
