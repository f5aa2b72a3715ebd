"""Where the stories of the state machine are played: in a hand-carried shop, or in an open one behind its gateway."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

import asyncpg

from tests.books import opened_books, quiet
from tests.hand_carried import USUAL_JOBS, HandCarriedShop, proof_of
from tests.invariants import violations
from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import expect

Found = TypeVar("Found")

EVERY_JOB = (*USUAL_JOBS, "sweep", "returns")

HOURS = 75 * 60
"""Seconds after which the provider waits for nobody: its windows are 10, 12 and 60 minutes."""

LEASE_IS_OVER = "UPDATE payments SET lease_until = clock_timestamp() WHERE order_id = $1 AND status = 'creating'"
MINUTES_PASS = "UPDATE attempts SET changed_at = changed_at - interval '3 minutes'"
HURRY = "UPDATE payments SET next_ask_at = clock_timestamp() WHERE status = 'closing'"
DEADLINE = "UPDATE orders SET deadline = clock_timestamp() - interval '1 second' WHERE id = $1"


class Stage(Protocol):
    """A shop, the loop it lives in, and what a story needs that no shopper can do."""

    by_hand: bool
    """Whether jobs that seldom run can be run now."""

    @property
    def shop(self) -> Shop:
        """For shoppers and staff."""

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        """Rules are not asynchronous."""

    async def shows(self, difference: Callable[[], Awaitable[str]], *, troubles: int) -> None:
        """Let the shop come to rest; then there must be no difference to the model."""

    async def time_is_up(self, order_id: str) -> None:
        """The half hour of an order is over."""

    async def lease_is_over(self, order_id: str) -> None:
        """A creation at the provider has had its time."""

    async def capture_job(self, *, troubles: int) -> None:
        """Two minutes later: what was authorised and not captured is captured."""

    def proof_of(self, provider_order: str, attempt: str) -> str:
        """The provider's signature."""

    async def broken(self, promised: dict[str, str]) -> list[str]:
        """The story is over, and so is all waiting: every invariant that does not hold."""


@dataclass
class HandCarriedStage:
    """Deterministic: nothing moves but what is moved."""

    shop: HandCarriedShop
    loop: asyncio.AbstractEventLoop
    by_hand: bool = True

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        return self.loop.run_until_complete(work)

    async def shows(self, difference: Callable[[], Awaitable[str]], *, troubles: int) -> None:
        # What got lost by the provider's trouble is found by jobs that run now and then.
        for _ in range(1 + troubles):
            await self.shop.come_to_rest(jobs=EVERY_JOB if troubles else USUAL_JOBS)
        found = await difference()
        assert not found, found

    async def time_is_up(self, order_id: str) -> None:
        await self.shop.expire({"id": order_id})

    async def lease_is_over(self, order_id: str) -> None:
        await self.shop.services["payments"].execute(LEASE_IS_OVER, UUID(order_id))

    async def capture_job(self, *, troubles: int) -> None:
        await self.shop.services["payments"].execute(MINUTES_PASS)
        for _ in range(1 + troubles):
            await self.shop.job("payments", "capture")

    def proof_of(self, provider_order: str, attempt: str) -> str:
        return self.shop.proof_of(provider_order, attempt)

    async def broken(self, promised: dict[str, str]) -> list[str]:
        await asyncio.to_thread(self.shop.provider.clear_faults)
        await self.shop.provider_is_told("clock/advance", {"seconds": HOURS})
        await self.shop.come_to_rest(jobs=EVERY_JOB)
        await self.shop.settle()
        self.shop.promised.update(promised)
        return await self.shop.broken()


@dataclass
class OpenStage:
    """The shop as its users start it, through its gateway; everything takes its own time."""

    shop: Shop
    loop: asyncio.AbstractEventLoop
    by_hand: bool = False

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        return self.loop.run_until_complete(work)

    async def shows(self, difference: Callable[[], Awaitable[str]], *, troubles: int) -> None:
        async def none() -> bool:
            last[0] = await difference()
            if last[0]:
                await self._execute("payments", HURRY)
            return not last[0]

        last = [""]
        try:
            await eventually(none, what="The model's view of the shop", within=40)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last[0]}") from None

    async def time_is_up(self, order_id: str) -> None:
        await self._execute("orders", DEADLINE, UUID(order_id))

    async def lease_is_over(self, order_id: str) -> None:
        await self._execute("payments", LEASE_IS_OVER, UUID(order_id))

    async def capture_job(self, *, troubles: int) -> None:
        raise NotImplementedError

    def proof_of(self, provider_order: str, attempt: str) -> str:
        assert self.shop.process is not None
        return proof_of(provider_order, attempt, secret=self.shop.process.secrets()["razorpay_key_secret"])

    async def broken(self, promised: dict[str, str]) -> list[str]:
        process = self.shop.process
        assert process is not None
        expect(200, await self.shop.http.delete(f"{self.shop.simulator}/simulator/faults"))
        await self.shop.provider_is_told("clock/advance", {"seconds": HOURS})
        await self._execute("payments", HURRY)
        urls = process.database_urls()
        await quiet(urls, waiting=process.messages_waiting, ledger=self.shop.ledger)
        async with opened_books(urls, ledger=self.shop.ledger) as books:
            return await violations(books, promised=promised)

    async def _execute(self, database: str, sql: str, *values: Any) -> None:
        assert self.shop.process is not None
        connection = await asyncpg.connect(self.shop.process.database_url(database))
        try:
            await connection.execute(sql, *values)
        finally:
            await connection.close()
