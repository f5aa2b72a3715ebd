"""Guests who never come back: their carts are deleted when nothing changed in them for a month."""

from datetime import timedelta

from sqlalchemy import delete, select

from cart.models import Cart
from chassis.database import Database, db_now

BATCH = 1000


async def delete_abandoned(database: Database, *, older_than: timedelta) -> int:
    """Delete them in short transactions, skipping carts that somebody is changing right now. Returns how many."""
    deleted = 0
    while True:
        async with database.transaction() as session:
            abandoned = (
                select(Cart.id)
                .where(Cart.user_id.is_(None), Cart.updated_at < db_now() - older_than)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            gone = (await session.scalars(delete(Cart).where(Cart.id.in_(abandoned)).returning(Cart.id))).all()
        deleted += len(gone)
        if len(gone) < BATCH:
            return deleted
