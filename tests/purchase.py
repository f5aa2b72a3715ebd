"""One purchase in a hand-carried shop: what its shopper and its provider do, and where it stands."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from razorpay_simulator.testing import ReceivedWebhook
from tests.hand_carried import HandCarriedShop, Letter
from tests.shopper import API, Document, Shopper, expect

PRICE = 49_900


@dataclass
class Purchase:
    """An order that everybody has heard of, and its checkout at the provider."""

    shop: HandCarriedShop
    shopper: Shopper
    variant: str
    order: Document
    payment: Document

    @classmethod
    async def begun(cls, shop: HandCarriedShop, variant: str | None = None, *, pieces: int = 1) -> "Purchase":
        """Placed and ready to be paid; of something of its own unless a variant is named."""
        if variant is None:
            variant = await shop.new_variant(price=PRICE)
            await shop.carry()
        shopper = await shop.customer()
        order = await shop.place(shopper, variant, pieces)
        return cls(shop, shopper, variant, order, await shopper.start_payment(order))

    @classmethod
    async def paid(cls, shop: HandCarriedShop, *, pieces: int = 1) -> tuple["Purchase", Document]:
        """Paid, and everybody has heard of it; with what the checkout returned."""
        purchase = await cls.begun(shop, pieces=pieces)
        proof = await purchase.pay()
        await shop.settle()
        assert await purchase.stands() == ("paid", "paid")
        return purchase, proof

    @property
    def id(self) -> str:
        """The order's."""
        return str(self.order["id"])

    @property
    def total(self) -> int:
        """In minor units."""
        return int(self.order["totals"]["total"]["amount"])

    async def pay(self, **how: Any) -> Document:
        """At the provider; what its checkout hands to the page."""
        return await self.shopper.pay(self.payment, **how)

    async def try_to_pay(self, **how: Any) -> int:
        """The provider's status."""
        place = f"{self.shop.simulator}/simulator/orders/{self.provider_order}/pay"
        return (await self.shop.http.post(place, json={"method": "upi", **how})).status_code

    @property
    def provider_order(self) -> str:
        """What the checkout pays."""
        return str(self.payment["checkout"]["razorpay_order_id"])

    async def bank_says_yes(self, attempt: Document) -> Document:
        """The bank's late word, or a second try inside the app; the proof that the checkout would hand out now."""
        name = attempt["razorpay_payment_id"]
        await self.shop.provider_is_told(f"payments/{name}/answer", {"outcome": "success"})
        return {**attempt, "razorpay_signature": self.shop.proof_of(self.provider_order, name)}

    async def refunded_in_dashboard(self, attempt: Document, **what: Any) -> None:
        """Somebody gives money back without telling the shop."""
        await self.shop.provider_is_told(f"payments/{attempt['razorpay_payment_id']}/refund", what)

    async def brings(self, proof: Document) -> Document:
        """The browser comes back from the checkout with the provider's signature."""
        names = ("razorpay_payment_id", "razorpay_order_id", "razorpay_signature")
        body = {name: proof[name] for name in names}
        return await self.shopper.post(f"/payments/{self.payment['id']}/verify", body, status=200)

    async def webhooks(self, attempt: Document) -> dict[str, ReceivedWebhook]:
        """Of this attempt, by event, out of the post."""
        return await self.shop.webhooks_about(attempt)

    async def poll(self) -> None:
        """It is time to ask the provider about this payment."""
        await self.shop.services["payments"].execute(
            "UPDATE payments SET next_ask_at = clock_timestamp() WHERE order_id = $1", UUID(self.id)
        )
        await self.shop.job("payments", "open")

    async def cancel(self) -> None:
        """By its owner."""
        answer = await self.shopper.send("POST", f"{API}/orders/{self.id}/cancel", json={})
        assert answer.status_code == 200, answer.text

    async def staff(self, step: str, body: Document | None = None) -> Document:
        """`ship`, `deliver` or `cancel`."""
        return await (await self.shop.staff()).post(f"/admin/orders/{self.id}/{step}", body, status=200)

    async def ship(self) -> Document:
        """Handed to the carrier."""
        return await self.staff("ship", {"carrier": "India Post", "tracking": "EE1"})

    async def refund(self, amount: int | None = None, *, status: int = 202) -> Document:
        """By staff."""
        body: Document = {"reason": "Scratched on arrival"}
        if amount is not None:
            body["amount"] = {"amount": amount, "currency": "INR"}
        place = f"/payments/{self.payment['id']}/refunds"
        return await (await self.shop.staff()).post(place, body, status=status, key=uuid4().hex)

    async def news_of_capture(self) -> Letter:
        """Paid, and payments knows; orders does not yet."""
        webhooks = await self.webhooks(await self.pay())
        await self.shop.hand_on(webhooks["payment.captured"])
        return await self.shop.take("payment.captured → orders", self.order)

    async def stands(self) -> tuple[str, str]:
        """The order's status and what it says of the money."""
        order = await self.shopper.order(self.id)
        return order["status"], order["payment_status"]

    async def needs_review(self) -> bool:
        """Whether a person was called."""
        staff = await self.shop.staff()
        return bool((await staff.get(f"/admin/orders/{self.id}"))["needs_review"])

    async def attempts(self) -> list[Document]:
        """What the provider knows of payments for this order, oldest first."""
        ledger = await self.shop.ledger()
        places = {one["id"] for one in ledger["orders"] if one["notes"]["order_id"] == self.id}
        found = [one for one in ledger["payments"] if one["order_id"] in places]
        return sorted(found, key=lambda one: int(one["created_at"]))

    async def taken(self) -> int:
        """How many times the provider took the money."""
        return sum(bool(attempt["captured"]) for attempt in await self.attempts())

    async def returned(self) -> int:
        """What the provider has given back."""
        return sum(int(attempt["amount_refunded"]) for attempt in await self.attempts())

    async def stock(self) -> tuple[int, int]:
        """On hand and reserved."""
        stock = await self.shop.stock(self.variant)
        return stock["on_hand"], stock["reserved"]

    async def forged(self, body: bytes, *, event_id: str = "") -> int:
        """A webhook with exactly these bytes and a true signature of them; how it was answered."""
        headers = {
            "x-razorpay-signature": self.shop.signature_of(body),
            "x-razorpay-event-id": event_id or uuid4().hex,
        }
        answer = await self.shop.http.post(
            f"{self.shop.gateway}{API}/payments/webhooks/razorpay", content=body, headers=headers
        )
        await self.shop.processed()
        return answer.status_code


async def refused(status: int, code: str, shopper: Shopper, path: str, body: Document | None = None) -> Document:
    """A POST that must be refused with this code."""
    answer = await shopper.send("POST", API + path, json=body or {})
    document = expect(status, answer)
    assert document["code"] == code
    return document
