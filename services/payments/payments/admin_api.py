"""What staff see of the money of the whole shop. Refunds of one payment are in `api.py`."""

from typing import Annotated

from fastapi import Depends, Response
from starlette.requests import Request

from chassis.operations import job_runs
from chassis.routes import Router, access
from payments.job_overview import JobOverview
from payments.schemas import Reconciliation


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
