"""Writing a new order: one statement, which writes nothing when somebody ordered the same cart meanwhile.

`take_turn` must come first, in the same transaction: what it locks makes the statement's look at other orders final.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.models import Order, OrderItem, order_items, order_moves, orders
from orders.order_numbers import first_free, some_numbers
from orders.order_states import Actor, State, Step, Trigger, announce, history_row, move_for


@dataclass(frozen=True, slots=True)
class Turn:
    """From now to the end of the transaction nobody else can order this cart."""

    now: datetime
    """The database's clock since."""
    number: str
    """A number that no order has."""


_TAKE_TURN = text("""
    WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(:cart_id, 0)))
    SELECT clock_timestamp(), ARRAY(SELECT number FROM orders WHERE number = ANY (CAST(:numbers AS text[]))) FROM turn
""")

_SET_BY_THE_DATABASE = {"placement", "cart_knows", "needs_review", "payment_version", "returned_attempts"}
_ORDER = [name for name in orders.columns.keys() if name not in _SET_BY_THE_DATABASE]  # noqa: SIM118 - not a dict
_ITEM = order_items.columns.keys()
_MOVE = [name for name in order_moves.columns.keys() if name != "at"]  # noqa: SIM118 - not a dict

# Documents instead of sixty parameters: PostgreSQL reads each member as its column's type.
_WRITE = text(f"""
    WITH placed AS (
        INSERT INTO orders ({", ".join(_ORDER)})
        SELECT {", ".join(_ORDER)} FROM json_populate_record(NULL::orders, CAST(:order AS json)) AS new
        WHERE NOT EXISTS (
            SELECT FROM orders
            WHERE user_id = new.user_id AND cart_id = new.cart_id AND placement > :seen AND id <> new.id
        )
        RETURNING id
    ), filled AS (
        INSERT INTO order_items ({", ".join(_ITEM)})
        SELECT {", ".join(f"item.{name}" for name in _ITEM)}
        FROM placed, json_populate_recordset(NULL::order_items, CAST(:items AS json)) AS item
    ), acknowledged AS (
        UPDATE orders SET cart_knows = true FROM placed WHERE orders.id = ANY (CAST(:acknowledged AS uuid[]))
    )
    INSERT INTO order_moves ({", ".join(_MOVE)})
    SELECT {", ".join(f"move.{name}" for name in _MOVE)}
    FROM placed, json_populate_record(NULL::order_moves, CAST(:move AS json)) AS move
    RETURNING order_id
""")  # noqa: S608 - the columns of our own tables


async def take_turn(session: AsyncSession, cart_id: UUID) -> Turn:
    """Wait until nobody else is ordering this cart."""
    numbers = some_numbers()
    now, taken = (await session.execute(_TAKE_TURN, {"cart_id": str(cart_id), "numbers": numbers})).one()
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
    values = {
        "order": _json({**_members(order, _ORDER), "fingerprint": f"\\x{order.fingerprint.hex()}"}),
        "items": _json([{**_members(item, _ITEM), "order_id": order.id} for item in order.items]),
        "move": _json(history_row(order, step)),
        "seen": seen,
        "acknowledged": list(acknowledged),
    }
    if (await session.execute(_WRITE, values)).one_or_none() is None:
        return False
    await announce(session, order, step)
    return True


def _members(row: Order | OrderItem, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _json(document: Any) -> str:
    return msgspec.json.encode(document).decode()
