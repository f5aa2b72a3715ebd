"""Learns what changed in the catalogue, so that no older answer is given after it."""

from uuid import UUID

import msgspec

from chassis.events import Bus, Consuming, Envelope, Poison
from gateway.cache import Cache

STOCK_CHANGED = "stock.changed.v1"
PRODUCT_CHANGED = "product.changed.v1"
PRODUCT_WITHDRAWN = "product.withdrawn.v1"
QUEUE = "gateway.catalogue"


class ChangedStock(msgspec.Struct):
    """What is read of a sale: answers that name this product."""

    product_id: UUID


class CatalogueFeed:
    """A sale concerns the answers that name its product; an edit may also move products between lists, so all of them.

    What was said while nobody listened is unknown, so each time the queue is bound everything is forgotten. Until
    then an answer lives as long as catalog said it may.
    """

    def __init__(self, bus: Bus, cache: Cache) -> None:
        self._bus = bus
        self._cache = cache
        self._listening: Consuming | None = None

    async def start(self) -> None:
        """Listen, unless nothing is ever kept."""
        if self._cache.capacity:
            types = [STOCK_CHANGED, PRODUCT_CHANGED, PRODUCT_WITHDRAWN]
            self._listening = await self._bus.listen(QUEUE, types, self._on_event, on_bound=self._on_bound)

    async def stop(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            await self._listening.stop()

    async def _on_event(self, body: bytes, _attempt: int) -> None:
        try:
            envelope = Envelope.decode(body)
            if envelope.type == STOCK_CHANGED:
                changed = msgspec.convert(envelope.data, ChangedStock)
                self._cache.forget(str(changed.product_id).encode())
                return
        except msgspec.ValidationError as error:
            self._cache.forget_all()
            raise Poison(str(error)) from error
        self._cache.forget_all()

    async def _on_bound(self) -> None:
        self._cache.forget_all()
