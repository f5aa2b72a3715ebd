"""A shop in which nothing moves by itself: the services of a purchase on real databases, and the test as their postman.

Catalog, cart, orders and payments run in this process as they are shipped; the provider is the simulator. Events wait
where they were recorded, webhooks where they arrived, jobs until they are run. So a test decides who hears what first,
twice, or at the same moment as something else, and what an unlucky day brings about is written down as a story.
"""

import asyncio
import hashlib
import hmac
import random
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from chassis.clients import UpstreamRequest, UpstreamResponse, UpstreamUnreachable
from chassis.events import Envelope, NotYet
from chassis.ids import new_id
from chassis.testing import Harness, Keys
from embedded.shop import LateUpstream
from razorpay_simulator.testing import ReceivedWebhook, SimulatorProcess, WebhookReceiver
from tests.books import Books, opened_books
from tests.invariants import violations
from tests.shop import Shop
from tests.shopper import API, Document, Shopper, expect

USUAL_JOBS = ("closing", "refunds", "webhooks")

AT_WORK = ("catalog", "cart", "orders", "payments")


class Neighbour(LateUpstream):
    """A service as the others reach it, which a test may take off the network."""

    is_away = False

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Call the service, if it is there."""
        if self.is_away:
            raise UpstreamUnreachable("told to be away")
        return await super().send(request)


@dataclass(frozen=True, slots=True)
class Letter:
    """One event on its way to one consumer."""

    consumer: str
    event: Envelope

    @property
    def name(self) -> str:
        """For a test to choose by: `payment.captured → orders`."""
        return f"{self.event.type.removesuffix('.v1')} → {self.consumer}"


@dataclass
class HandCarriedShop(Shop):
    """The shop, over HTTP as always; and its post."""

    services: dict[str, Harness] = field(default_factory=dict)
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)
    """The same, as they reach each other."""
    provider: SimulatorProcess = field(kw_only=True)
    receiver: WebhookReceiver = field(kw_only=True)
    keys: Keys = field(kw_only=True)
    databases: dict[str, str] = field(kw_only=True)
    outboxes: dict[str, asyncpg.Connection] = field(kw_only=True)
    letters: list[Letter] = field(default_factory=list)
    """Events on their way."""
    promised: dict[str, str] = field(default_factory=dict)
    """Orders that were answered with 201, and to whom."""
    colleagues: dict[str, UUID] = field(default_factory=dict)
    """Who works here, by role."""
    _collecting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def customer(self) -> Shopper:
        """Somebody who is signed in."""
        return self._signed_in("customer")

    async def staff(self, role: str = "staff") -> Shopper:
        """The one person of this role."""
        return self._signed_in(role, user_id=self.colleagues.setdefault(role, new_id()))

    def _signed_in(self, role: str, *, user_id: UUID | None = None) -> Shopper:
        person, user_id = self.visitor(), user_id or new_id()
        person.access_token = self.keys.access_token(role=role, user_id=user_id)
        person.session = {"user": {"id": str(user_id)}}
        return person

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """Nobody reaches this service meanwhile."""
        self.neighbours[name].is_away = True
        try:
            yield
        finally:
            self.neighbours[name].is_away = False

    async def collect(self) -> None:
        """Take what was published out of the outboxes: a letter for each consumer."""
        async with self._collecting:
            for name in AT_WORK:
                rows = await self.outboxes[name].fetch(_TAKE)
                events = [Envelope.decode(row["body"]) for row in sorted(rows, key=lambda row: row["position"])]
                self.letters += [
                    Letter(consumer, event)
                    for event in events
                    for consumer, harness in self.services.items()
                    if event.type in harness.service.inbox.types
                ]

    async def deliver(self, letter: Letter, *, times: int = 1) -> None:
        """Hand over one letter; one that comes too early is kept for later, as the bus would."""
        inbox = self.services[letter.consumer].service.inbox
        for _ in range(times):
            try:
                # A task of its own, so that what the consumer notes of its request stays with it.
                await asyncio.create_task(inbox.handle(letter.event.encode(), 1))
            except NotYet:
                self.letters.append(letter)
                return

    async def take(self, name: str, order: Document) -> Letter:
        """The letter of this name about an order, out of the post: now it is in the test's hands."""
        await self.collect()
        (found,) = [one for one in self.letters if one.name == name and one.event.correlationid == order["id"]]
        self.letters.remove(found)
        return found

    async def carry(
        self, order: Document | None = None, *, to: str | None = None, dice: random.Random | None = None
    ) -> None:
        """Deliver every letter (about this order, to this consumer) until there are none.

        With dice: in any order, some of it twice.
        """
        while True:
            await self.collect()
            ready = [
                one
                for one in self.letters
                if (order is None or one.event.correlationid == order["id"]) and to in (None, one.consumer)
            ]
            if not ready:
                return
            if dice is not None:
                dice.shuffle(ready)
            for letter in ready:
                self.letters.remove(letter)
            times = [1 if dice is None else dice.choice((1, 1, 2)) for _ in ready]
            await together(self.deliver(letter, times=count) for letter, count in zip(ready, times, strict=True))

    async def webhooks(self) -> list[ReceivedWebhook]:
        """What the provider has sent and nobody has handed on."""
        expect(200, await self.http.post(f"{self.simulator}/simulator/webhook/settle"))
        return list(self.receiver.received)

    async def webhooks_about(self, attempt: Document) -> dict[str, ReceivedWebhook]:
        """The webhooks of one attempt by their event, out of the post."""
        wanted = {}
        for webhook in await self.webhooks():
            if webhook.document["payload"]["payment"]["entity"]["id"] == attempt["razorpay_payment_id"]:
                self.receiver.received.remove(webhook)
                wanted[webhook.event] = webhook
        return wanted

    async def hand_on(self, webhook: ReceivedWebhook) -> None:
        """Deliver one webhook and let it be processed; a false signature is refused."""
        headers = {"x-razorpay-signature": webhook.signature, "x-razorpay-event-id": webhook.event_id}
        place = f"{self.gateway}{API}/payments/webhooks/razorpay"
        is_true = webhook.signature == self.signature_of(webhook.body)
        expect(200 if is_true else 400, await self.http.post(place, content=webhook.body, headers=headers))
        await self.processed()

    async def processed(self) -> None:
        """Wait for the webhooks that are processed behind their answers."""
        await self.services["payments"].service.fastapi.state.webhooks.settle()

    def signature_of(self, body: bytes) -> str:
        """The provider's signature of a webhook."""
        return hmac.new(self.provider.webhook_secret.encode(), body, hashlib.sha256).hexdigest()

    def proof_of(self, provider_order: str, attempt: str) -> str:
        """The provider's signature of an authorised attempt."""
        return proof_of(provider_order, attempt, secret=self.provider.key_secret)

    async def hand_on_all(self, *, dice: random.Random | None = None) -> bool:
        """Deliver every webhook; whether there was one."""
        waiting = await self.webhooks()
        del self.receiver.received[: len(waiting)]
        if dice is not None:
            dice.shuffle(waiting)
        await together(self.hand_on(webhook) for webhook in waiting)
        return bool(waiting)

    async def job(self, service: str, name: str) -> None:
        """It is time for a job."""
        await asyncio.create_task(self.services[service].run_job(name))

    async def pass_deadlines(self, *orders: Document) -> None:
        """The half hour of these orders is over; the job that looks is not run yet."""
        await self.services["orders"].execute(
            "UPDATE orders SET deadline = clock_timestamp() - interval '1 second' WHERE id = ANY($1::uuid[])",
            [UUID(order["id"]) for order in orders],
        )

    async def pass_closing_limits(self, *orders: Document) -> None:
        """These closing orders have waited long enough for the provider's last word."""
        await self.services["orders"].execute(
            "UPDATE orders SET closing_since = closing_since - interval '31 minutes' WHERE id = ANY($1::uuid[])",
            [UUID(order["id"]) for order in orders],
        )

    async def expire(self, *orders: Document) -> None:
        """These orders begin to close for want of money."""
        await self.pass_deadlines(*orders)
        await self.job("orders", "deadlines")

    async def come_to_rest(self, *, dice: random.Random | None = None, jobs: Iterable[str] = USUAL_JOBS) -> None:
        """Webhooks, events, and the jobs of payments that wait for a clock, until nothing moves any more."""
        for _ in range(ROUNDS_OF_POST):
            moved = await self.hand_on_all(dice=dice)
            await self.carry(dice=dice)
            await self.services["payments"].execute(_HURRY)
            for job in jobs:
                await self.job("payments", job)
            await self.collect()
            if not moved and not self.letters and not await self.webhooks():
                return
        raise AssertionError(f"Still under way: {await self._under_way()}, {[one.name for one in self.letters]}")

    async def settle(self, *, dice: random.Random | None = None) -> None:
        """Come to rest with nothing left to wait for."""
        await self.come_to_rest(dice=dice)
        left = await self._under_way()
        assert not left, f"Still under way: {left}"

    async def _under_way(self) -> dict[str, int]:
        async with self.books() as books:
            found = {**await books.under_way(), "post": len(self.letters)}
        return {name: count for name, count in found.items() if count}

    @asynccontextmanager
    async def books(self) -> AsyncIterator[Books]:
        """All databases and the provider's ledger, as they are now."""
        async with opened_books(self.databases, ledger=self.ledger) as books:
            yield books

    async def broken(self) -> list[str]:
        """Every invariant that does not hold; those for quiet times only when nothing is left to wait for.

        And whether the provider's own sums are right.
        """
        is_quiet = not await self._under_way()
        async with self.books() as books:
            found = await violations(books, is_quiet=is_quiet, promised=self.promised)
        totals = (await self.ledger())["totals"]
        return found if totals["balanced"] else [*found, f"The provider's ledger does not balance: {totals}"]

    async def place(self, shopper: Shopper, variant: str, quantity: int = 1) -> Document:
        """Cart and order; everybody has heard of it."""
        await shopper.add_to_cart(variant, quantity)
        order = await shopper.place_order()
        self.promised[order["id"]] = shopper.user_id
        await self.carry(order)
        return order

    async def moves(self, order: Document) -> list[str]:
        """Which moves of the table an order made."""
        rows = await self.rows("orders", "SELECT move FROM order_moves WHERE order_id = $1 ORDER BY version", order)
        return [row["move"] for row in rows]

    async def rows(self, database: str, sql: str, order: Document) -> list[Mapping[str, Any]]:
        """Rows of one database that belong to an order."""
        return await self.services[database].fetch(sql, UUID(order["id"]))


_TAKE = "UPDATE outbox SET published_at = clock_timestamp() WHERE published_at IS NULL RETURNING position, body"

_HURRY = """
WITH refunds_due AS (
    UPDATE refunds SET next_try_at = clock_timestamp() WHERE status IN ('requested', 'submitted')
), webhooks_due AS (
    UPDATE webhook_events SET next_try_at = clock_timestamp() WHERE processed_at IS NULL
)
UPDATE payments SET next_ask_at = clock_timestamp() WHERE status = 'closing'
"""

ROUNDS_OF_POST = 30


def proof_of(provider_order: str, attempt: str, *, secret: str) -> str:
    """What the provider's checkout hands to the browser as its signature."""
    return hmac.new(secret.encode(), f"{provider_order}|{attempt}".encode(), hashlib.sha256).hexdigest()


async def together(work: Iterable[Awaitable[object]]) -> None:
    """All of it at the same time."""
    await asyncio.gather(*work)
