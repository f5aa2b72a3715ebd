"""The simulated shop: the processes of orders, catalog and payments, wired to a schedule's rows and provider.

What runs here is the product's own code from the ports upwards. Left out are HTTP, the relay and the brokers, for
which a pool of letters stands in: each letter is delivered at any time, in any order, once or more often.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from catalog import subscriptions as catalog
from catalog.errors import ReservationDecided
from catalog.internal import quote
from catalog.jobs import expire_overdue, release_orphans
from catalog.reservations import Held, hold, release
from catalog.settings import CatalogSettings
from catalog.stockroom import Stockroom
from chassis.clients import InternalClient, Reply, UpstreamUnavailable
from chassis.jobs import JobOutcome
from orders import subscriptions as orders
from orders.cancellation import close_unpaid, end_overdue
from orders.checkout import Checkout
from orders.known_orders import KnownOrders
from orders.models import Order
from orders.neighbours import Neighbours
from orders.order_book import OrderBook
from orders.settings import OrdersSettings
from orders.showing import encoded_for_services
from payments import subscriptions as payments
from payments.adoption import Adoption
from payments.collection import Collection
from payments.jobs import Work
from payments.ledger import Ledger
from payments.settings import PaymentsSettings
from tests.simulation.cart import Cart
from tests.simulation.clock import Clock
from tests.simulation.fate import Fate
from tests.simulation.interleaving import Crash, Fiber
from tests.simulation.provider import SimulatedProvider
from tests.simulation.rows import Letter, Rows

Book = TypeVar("Book")
PROCESSES: dict[str, dict[str, tuple[Any, Any]]] = {
    "orders": {event: (reader, process) for event, reader, process in orders.LISTENS_TO},
    "catalog": {event: (reader, process) for event, reader, process in catalog.LISTENS_TO},
    "payments": {event: (reader, process) for event, reader, process in payments.LISTENS_TO},
}
"""Consumer → event → what it reads of it, and what happens: the tables of the services themselves."""


@dataclass(frozen=True)
class Settings:
    """The clocks of a schedule."""

    orders: OrdersSettings
    catalog: CatalogSettings
    payments: PaymentsSettings


CLOCKS = {
    "as delivered": Settings(OrdersSettings(), CatalogSettings(), PaymentsSettings()),
    "impatient": Settings(
        OrdersSettings(pay_window=180, pay_grace=90, closing_limit=60),
        CatalogSettings(orphan_hold_after=2, hold_expires_after=300),
        PaymentsSettings(attempt_patience=60),
    ),
    "patient with holds alone": Settings(
        OrdersSettings(pay_window=60, pay_grace=30, closing_limit=20),
        CatalogSettings(),
        PaymentsSettings(attempt_patience=1200),
    ),
}
"""With short ones, deadlines race everything else."""


Jobs = dict[str, tuple[str, Callable[[], Awaitable[JobOutcome]]]]
"""Name → service, and what a run does."""


class Door(InternalClient):
    """A neighbour that is called without HTTP. Not every call gets there, and not every answer comes back."""

    def __init__(self, name: str, fate: Fate, answer: Callable[[str, str, Any], Awaitable[Reply]]) -> None:
        self._name, self._fate, self._answer = name, fate, answer

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        idempotent: bool = True,
        timeout: float = 0.0,
    ) -> Reply:
        """Raises UpstreamUnavailable."""
        del idempotent, timeout
        await self._fate.pause()
        if self._fate.strikes("neighbour away"):
            raise UpstreamUnavailable(self._name)
        try:
            reply = await self._answer(method, path, json)
        except Crash as crash:
            if crash.service != self._name:
                raise
            raise UpstreamUnavailable(self._name) from None
        await self._fate.pause()
        if self._fate.strikes("neighbour's answer lost"):
            raise UpstreamUnavailable(self._name)
        return reply


class Gates:
    """Every transaction of the shop passes here: who may overtake it, and whether its process survives it."""

    def __init__(self, rows: Rows, clock: Clock, fate: Fate) -> None:
        self.rows, self.clock, self.fate = rows, clock, fate
        self.running: Fiber | None = None
        self.letters: list[tuple[str, Letter]] = []
        """Consumer and event, for every event that was not acknowledged yet."""
        self.history: list[Letter] = []
        self.has_changed = False

    @asynccontextmanager
    async def through(self, service: str, opened: AbstractAsyncContextManager[Book]) -> AsyncIterator[Book]:
        """One transaction."""
        await self.fate.pause()
        self.clock.tick()
        await self.rows.show_time(self.clock)
        fiber = self.running
        async with opened as book:
            if fiber is not None:
                fiber.in_transaction = True
            try:
                yield book
            finally:
                if fiber is not None:
                    fiber.in_transaction = False
            if self.fate.strikes("die before commit"):
                raise Crash(service)
        self.has_changed = True
        await self._publish(service)
        if self.fate.strikes("die after commit"):
            raise Crash(service)

    async def _publish(self, service: str) -> None:
        """One letter for each consumer; the outbox has them all by now, so none is ever lost."""
        for letter in await self.rows.published(service):
            self.history.append(letter)
            for consumer, listens_to in PROCESSES.items():
                if letter.type in listens_to:
                    self.letters.append((consumer, letter))
            if letter.type in ("order.placed.v1", "order.cancelled.v1", "order.expired.v1"):
                self.letters.append(("cart", letter))

    async def pause(self) -> None:
        """After a read that locks nothing."""
        await self.fate.pause()

    def orders(self) -> AbstractAsyncContextManager[OrderBook]:
        """A transaction of orders."""
        return self.through("orders", self.rows.orders(self.pause))

    def stock(self) -> AbstractAsyncContextManager[Stockroom]:
        """A transaction of catalog."""
        return self.through("catalog", self.rows.stock())

    def ledger(self) -> AbstractAsyncContextManager[Ledger]:
        """A transaction of payments."""
        return self.through("payments", self.rows.ledger())


class GatedOrders:
    """Implements `orders.order_book.OrderBooks`."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    def transaction(self) -> AbstractAsyncContextManager[OrderBook]:
        """Through the gates."""
        return self._gates.orders()

    async def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """Perhaps old when it is used."""
        found = await self._gates.rows.known(user_id, order_id)
        await self._gates.pause()
        return found

    async def read(self, order_id: UUID) -> Order | None:
        """Perhaps old when it is used."""
        found = await self._gates.rows.read(order_id)
        await self._gates.pause()
        return found


class Shop:
    """Three services, their neighbours and their jobs."""

    def __init__(
        self, gates: Gates, provider: SimulatedProvider, carts: dict[UUID, Cart], *, settings: Settings
    ) -> None:
        self.gates, self.provider, self.carts, self.settings = gates, provider, carts, settings
        self.orders = GatedOrders(gates)
        fate = gates.fate
        self._orders_door = Door("orders", fate, self._ask_orders)
        self.checkout = Checkout(
            self.orders,
            Neighbours(
                accounts=Door("accounts", fate, self._ask_accounts),
                cart=Door("cart", fate, self._ask_cart),
                catalog=Door("catalog", fate, self._ask_catalog),
            ),
            settings.orders,
        )
        self.collection = Collection(
            gates.ledger, provider=provider, orders=self._orders_door, settings=settings.payments
        )
        adoption = Adoption(gates.ledger, provider=provider, orders=self._orders_door)
        work = Work(settings.payments, gates.ledger, provider=provider, collection=self.collection, adoption=adoption)
        self.jobs: Jobs = {
            "deadlines": ("orders", lambda: close_unpaid(self.orders)),
            "closing-limit": ("orders", lambda: end_overdue(self.orders, limit=settings.orders.closing_limit)),
            "orphan-holds": ("catalog", self._release_orphans),
            "expired-holds": ("catalog", self._expire_overdue),
            "closing": ("payments", work.ask_about_closing),
            "refunds": ("payments", work.pursue_refunds),
            "creations": ("payments", work.resolve_creations),
            "open": ("payments", work.ask_about_open),
            "capture": ("payments", work.capture_authorised),
            "returns": ("payments", work.return_what_is_left),
            "sweep": ("payments", work.sweep),
            "refund-sweep": ("payments", work.sweep_refunds),
            "lost-orders": ("payments", work.close_lost),
        }

    async def _release_orphans(self) -> JobOutcome:
        return await release_orphans(
            self.gates.stock, self._orders_door, older_than=self.settings.catalog.orphan_hold_after
        )

    async def _expire_overdue(self) -> JobOutcome:
        return await expire_overdue(
            self.gates.stock, self._orders_door, older_than=self.settings.catalog.hold_expires_after
        )

    async def deliver(self, consumer: str, letter: Letter) -> bool:
        """Apply an event as the inbox does; whether it was new."""
        if consumer == "cart":
            self._tell_cart(letter)
            return True
        reader, process = PROCESSES[consumer][letter.type]
        told = reader.model_validate(letter.data)
        open_book = {"orders": self.gates.orders, "catalog": self.gates.stock, "payments": self.gates.ledger}[consumer]
        async with open_book() as book:
            if not await self.gates.rows.receive(book, consumer, letter):
                return False
            await process(book, told)
        return True

    def _tell_cart(self, letter: Letter) -> None:
        cart, order_id = self.carts[UUID(letter.data["user_id"])], UUID(letter.data["order_id"])
        if letter.type == "order.placed.v1" or letter.data["was_paid"]:
            cart.placed(order_id, {UUID(item["variant_id"]): item["quantity"] for item in letter.data["items"]})
        else:
            cart.closed_unpaid(order_id)

    async def _ask_orders(self, _method: str, path: str, _body: Any) -> Reply:
        order = await self.gates.rows.read(UUID(path.rsplit("/", 1)[1]))
        if order is None:
            return Reply(404, {"code": "order_not_found"})
        return Reply(200, msgspec.json.decode(encoded_for_services(order)))

    async def _ask_accounts(self, _method: str, _path: str, _body: Any) -> Reply:
        return Reply(404, {"code": "address_not_found"})

    async def _ask_cart(self, _method: str, path: str, body: Any) -> Reply:
        named = [
            {
                "order_id": order.order_id,
                "items": {item.variant_id: item.quantity for item in order.items},
                "is_closed": order.is_closed,
                "was_paid": order.was_paid,
            }
            for order in body["orders"]
        ]
        return Reply(200, self.carts[UUID(path.split("/")[3])].at_checkout(named))

    async def _ask_catalog(self, method: str, path: str, body: Any) -> Reply:
        head, _, query = path.partition("?hold=")
        order_id = UUID(head.rsplit("/", 1)[1])
        if method == "DELETE":
            async with self.gates.stock() as room:
                await release(room, order_id=order_id, hold=int(query))
            return Reply(204, None)
        wanted = {item["variant_id"]: item["quantity"] for item in body["items"]}
        try:
            async with self.gates.stock() as room:
                outcome = await hold(room, order_id=order_id, wanted=wanted)
        except ReservationDecided:
            return Reply(409, {"code": "reservation_decided"})
        if isinstance(outcome, Held):
            return Reply(
                200, quote(order_id, wanted, outcome, currency=self.settings.catalog.currency).model_dump(mode="json")
            )
        return Reply(409, {"code": "insufficient_stock", "shortages": []})
