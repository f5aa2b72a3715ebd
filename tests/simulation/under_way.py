"""What is under way in a simulated shop: who goes on, who dies, and how time passes."""

from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.ids import derive_id
from tests.simulation.cart import Cart
from tests.simulation.checks import Checks
from tests.simulation.clock import Clock
from tests.simulation.fate import Fate
from tests.simulation.goods import SHOPPERS
from tests.simulation.interleaving import Advance, Crash, Fiber
from tests.simulation.provider import SimulatedProvider
from tests.simulation.rows import Rows
from tests.simulation.shop import Gates, Settings, Shop
from tests.simulation.trace import Trace

JUMPS = (1.0, 3.0, 3.0, 10.0, 16.0, 31.0, 31.0, 45.0, 130.0, 130.0, 200.0, 400.0, 700.0, 920.0, 1900.0, 5600.0)

Webhook = tuple[str, str, dict[str, Any]]
"""Id and name of the provider's event, and the payload."""


class UnderWay:
    """The shop, and everything in it that has begun and not ended."""

    def __init__(
        self,
        rows: Rows,
        clock: Clock,
        fate: Fate,
        provider: SimulatedProvider,
        *,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.rows, self.clock, self.fate, self.provider = rows, clock, fate, provider
        self.gates = Gates(rows, clock, fate)
        self.carts = {shopper: Cart(derive_id(shopper, "cart")) for shopper in SHOPPERS}
        self.shop = Shop(self.gates, provider, self.carts, settings=settings)
        self.trace = Trace(clock)
        self.checks = Checks()
        self.fibers: list[Fiber] = []
        self.webhooks: list[Webhook] = []
        self.processed_webhooks: set[str] = set()
        self.keys: dict[UUID, list[str]] = {shopper: [] for shopper in SHOPPERS}
        self.placed: dict[UUID, UUID] = {}
        """Order → shopper, for every order that a shopper was told of."""
        self.checkouts: list[str] = []
        """Provider orders that a shopper was asked to pay."""
        self.refund_keys = 0
        self.not_before: dict[object, datetime] = {}

    async def _begin(self, service: str, name: str, work: Coroutine[Any, Any, None], patience: float = 20.0) -> None:
        if not (self.fate.is_kind and name.startswith("job ")):
            self.trace.tell(name)
        fiber = Fiber(name, service, work, self.clock.now, patience)
        self.fibers.append(fiber)
        await self._advance(fiber)

    async def _advance(self, fiber: Fiber, *, crash: bool = False) -> None:
        """Until it pauses, ends or dies."""
        before, self.gates.running = self.gates.running, fiber
        try:
            is_done = await Advance(fiber, crash=crash)
        except Crash as death:
            self.trace.tell(f"{death.service} died: {fiber.name}")
            is_done = True
        except BaseException:
            self.fibers.remove(fiber)
            raise
        finally:
            self.gates.running = before
        if is_done and fiber in self.fibers:
            self.fibers.remove(fiber)

    async def _go_on(self) -> None:
        fiber = self.fate.choose(self.fibers)
        self.trace.tell(f"… {fiber.name}")
        await self._advance(fiber)

    async def _crash(self) -> None:
        service = self.fate.choose(self.fibers).service
        self.trace.tell(f"{service} dies")
        for fiber in [fiber for fiber in self.fibers if fiber.service == service]:
            await self._advance(fiber, crash=True)

    async def _finish(self, fibers: list[Fiber]) -> None:
        """To their ends, in turn."""
        for fiber in fibers:
            while fiber in self.fibers:
                await self._advance(fiber)

    async def _let_time_pass(self) -> None:
        await self._jump(self.fate.choose(JUMPS))

    async def _jump(self, seconds: float) -> None:
        """Nobody sleeps through a time-out: what is too old by then ends before."""
        until = self.clock.now + timedelta(seconds=seconds)
        await self._finish(
            [
                fiber
                for fiber in self.fibers
                if fiber.in_transaction or until - fiber.since > timedelta(seconds=fiber.patience)
            ]
        )
        self.provider.meet_deadlines(until=until.timestamp())
        self.clock.advance((until - self.clock.now).total_seconds())
        self.trace.tell(f"{seconds:g} s pass")
        await self.rows.show_time(self.clock)

    async def abandon(self) -> None:
        """Whoever is still under way dies."""
        for fiber in list(self.fibers):
            await self._advance(fiber, crash=True)
