"""The distributed shop heals itself, keeps its parts apart, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import psutil
import pytest
from aio_pika.exceptions import AMQPError

from chassis.settings import SettingsRefused
from stack.process import Process
from stack.supervisor import Supervisor
from stack.topology import PARTS
from tests.patience import soon
from tests.shop import Shop
from tests.shop_process import ShopProcess
from tests.with_stack import stack_in

pytestmark = [pytest.mark.broker, pytest.mark.slow]
HEALED_WITHIN = 60.0


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    process = stack_in(Path(tmp_path_factory.mktemp("a distributed shop")))
    try:
        process.open(CATALOG_REPLICAS="2", ORDERS_ROLE="split")
        yield process
    finally:
        process.kill()


@pytest.fixture
async def shop(opened: ShopProcess) -> AsyncIterator[Shop]:
    async with httpx.AsyncClient(timeout=30) as http:
        yield Shop(opened.gateway, opened.simulator, http, opened)


class Parts:
    """What `make stack-status` would tell."""

    def __init__(self, opened: ShopProcess) -> None:
        self._report = opened.data / "stack.json"

    def part(self, name: str) -> dict[str, Any]:
        parts: list[dict[str, Any]] = json.loads(self._report.read_text())["parts"]
        return next(part for part in parts if part["name"] == name)

    def kill(self, name: str) -> None:
        os.kill(self.part(name)["pid"], signal.SIGKILL)

    def came_back(self, name: str, *, after: int) -> None:
        def is_back() -> bool:
            part = self.part(name)
            return part["ends"] > after and psutil.pid_exists(part["pid"]) and self._is_well(part)

        soon(is_back, what=f"The return of {name}", within=HEALED_WITHIN)

    def _is_well(self, part: dict[str, Any]) -> bool:
        if "health_url" not in part:
            return True
        try:
            return httpx.get(part["health_url"], timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def parts(opened: ShopProcess) -> Parts:
    return Parts(opened)


async def buys(shop: Shop) -> None:
    """Somebody enters, pays, and is told so."""
    shopper = await shop.customer()
    await shopper.add_to_cart(await shop.new_variant())
    order = await shopper.place_order()
    payment = await shopper.start_payment(order)
    await shop.provider_is_told(
        f"orders/{payment['checkout']['razorpay_order_id']}/pay", {"method": "upi", "vpa": "success@razorpay"}
    )
    async with asyncio.timeout(30):
        while (await shopper.get(f"/orders/{order['id']}"))["status"] != "paid":  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.1)


async def test_somebody_buys_something(shop: Shop) -> None:
    await buys(shop)


async def test_the_loss_of_one_of_two_processes_is_not_seen_by_those_who_read(shop: Shop, parts: Parts) -> None:
    ends = parts.part("catalog-1")["ends"]
    statuses = set()
    for number in range(200):
        if number == 50:
            parts.kill("catalog-1")
        statuses.add((await shop.http.get(f"{shop.gateway}/api/v1/products?limit=5")).status_code)
    assert statuses == {200}
    parts.came_back("catalog-1", after=ends)


async def test_one_process_after_the_other_is_replaced_and_nobody_who_reads_notices(
    opened: ShopProcess, shop: Shop, parts: Parts
) -> None:
    names = ("catalog-1", "catalog-2")
    before = {name: parts.part(name)["pid"] for name in names}
    replacing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stack", "restart", "catalog"),
        env={**os.environ, "HAAT_DATA": str(opened.data)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed = asyncio.create_task(replacing.communicate())
    statuses = set()
    while not printed.done():
        statuses.add((await shop.http.get(f"{shop.gateway}/api/v1/products?limit=5")).status_code)
        await asyncio.sleep(0.02)
    assert replacing.returncode == 0
    assert statuses == {200}
    assert [line.split()[0] for line in (await printed)[0].decode().splitlines()] == list(names)
    assert not set(before.values()) & {parts.part(name)["pid"] for name in names}


@pytest.mark.parametrize("name", ["orders-worker", "payments", "rabbitmq", "postgres"])
async def test_what_crashes_comes_back_and_people_buy_on(name: str, shop: Shop, parts: Parts) -> None:
    ends = parts.part(name)["ends"]
    parts.kill(name)
    parts.came_back(name, after=ends)
    for service in ("accounts", "catalog-1", "catalog-2", "cart", "orders", "orders-worker", "payments", "gateway"):
        parts.came_back(service, after=-1)
    await buys(shop)


@pytest.mark.parametrize(
    "operation",
    [
        lambda channel: publish(channel, "order.paid.v1"),
        lambda channel: channel.declare_queue("orders.in", passive=False, durable=True),
        lambda channel: consume(channel, "orders.in"),
        lambda channel: channel.queue_delete("payments.parked"),
    ],
    ids=["another's event", "another's queue", "another's messages", "another's parked messages"],
)
async def test_a_service_touches_no_queue_or_event_of_another(operation: Any, parts: Parts) -> None:
    environment = psutil.Process(parts.part("catalog-2")["pid"]).environ()
    connection = await aio_pika.connect(environment["CATALOG_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        with pytest.raises(AMQPError, match="ACCESS_REFUSED"):
            await operation(channel)


async def publish(channel: aio_pika.abc.AbstractChannel, type_: str) -> None:
    exchange = await channel.get_exchange("haat.events", ensure=False)
    await exchange.publish(aio_pika.Message(b"{}"), type_, timeout=10)


async def consume(channel: aio_pika.abc.AbstractChannel, name: str) -> None:
    queue = await channel.get_queue(name, ensure=False)
    await queue.get()


def test_no_process_knows_a_secret_of_another(parts: Parts) -> None:
    environment = psutil.Process(parts.part("payments")["pid"]).environ()
    others = [part.prefix for part in PARTS if part.name != "payments"]
    assert not [name for name in environment if name.startswith((*others, "SIMULATOR_"))]


def test_a_process_whose_settings_are_refused_says_so_and_is_not_started_for_ever(tmp_path: Path) -> None:
    process = Process(
        "gateway", "gateway", {"GATEWAY_PORT": "eight", "HAAT_ENV": "demo"}, "http://nowhere", tmp_path / "log"
    )
    supervisor = Supervisor(tmp_path / "report.json", {})
    supervisor.start(process)
    with pytest.raises(SettingsRefused, match=r"^GATEWAY_PORT: .* integer"):
        supervisor.wait(lambda: False, within=60, what="The refusal")


def test_a_kill_of_the_supervisor_leaves_nothing_behind(opened: ShopProcess) -> None:
    """The last test of the module: `kill` fails when a process stays."""
    opened.kill()
    assert not opened.processes()
