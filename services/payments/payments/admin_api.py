"""What staff see of the money of the whole shop. Refunds of one payment are in `api.py`."""

from typing import Annotated

from fastapi import Depends, Query, Response
from starlette.requests import Request

from chassis.operations import job_runs
from chassis.pagination import PageQuery
from chassis.routes import Db, Router, access
from payments import statements
from payments.job_overview import JobOverview
from payments.schemas import Day, Reconciliation, StatementAnswer, StatementList


async def _not_kept(response: Response) -> None:
    """What is true of the shop's money now is no matter for a cache."""
    response.headers["cache-control"] = "no-store"


router = Router(prefix="/api/v1/admin/payments", tags=["payments admin"], dependencies=[Depends(_not_kept)])


async def _overview(request: Request) -> JobOverview:
    overview: JobOverview = request.app.state.job_overview
    return overview


@router.get("/reconciliation", openapi_extra=access("staff"))
async def read_reconciliation(request: Request, overview: Annotated[JobOverview, Depends(_overview)]) -> Reconciliation:
    """Every job that finds and repairs what did not come by itself, in all services, with how its last run ended."""
    return await overview.with_own(await job_runs(request.app.state.service))


@router.get("/statements", openapi_extra=access("staff"))
async def list_statements(db: Db, wanted: Annotated[PageQuery, Query()]) -> StatementList:
    """What the orders of each past day are worth beside what the provider kept for them, newest day first."""
    return await statements.statements(db.primary_reads, wanted)


@router.get("/statements/{day}", openapi_extra=access("staff"))
async def read_statement(db: Db, day: Day) -> StatementAnswer:
    """One day (UTC), with every attempt and order that does not agree."""
    return await statements.statement_of(db.primary_reads, day)
