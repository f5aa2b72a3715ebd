"""One page of a list, newest first. Ids ascend with time, so the id alone is the key a page continues from."""

from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from chassis.pagination import COUNT_CAP, PageQuery, decode_cursor, encode_cursor

Row = TypeVar("Row")


class Page(NamedTuple, Generic[Row]):
    """Some rows, where the next ones begin, and how many there are when that was asked."""

    items: list[Row]
    next_cursor: str | None
    total: int | None

    def as_answer(self, items: list[Any]) -> dict[str, Any]:
        """The members of a list's answer."""
        answer: dict[str, Any] = {"items": items, "next_cursor": self.next_cursor}
        if self.total is not None:
            answer["total"] = min(self.total, COUNT_CAP)
            answer["total_is_capped"] = self.total > COUNT_CAP
        return answer


async def newest_first(
    session: AsyncSession,
    rows: Select[Row],
    *,
    key: InstrumentedAttribute[UUID],
    page: PageQuery,
    scope: str,
) -> Page[Row]:
    """The page that `page` asks for. `scope` names the list and its filters. Raises CursorInvalid."""
    wanted = rows.order_by(key.desc()).limit(page.limit + 1)
    if page.cursor is not None:
        (after,) = decode_cursor(page.cursor, scope, UUID)
        wanted = wanted.where(key < after)
    found = list(await session.scalars(wanted))
    items = found[: page.limit]
    next_cursor = None
    if len(found) > page.limit:
        next_cursor = encode_cursor(scope, getattr(items[-1], key.key))
    total = await _count(session, rows, key) if page.count else None
    return Page(items, next_cursor, total)


async def _count(session: AsyncSession, rows: Select[Any], key: InstrumentedAttribute[UUID]) -> int:
    capped = rows.with_only_columns(key).limit(COUNT_CAP + 1).subquery()
    return int(await session.scalar(select(func.count()).select_from(capped)) or 0)
