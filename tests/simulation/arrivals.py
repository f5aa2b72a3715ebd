"""What arrives in a simulated shop: events from the other services, and the provider's webhooks."""

from datetime import timedelta

from chassis.events import NotYet
from payments.attempts import UnknownProviderOrder
from payments.observation import observe_webhook
from payments.refunds import observe_refund
from tests.simulation.rows import Letter
from tests.simulation.under_way import UnderWay, Webhook


class Arrivals(UnderWay):
    """In any order, once or more often; a webhook perhaps never."""

    async def _deliver_a_letter(self) -> None:
        consumer, letter = self.fate.choose(self.gates.letters)
        await self._deliver(consumer, letter)

    async def _deliver(self, consumer: str, letter: Letter) -> None:
        name = f"{letter.type} of {self.trace.of_letter(letter)} to {consumer}"
        if any(fiber.name == name for fiber in self.fibers):
            return  # the inbox makes the second delivery wait for the first
        await self._begin(consumer, name, self._deliver_once(name, consumer, letter))

    async def _deliver_once(self, name: str, consumer: str, letter: Letter) -> None:
        try:
            is_new = await self.shop.deliver(consumer, letter)
        except NotYet:
            self.not_before[letter] = self.clock.now + timedelta(seconds=5)
            self.trace.tell(f"{name}: not yet")
            return
        if is_new:
            self.checks.applied(consumer, letter)
        if not self.fate.strikes("acknowledgement lost") and (consumer, letter) in self.gates.letters:
            self.gates.letters.remove((consumer, letter))

    async def _deliver_a_webhook(self) -> None:
        await self._hand_on(self.fate.choose(self.webhooks))

    async def _hand_on(self, webhook: Webhook) -> None:
        event_id, event, payload = webhook
        name = f"webhook {event} about {self.trace.of(payload['payment']['entity']['id'])} ({self.trace.of(event_id)})"
        if any(fiber.name == name for fiber in self.fibers):
            return
        await self._begin("payments", name, self._observe(name, webhook))

    async def _observe(self, name: str, webhook: Webhook) -> None:
        event_id, _, payload = webhook
        if event_id not in self.processed_webhooks:
            try:
                async with self.gates.ledger() as ledger:
                    await observe_webhook(ledger, payload["payment"]["entity"])
                    if "refund" in payload:
                        await observe_refund(ledger, payload["refund"]["entity"])
            except UnknownProviderOrder:
                self.not_before[event_id] = self.clock.now + timedelta(seconds=2)
                self.trace.tell(f"{name}: unknown order")
                return
            self.processed_webhooks.add(event_id)
        if not self.fate.strikes("repeated") and webhook in self.webhooks:
            self.webhooks.remove(webhook)

    async def _drop_a_webhook(self) -> None:
        webhook = self.fate.choose(self.webhooks)
        self.webhooks.remove(webhook)
        self.trace.tell(f"webhook {webhook[1]} ({self.trace.of(webhook[0])}) is lost")

    async def _deliver_all(self) -> None:
        for _ in range(20):
            letters = [each for each in self.gates.letters if self._is_due(each[1])]
            self.webhooks += self.provider.new_webhooks()
            webhooks = [each for each in self.webhooks if self._is_due(each[0])]
            if not letters and not webhooks:
                break
            for consumer, letter in letters:
                await self._deliver(consumer, letter)
            for webhook in webhooks:
                await self._hand_on(webhook)
        if (self.gates.letters or self.webhooks) and self.not_before:
            self.clock.advance(5)
            await self.rows.show_time(self.clock)

    def _is_due(self, what: object) -> bool:
        return self.not_before.get(what, self.clock.now) <= self.clock.now
