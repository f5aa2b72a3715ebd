"""Carrying events to webhooks: five seconds to answer, growing pauses for a virtual day, then it is off."""

import asyncio
import logging

from razorpay_simulator.disguises import signed_body
from razorpay_simulator.posting import Posting
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Delivery, DeliveryAttempt, Webhook

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 4 * 3600.0
DAY_SECONDS = 86400.0
AT_ONCE = 8

logger = logging.getLogger(__name__)


class Courier:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._store = provider.store
        self._awake = asyncio.Event()
        self._moved = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._posting = Posting()
        provider.wake_courier = self._awake.set

    async def run(self) -> None:
        """Deliver for ever. What is under way when the process ends is sent again by the next one."""
        try:
            while True:
                self._awake.clear()
                self._send_due()
                await self._pause()
        finally:
            for task in self._under_way.values():
                task.cancel()
            self._posting.close()

    async def settle(self, *, seconds: float = 30.0) -> None:
        """Wait until nothing that is due now is still waiting or on its way."""
        try:
            async with asyncio.timeout(seconds):
                while self._under_way or self._due():
                    self._moved.clear()
                    self._awake.set()
                    await self._moved.wait()
        except TimeoutError:
            return

    def _due(self) -> list[Delivery]:
        now = self._provider.clock.now()
        found = self._store.deliveries.where(
            "status = 'pending' AND due_at <= ?", (now,), order=f"due_at, position LIMIT {2 * AT_ONCE}"
        )
        return [delivery for delivery in found if delivery.id not in self._under_way]

    def _send_due(self) -> None:
        for delivery in self._due():
            if len(self._under_way) >= AT_ONCE:
                return
            self._under_way[delivery.id] = asyncio.create_task(self._carry(delivery))

    async def _pause(self) -> None:
        """Until something happens, or the next delivery is due. One that is under way ends with waking us."""
        if self._under_way:
            await self._awake.wait()
            return
        row = self._store.connection.execute("SELECT min(due_at) FROM deliveries WHERE status = 'pending'").fetchone()
        seconds = None if row[0] is None else min(max(0.0, row[0] - self._provider.clock.now()), 3600.0)
        try:
            await asyncio.wait_for(self._awake.wait(), seconds)
        except TimeoutError:
            return

    async def _carry(self, delivery: Delivery) -> None:
        try:
            webhook = self._store.webhooks.get(delivery.webhook_id)
            if webhook is None or webhook.disabled_at:
                delivery.status = "abandoned"
                self._store.deliveries.save(delivery)
                return
            await self._try(delivery, webhook)
        except Exception:
            logger.exception("webhook delivery failed inside the simulator")
            delivery.due_at = self._provider.clock.now() + FIRST_PAUSE_SECONDS
            self._store.deliveries.save(delivery)
        finally:
            del self._under_way[delivery.id]
            self._awake.set()
            self._moved.set()

    async def _try(self, delivery: Delivery, webhook: Webhook) -> None:
        event = self._store.events.get(delivery.event_id)
        if event is None:
            return
        body, signature = signed_body(delivery, event)
        headers = {
            "Content-Type": "application/json",
            "X-Razorpay-Signature": signature,
            "x-razorpay-event-id": event.id,
        }
        copies = delivery.copies if not delivery.attempts else 1
        status = None
        for _ in range(copies):
            status, error = await self._posting.post(webhook.url, body=body, headers=headers)
            delivery.attempts.append(DeliveryAttempt(at=self._provider.clock.now(), status=status, error=error))
        self._note(delivery, webhook_id=webhook.id, delivered=status is not None and 200 <= status < 300)

    def _note(self, delivery: Delivery, *, webhook_id: str, delivered: bool) -> None:
        now = self._provider.clock.now()
        with self._store.transaction():
            webhook = self._store.webhooks.get(webhook_id)
            if delivered:
                delivery.status = "delivered"
                if webhook is not None:
                    webhook.delivered_at = now
                    self._store.webhooks.save(webhook)
                self._replay_tomorrow(delivery, now=now)
            else:
                self._try_again_later(delivery, webhook, now=now)
            self._store.deliveries.save(delivery)
            self.let_go_held_back(delivery, now=now)

    def _try_again_later(self, delivery: Delivery, webhook: Webhook | None, *, now: float) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (len(delivery.attempts) - 1), LONGEST_PAUSE_SECONDS)
        delivery.due_at = now + pause
        if now - delivery.created_at < DAY_SECONDS:
            return
        delivery.status = "abandoned"
        if webhook is not None and now - webhook.delivered_at >= DAY_SECONDS:
            webhook.disabled_at = int(now)
            self._store.webhooks.save(webhook)
            logger.warning("webhook %s was disabled after failing for 24 hours", webhook.id)

    def _replay_tomorrow(self, delivery: Delivery, *, now: float) -> None:
        if delivery.trick == "replay_next_day":
            delivery.status, delivery.trick, delivery.due_at = "pending", None, now + DAY_SECONDS

    def let_go_held_back(self, delivered: Delivery, *, now: float) -> None:
        """A reordered event leaves right after any other one has reached the same webhook."""
        if delivered.held_back:
            return
        # The plus keeps SQLite from going through everything that the webhook ever got.
        for held in self._store.deliveries.where(
            "status = 'pending' AND +webhook_id = ? AND due_at > ?", (delivered.webhook_id, now)
        ):
            if held.held_back and not held.attempts:
                held.due_at = now
                self._store.deliveries.save(held)
