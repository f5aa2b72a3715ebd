"""Writing a new order: one statement, which writes nothing when somebody ordered the same cart meanwhile.

`take_turn` must come first, in the same transaction: what it locks makes the statement's look at other orders final.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.plain_sql import driver_connection
from orders.models import Order, OrderItem, order_items, orders
from orders.order_numbers import first_free, some_numbers
from orders.order_states import HISTORY, Actor, State, Step, Trigger, announce, history_row, move_for


@dataclass(frozen=True, slots=True)
class Turn:
    """From now to the end of the transaction nobody else can order this cart."""

    now: datetime
    """The database's clock since."""
    number: str
    """A number that no order has."""


_TAKE_TURN = """
    WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended($1, 0)))
    SELECT clock_timestamp(), ARRAY(SELECT number FROM orders WHERE number = ANY ($2)) FROM turn
"""

_SET_BY_THE_DATABASE = {"placement", "cart_knows", "needs_review", "payment_version", "returned_attempts"}
_ORDER = [name for name in orders.columns.keys() if name not in _SET_BY_THE_DATABASE]  # noqa: SIM118 - not a dict
_ITEM = order_items.columns.keys()

# Documents instead of sixty parameters: PostgreSQL reads each member as its column's type.
_WRITE = f"""
    WITH placed AS (
        INSERT INTO orders ({", ".join(_ORDER)})
        SELECT {", ".join(_ORDER)} FROM json_populate_record(NULL::orders, $1::text::json) AS new
        WHERE NOT EXISTS (
            SELECT FROM orders
            WHERE user_id = new.user_id AND cart_id = new.cart_id AND placement > $4 AND id <> new.id
        )
        RETURNING id
    ), filled AS (
        INSERT INTO order_items ({", ".join(_ITEM)})
        SELECT {", ".join(f"item.{name}" for name in _ITEM)}
        FROM placed, json_populate_recordset(NULL::order_items, $2::text::json) AS item
    ), acknowledged AS (
        UPDATE orders SET cart_knows = true FROM placed WHERE orders.id = ANY ($5::uuid[])
    )
    INSERT INTO order_moves ({", ".join(HISTORY)})
    SELECT {", ".join(f"move.{name}" for name in HISTORY)}
    FROM placed, json_populate_record(NULL::order_moves, $3::text::json) AS move
    RETURNING order_id
"""  # noqa: S608 - the columns of our own tables


async def take_turn(session: AsyncSession, cart_id: UUID) -> Turn:
    """Wait until nobody else is ordering this cart."""
    numbers = some_numbers()
    connection = await driver_connection(session)
    ((now, taken),) = await connection.fetch(_TAKE_TURN, str(cart_id), numbers)
    return Turn(now, first_free(numbers, taken))


async def begin(
    session: AsyncSession, order: Order, *, actor: Actor, seen: int, acknowledged: Collection[UUID] = ()
) -> bool:
    """Write a new order by T1 or T2, with its items, its history and its events, and what cart has acknowledged.

    False, and nothing is written, when there is an order of this cart that is newer than `seen`.
    """
    move = move_for(State.NEW, Trigger.PLACED if order.total else Trigger.PLACED_FOR_NOTHING)
    assert move is not None  # noqa: S101 - two rows of the table
    order.status = move.after.status
    order.version = len(move.emits)
    step = Step(move=move, actor=actor)
    connection = await driver_connection(session)
    is_written = await connection.fetchval(
        _WRITE,
        _json({**_members(order, _ORDER), "fingerprint": f"\\x{order.fingerprint.hex()}"}),
        _json([{**_members(item, _ITEM), "order_id": order.id} for item in order.items]),
        _json(history_row(order.id, step, version=order.version)),
        seen,
        list(acknowledged),
    )
    if not is_written:
        return False
    await announce(session, order, step)
    return True


def _members(row: Order | OrderItem, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _json(document: Any) -> str:
    return msgspec.json.encode(document).decode()
