"""Pulling the plug, at any moment, loses no placed order and no captured payment; and an orderly end is quick."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.books import opened_books, quiet
from tests.invariants import violations
from tests.patience import NeverHappened, eventually, soon
from tests.shop import Shop
from tests.shop_process import ShopProcess
from tests.shopper import Shopper

pytestmark = pytest.mark.slow

KILLS = 3
SHOPPERS = 4
INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "embedded.shop":
            class Field:
                def __set_name__(self, owner, name):
                    os.kill(os.getpid(), signal.SIGINT)
            class Model:
                field = Field()

sys.meta_path.insert(0, Interrupting())
"""
"""Python loads it first of all. It presses Ctrl-C while the shop's modules are imported."""

SOON_TIDY = {
    "CATALOG_ORPHAN_HOLD_AFTER": "3",
    "PAYMENTS_CREATE_LEASE": "5",
    "PAYMENTS_PROVIDER_TIMEOUT": "2",
}
"""What a crash cut off is cleared up after seconds; in a shop for people it has minutes."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    """A shop that the tests of this file open and end one after the other."""
    process = ShopProcess(Path(tmp_path_factory.mktemp("to be killed")))
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
async def crashing(process: ShopProcess) -> AsyncIterator[Shop]:
    """The shop on that data folder, open when the test begins."""
    if not process.is_open:
        process.open(**SOON_TIDY)
    async with httpx.AsyncClient(timeout=10) as http:
        yield Shop(process.gateway, process.simulator, http, process)


@dataclass
class Witness:
    """What shoppers were told before the plug was pulled."""

    orders: dict[str, str] = field(default_factory=dict)
    """Order ids that were answered with 201, and to whom."""
    captured: set[str] = field(default_factory=set)
    """Provider payments that were answered as taken."""

    async def buy_for_ever(self, shopper: Shopper, variants: list[str], dice: random.Random) -> None:
        """One purchase after the other until the shop is gone."""
        while True:
            await shopper.add_to_cart(dice.choice(variants), dice.randint(1, 2))
            order = await shopper.place_order()
            self.orders[order["id"]] = shopper.user_id
            payment = await shopper.start_payment(order)
            handshake = await shopper.pay(payment, outcome="success")
            self.captured.add(handshake["razorpay_payment_id"])
            if dice.random() < 0.3:
                await shopper.send("POST", f"/api/v1/orders/{order['id']}/cancel", json={})

    async def shop_until_the_lights_go_out(self, shop: Shop, variants: list[str], seed: int) -> None:
        """Several shoppers at once, and a kill at a moment that only the seed knows."""
        dice = random.Random(seed)
        shoppers = [await shop.customer() for _ in range(SHOPPERS)]
        purchases = [asyncio.create_task(self.buy_for_ever(shopper, variants, dice)) for shopper in shoppers]
        before = len(self.captured)

        async def first_money() -> bool:
            return len(self.captured) > before or any(purchase.done() for purchase in purchases)

        await eventually(first_money, what="The first purchase of this round", within=30)
        ended, _ = await asyncio.wait(purchases, timeout=dice.uniform(0, 2))
        for purchase in ended:
            purchase.result()  # before the kill nothing goes wrong
        assert shop.process is not None
        shop.process.kill()
        for error in await asyncio.gather(*purchases, return_exceptions=True):
            # Whoever was in the middle of something was cut off, and may be told so in many ways.
            assert isinstance(error, httpx.HTTPError | AssertionError | NeverHappened), error


async def test_killed_in_the_middle_of_purchases_nothing_is_lost(crashing: Shop, process: ShopProcess) -> None:
    variants = [await crashing.new_variant(stock=1000) for _ in range(3)]
    witness = Witness()

    for seed in range(KILLS):
        await witness.shop_until_the_lights_go_out(crashing, variants, seed)
        assert process.processes() == []
        process.open(**SOON_TIDY)

    assert len(witness.captured) >= KILLS, "too few purchases to prove anything"
    urls = process.database_urls()
    await quiet(urls, waiting=process.messages_waiting, ledger=crashing.ledger, within=45)
    async with opened_books(urls, ledger=crashing.ledger) as books:
        assert await violations(books, promised=witness.orders) == []
        known = await books.rows("payments", "SELECT provider_payment_id FROM attempts WHERE captured > 0")
        assert witness.captured <= {row["provider_payment_id"] for row in known}


async def test_a_killed_database_server_is_started_again(crashing: Shop, process: ShopProcess) -> None:
    shopper = await crashing.customer()
    variant = await crashing.new_variant(stock=5)
    order = await shopper.buy(variant)
    postmaster = process.data / "postgres/cluster/postmaster.pid"

    os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)

    async def buys_again() -> bool:
        try:
            await shopper.buy(variant)
        except (httpx.HTTPError, AssertionError):
            return False
        return True

    await eventually(buys_again, what="A purchase after the end of PostgreSQL", within=60)
    assert (await shopper.order(order["id"]))["status"] == "paid"
    assert "PostgreSQL has ended; it is started again." in process.complaints


async def test_a_second_run_keeps_the_data(crashing: Shop, process: ShopProcess) -> None:
    shopper = await crashing.customer()
    order = await shopper.buy(await crashing.new_variant())

    process.close()
    process.open()

    seen = await shopper.order(order["id"])
    assert (seen["status"], seen["number"]) == ("paid", order["number"])


def test_ctrl_c_and_sigterm_end_it_in_time(process: ShopProcess) -> None:
    """`close` fails when it takes longer than five seconds or a process stays behind."""
    if not process.is_open:
        process.open()
    process.close(signal.SIGINT)
    assert "The data is kept" in process.printed
    process.open()
    process.close(signal.SIGTERM)
    assert process.complaints == ""


@pytest.mark.parametrize("programs", [1, 3, 7])
def test_ctrl_c_while_it_is_still_starting(process: ShopProcess, programs: int) -> None:
    """Whatever runs already; no trace is thrown at the person who changed their mind."""
    assert not process.is_open
    process.launch()
    soon(lambda: len(process.processes()) > programs, what=f"The start of {programs} more programs")
    process.close(signal.SIGINT)
    assert "Traceback" not in process.complaints
    assert "Haat is open" not in process.printed


def test_ctrl_c_in_the_middle_of_a_class_is_a_ctrl_c(tmp_path: Path) -> None:
    """The imports are full of classes, and Python 3.11 wraps what interrupts the making of one."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTED)
    process = ShopProcess(tmp_path / "shop")
    started = process.launch(PYTHONPATH=str(tmp_path))
    try:
        assert started.wait(timeout=60) == 130
        assert (process.complaints, process.processes()) == ("", [])
    finally:
        process.kill()


def test_a_first_start_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """Half-made databases are no obstacle."""
    process = ShopProcess(tmp_path)
    try:
        for made in ("postgres/cluster", "databases-created"):
            process.launch()
            soon((process.data / made).exists, what=f"{made} of a first start", within=60)
            process.kill()
        process.open()
        answer = httpx.get(f"{process.gateway}/api/v1/products")
        assert len(answer.json()["items"]) == 50
        process.close()
    finally:
        process.kill()


@pytest.mark.parametrize("variable", ["PORT", "SIMULATOR_PORT"])
def test_a_busy_port_gives_one_clear_line(process: ShopProcess, variable: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        ended = process.launch(**{variable: str(port)})
        assert ended.wait(timeout=20) == 1
    (line,) = process.complaints.splitlines()
    assert f"Port {port} is in use" in line
    assert f"make run {variable}=" in line
    assert process.printed == ""


@pytest.mark.parametrize("twice", ["SIMULATOR_PORT", "MANAGEMENT_PORT"])
def test_a_port_that_is_named_twice_gives_one_clear_line(tmp_path: Path, twice: str) -> None:
    process = ShopProcess(tmp_path)
    assert process.launch(**{"PORT": str(process.port), twice: str(process.port)}).wait(timeout=20) == 1
    (line,) = process.complaints.splitlines()
    assert str(process.port) in line
    assert twice in line


def test_a_folder_that_cannot_be_one_gives_one_clear_line(tmp_path: Path) -> None:
    process = ShopProcess(tmp_path)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert process.launch(HAAT_DATA=str(place)).wait(timeout=20) == 1
        (line,) = process.complaints.splitlines()
        assert str(place) in line
        assert "HAAT_DATA" in line


def test_two_shops_do_not_share_a_folder(process: ShopProcess) -> None:
    if not process.is_open:
        process.open()
    second = ShopProcess(process.folder / "second", data=process.data)
    ended = second.launch()
    assert ended.wait(timeout=20) == 1
    (line,) = second.complaints.splitlines()
    assert "The shop is open on" in line
