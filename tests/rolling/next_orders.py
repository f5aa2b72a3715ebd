"""The next release of orders, as a team would build it: one column more, and `order.placed.v2` beside v1.

Put together from what orders offers: its own `build`, with another order book behind the checkout. Run in place of
`python -m orders`; `migrate` is its expand migration, which the release before does not mind.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel

import orders
import orders.app
from chassis.clients import Upstreams
from chassis.command_line import main
from chassis.events import Bus, Event
from chassis.migrations import head_revision, migrate
from chassis.plain_sql import driver_connection
from chassis.service import Service
from chassis.strict import Id
from orders.events import ItemQuantity, OrderEvent, OrderPlaced
from orders.order_book import OrderBook
from orders.postgres_orders import PostgresOrderBook, PostgresOrders
from orders.settings import OrdersSettings

EXPAND = '''"""Where an order was placed. The release before neither writes nor reads it."""

import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("orders", sa.Column("placed_through", sa.Text, nullable=False, server_default="the release before"))


def downgrade() -> None:
    op.drop_column("orders", "placed_through")
'''


class OrderedCart(BaseModel):
    """What was ordered."""

    cart_id: Id
    cart_version: int
    items: list[ItemQuantity]


class OrderPlacedAnew(OrderEvent):
    """An order exists. What v1 spreads out stands in one place: its cart."""

    type: ClassVar[str] = "order.placed.v2"

    cart: OrderedCart

    @classmethod
    def of(cls, event: OrderPlaced) -> Self:
        """The same fact in the new words."""
        items = [ItemQuantity(variant_id=item.variant_id, quantity=item.quantity) for item in event.items]
        cart = OrderedCart(cart_id=event.cart_id, cart_version=event.cart_version, items=items)
        return cls(order_id=event.order_id, version=event.version, user_id=event.user_id, cart=cart)


class NextOrderBook(PostgresOrderBook):
    """Tells of an order in both versions, in one transaction, and notes where it was placed."""

    async def record(self, event: Event, *, order_id: Id, version: int) -> None:
        """Rows of the outbox."""
        await super().record(event, order_id=order_id, version=version)
        if isinstance(event, OrderPlaced):
            await super().record(OrderPlacedAnew.of(event), order_id=order_id, version=version)
            connection = await driver_connection(self.session)
            await connection.execute("UPDATE orders SET placed_through = 'the next release' WHERE id = $1", order_id)


@dataclass(frozen=True)
class NextOrders(PostgresOrders):
    """Opens that order book."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[OrderBook]:
        """A transaction of the database."""
        async with self.database.transaction() as session:
            yield NextOrderBook(session)


def build(settings: OrdersSettings, bus: Bus, upstreams: Upstreams) -> Service:
    """Orders, with the new order book."""
    service = orders.app.build(settings, bus, upstreams)
    checkout = service.fastapi.state.checkout
    service.fastapi.state.checkout = replace(checkout, orders=NextOrders(service.database))
    return service


async def expand() -> None:
    """The migrations of orders, and one more."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "next_release_of_orders"
        shutil.copytree(Path(orders.__file__).parent / "migrations", package / "migrations")
        (package / "__init__.py").touch()
        head = head_revision("orders")
        (package / "migrations/versions/next.py").write_text(EXPAND.format(head=head))
        sys.path.insert(0, folder)
        await migrate(OrdersSettings(), package.name)


if __name__ == "__main__":
    if sys.argv[1:] == ["migrate"]:
        asyncio.run(expand())
    else:
        main(OrdersSettings, build)
