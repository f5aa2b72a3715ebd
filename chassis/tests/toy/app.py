"""The smallest service that uses every part of the chassis, and lets a test step in between."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, ClassVar
from uuid import UUID

from fastapi import Query
from sqlalchemy import select, update
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from chassis.caching import encoded, if_match
from chassis.clients import Upstreams
from chassis.events import Bus, Event
from chassis.ids import new_id
from chassis.operations import operations_router
from chassis.outbox import record
from chassis.pagination import PageQuery, decode_cursor
from chassis.problems import Conflict, NotFound
from chassis.routes import Caller, Db, Router, Session, access
from chassis.service import Service
from chassis.settings import ServiceSettings, settings_config
from chassis.strict import Answer, Id, Quantity, RequestBody, text
from toy.models import Thing


class ToySettings(ServiceSettings):
    service = "toy"
    model_config = settings_config("TOY_")


class ThingMade(Event):
    """Somebody made a thing."""

    type: ClassVar[str] = "thing.made.v1"

    name: str


class ThingNotFound(NotFound):
    """There is no thing with this id."""

    code = "thing_not_found"
    title = "Thing not found"


class NoMoreThings(Conflict):
    """The toy box is full."""

    code = "no_more_things"
    title = "No more things"


class ThingDraft(RequestBody):
    name: text(1, 40)  # type: ignore[valid-type]  # a type made for these bounds
    quantity: Quantity = 1


class ThingAnswer(Answer):
    id: Id
    name: str
    quantity: int


class Swap(RequestBody):
    first: Id
    second: Id


class Stage:
    """Where a handler waits until the test has done what it came for."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.go.wait()


router = Router(prefix="/api/v1", tags=["toy"])
hooks = Router(prefix="/hooks")
internal = Router(prefix="/internal")


async def _make(session: Session, draft: ThingDraft) -> Thing:
    thing = Thing(id=new_id(), name=draft.name, quantity=draft.quantity)
    session.add(thing)
    await session.flush()
    await record(session, ThingMade(name=thing.name), subject=thing.id, sequence=1)
    return thing


@router.post("/things", status_code=201, openapi_extra=access("user"))
async def make_thing(draft: ThingDraft, session: Session) -> ThingAnswer:
    thing = await _make(session, draft)
    if draft.name == "one too many":
        raise NoMoreThings("Take one out first.")
    return ThingAnswer.model_validate(thing)


@router.post("/things/slowly", status_code=201, openapi_extra=access("user"))
async def make_thing_slowly(request: Request, draft: ThingDraft, session: Session) -> ThingAnswer:
    thing = await _make(session, draft)
    await request.app.state.stage.wait()
    return ThingAnswer.model_validate(thing)


@router.post("/things/once", status_code=201, openapi_extra=access("user", idempotency="required"))
async def make_thing_once(draft: ThingDraft, session: Session) -> Response:
    thing = await _make(session, draft)
    document = {"id": str(thing.id), "name": thing.name}
    answer = encoded(document, "1")
    headers = {"location": f"/api/v1/things/{thing.id}", "etag": '"1"', "set-cookie": "secret=1"}
    return Response(answer.body, status_code=201, media_type="application/json", headers=headers)


@router.post("/things/swap", status_code=204, openapi_extra=access("user"))
async def swap_things(request: Request, swap: Swap, session: Session) -> None:
    await session.execute(update(Thing).where(Thing.id == swap.first).values(quantity=1))
    await request.app.state.both.wait()
    await session.execute(update(Thing).where(Thing.id == swap.second).values(quantity=2))


@router.get("/things", openapi_extra=access("all"))
async def list_things(page: Annotated[PageQuery, Query()], session: Session) -> list[ThingAnswer]:
    rows = select(Thing).order_by(Thing.id).limit(page.limit)
    if page.cursor is not None:
        (last,) = decode_cursor(page.cursor, "things", UUID)
        rows = rows.where(Thing.id > last)
    return [ThingAnswer.model_validate(thing) for thing in await session.scalars(rows)]


@router.get("/things/{thing_id}", response_model=ThingAnswer, openapi_extra=access("all"))
async def read_thing(request: Request, thing_id: Id, database: Db) -> Response:
    row = await database.reads.fetchrow("SELECT name, quantity FROM things WHERE id = $1", thing_id)
    if row is None:
        raise ThingNotFound("Look at the list of things.")
    return encoded({"id": str(thing_id), **row}, f"{row['quantity']}").response(request, cache_control="public")


@router.patch("/things/{thing_id}", openapi_extra=access("staff"))
async def change_thing(request: Request, thing_id: Id, draft: ThingDraft, session: Session) -> ThingAnswer:
    thing = await session.get(Thing, thing_id, with_for_update=True)
    if thing is None:
        raise ThingNotFound("Look at the list of things.")
    if if_match(request) not in (None, str(thing.quantity)):
        raise NoMoreThings("Read it again.")
    thing.name, thing.quantity = draft.name, draft.quantity
    await session.flush()
    return ThingAnswer.model_validate(thing)


@router.get("/whoami", openapi_extra=access("user"))
async def whoami(caller: Caller) -> dict[str, str]:
    return {"user_id": str(caller.user_id), "role": caller.role}


@router.get("/stream", openapi_extra=access("all"))
async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first,"
        await request.app.state.stage.wait()
        yield b"last"

    return StreamingResponse(chunks(), media_type="text/plain")


@router.post("/mistake", openapi_extra=access("admin"))
async def mistake(draft: ThingDraft, session: Session) -> None:
    session.add(Thing(id=new_id(), name=draft.name, quantity=99))
    await session.flush()


@hooks.post("/provider", openapi_extra=access("provider"))
async def hook(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@internal.get("/count", openapi_extra=access("service", callers=["orders"]))
async def count(database: Db) -> int:
    found: int = await database.primary_reads.fetchval("SELECT count(*) FROM things")
    return found


def build(settings: ToySettings, bus: Bus, upstreams: Upstreams) -> Service:
    return Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        routers=(router, hooks, internal, operations_router(jobs_for=("teddy",), events_for=("teddy",))),
        events=(ThingMade,),
        problems=(ThingNotFound, NoMoreThings),
        state={"stage": Stage(), "both": asyncio.Barrier(2)},
    )
