"""Routes for other services, never routed by the gateway."""

from typing import Annotated

from fastapi import Depends, Request

from accounts.addresses import read_address
from accounts.front_desk import FrontDesk
from accounts.schemas import PostalAddressView, RevokedSession, RevokedSessions
from accounts.sessions import revoked_sessions
from chassis.routes import Router, Session, access
from chassis.strict import Id


async def _desk(request: Request) -> FrontDesk:
    desk: FrontDesk = request.app.state.desk
    return desk


Desk = Annotated[FrontDesk, Depends(_desk)]

internal = Router(prefix="/internal", tags=["accounts internal"])


@internal.get(
    "/users/{user_id}/addresses/{address_id}",
    response_model=PostalAddressView,
    openapi_extra=access("service", callers=["orders"]),
)
async def read_address_of_user(session: Session, user_id: Id, address_id: Id) -> PostalAddressView:
    """An address as the order keeps it."""
    return PostalAddressView.model_validate(await read_address(session, user_id, address_id))


@internal.get("/sessions/revoked", response_model=RevokedSessions, openapi_extra=access("service", callers=["gateway"]))
async def list_revoked_sessions(session: Session, desk: Desk) -> RevokedSessions:
    """Every session whose access tokens are to be refused although they have not expired."""
    revoked = await revoked_sessions(session, issuer=desk.issuer)
    return RevokedSessions(
        items=[RevokedSession(session_id=session_id, expires_at=expires_at) for session_id, expires_at in revoked]
    )
