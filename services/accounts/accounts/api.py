"""The public routes of accounts: who may call, which process answers."""

import hashlib
import re
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from accounts import addresses, passwords, profiles, registration, sessions
from accounts.front_desk import FrontDesk, Visitor
from accounts.models import User
from accounts.schemas import (
    AddressChanges,
    AddressList,
    AddressView,
    NewAddress,
    PasswordChange,
    ProfileChanges,
    Refresh,
    RefreshedView,
    Registration,
    SessionList,
    SessionView,
    SignedInView,
    SignIn,
    TokensView,
    UserChanges,
    UserList,
    UserQuery,
    UserView,
)
from accounts.tokens import TokenPair
from chassis.pagination import PageQuery
from chassis.routes import Caller, Db, Router, Session, access
from chassis.strict import Id

CART_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
KEYS_MAX_AGE = 300


async def _not_kept(response: Response) -> None:
    """Everything here is personal or secret: no cache keeps it."""
    response.headers["cache-control"] = "no-store"


async def _desk(request: Request) -> FrontDesk:
    desk: FrontDesk = request.app.state.desk
    return desk


async def _visitor(request: Request) -> Visitor:
    user_agent = request.headers.get("user-agent", "")
    return Visitor(
        # Set by the gateway; nobody else reaches this service.
        address=request.headers.get("x-client-address"),
        user_agent="".join(character for character in user_agent if character.isprintable())[:200] or None,
        guest_token_hash=_guest_token_hash(request),
    )


def _guest_token_hash(request: Request) -> str | None:
    """The guest cart this request carries, in the header or else in the cookie; what cannot be a token is ignored."""
    for token in (request.headers.get("x-cart-token"), request.cookies.get("cart_token")):
        if token and CART_TOKEN.fullmatch(token):
            return hashlib.sha256(token.encode()).hexdigest()
    return None


Desk = Annotated[FrontDesk, Depends(_desk)]
From = Annotated[Visitor, Depends(_visitor)]
Page = Annotated[PageQuery, Query()]

router = Router(prefix="/api/v1", tags=["accounts"], dependencies=[Depends(_not_kept)])
keys_router = Router(tags=["accounts"])

_AUTH = access("all", idempotency="none", transaction=False, uses_token=False)
_GUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Cart-Token",
            "in": "header",
            "required": False,
            "description": "The guest's cart, as `POST /api/v1/cart/items` answered it; its token is dead afterwards."
            " Browsers send it as the cookie `cart_token`.",
            "schema": {"type": "string"},
        }
    ]
}
_AUTH_USER = access("user", idempotency="none")
_USER = access("user")
_ADMIN = access("admin")


@keys_router.get(
    "/.well-known/jwks.json",
    openapi_extra=access("all"),
    response_class=Response,
    responses={200: {"description": "A JSON Web Key Set (RFC 7517).", "content": {"application/jwk-set+json": {}}}},
)
async def read_public_keys(request: Request) -> Response:
    """The public keys that access tokens are verified with."""
    return Response(
        request.app.state.keys.public_jwks,
        media_type="application/jwk-set+json",
        headers={"cache-control": f"public, max-age={KEYS_MAX_AGE}"},
    )


def _signed_in(user: User, tokens: TokenPair) -> SignedInView:
    return SignedInView(user=UserView.model_validate(user), tokens=TokensView.model_validate(tokens))


@router.post("/auth/register", status_code=201, openapi_extra=_AUTH | _GUEST)
async def register(body: Registration, database: Db, desk: Desk, visitor: From) -> SignedInView:
    """Open an account and sign in. A guest cart sent along becomes the new user's."""
    return _signed_in(*await registration.register(database, desk, registration=body, visitor=visitor))


@router.post("/auth/login", openapi_extra=_AUTH | _GUEST)
async def sign_in(body: SignIn, database: Db, desk: Desk, visitor: From) -> SignedInView:
    """Sign in. A guest cart sent along is merged into the user's."""
    return _signed_in(*await sessions.sign_in(database, desk, credentials=body, visitor=visitor))


@router.post("/auth/refresh", openapi_extra=_AUTH)
async def refresh_tokens(body: Refresh, database: Db, desk: Desk) -> RefreshedView:
    """New tokens for a refresh token, which is spent by it."""
    tokens = await sessions.refresh(database, desk.issuer, refresh_token=body.refresh_token)
    return RefreshedView(tokens=TokensView.model_validate(tokens))


@router.post("/auth/logout", status_code=204, openapi_extra=_AUTH_USER)
async def sign_out(session: Session, caller: Caller, desk: Desk) -> None:
    """End this session."""
    await sessions.sign_out(session, caller, issuer=desk.issuer)


@router.post("/auth/logout-all", status_code=204, openapi_extra=_AUTH_USER)
async def sign_out_everywhere(session: Session, caller: Caller, desk: Desk) -> None:
    """End every session of the caller."""
    await sessions.sign_out_everywhere(session, caller, issuer=desk.issuer)


@router.post(
    "/auth/password/change", status_code=204, openapi_extra=access("user", idempotency="none", transaction=False)
)
async def change_password(body: PasswordChange, database: Db, caller: Caller, desk: Desk) -> None:
    """Replace the password; every other session ends."""
    await passwords.change_password(database, desk, caller=caller, change=body)


@router.get("/users/me", openapi_extra=_USER)
async def read_me(session: Session, caller: Caller) -> UserView:
    """The caller's profile."""
    return UserView.model_validate(await profiles.read_user(session, caller.user_id))


@router.patch("/users/me", openapi_extra=_USER)
async def change_me(body: ProfileChanges, session: Session, caller: Caller) -> UserView:
    """Change the caller's name or phone."""
    return UserView.model_validate(await profiles.change_profile(session, caller, changes=body))


@router.get("/users/me/sessions", response_model_exclude_unset=True, openapi_extra=_USER)
async def list_my_sessions(page: Page, session: Session, caller: Caller, desk: Desk) -> SessionList:
    """The devices on which the caller is signed in, newest first."""
    found = await sessions.list_sessions(session, caller, page=page, issuer=desk.issuer)
    items = [
        SessionView(
            id=item.id,
            user_agent=item.user_agent,
            created_at=item.created_at,
            last_used_at=item.last_used_at,
            expires_at=item.expires_at,
            is_current=item.id == caller.session_id,
        )
        for item in found.items
    ]
    return SessionList(**found.as_answer(items))


@router.delete("/users/me/sessions/{session_id}", status_code=204, openapi_extra=_USER)
async def end_my_session(session_id: Id, session: Session, caller: Caller, desk: Desk) -> None:
    """Sign out one device."""
    await sessions.end_session(session, caller, session_id=session_id, issuer=desk.issuer)


@router.get("/users/me/addresses", response_model_exclude_unset=True, openapi_extra=_USER)
async def list_my_addresses(page: Page, session: Session, caller: Caller) -> AddressList:
    """The caller's address book, newest first."""
    found = await addresses.list_addresses(session, caller.user_id, page=page)
    return AddressList(**found.as_answer([AddressView.model_validate(item) for item in found.items]))


@router.post("/users/me/addresses", status_code=201, openapi_extra=_USER)
async def add_my_address(body: NewAddress, session: Session, caller: Caller) -> AddressView:
    """Add an address; the first one becomes both defaults."""
    return AddressView.model_validate(await addresses.add_address(session, caller.user_id, new=body))


@router.get("/users/me/addresses/{address_id}", openapi_extra=_USER)
async def read_my_address(address_id: Id, session: Session, caller: Caller) -> AddressView:
    """One address."""
    return AddressView.model_validate(await addresses.read_address(session, caller.user_id, address_id))


@router.patch("/users/me/addresses/{address_id}", openapi_extra=_USER)
async def change_my_address(address_id: Id, body: AddressChanges, session: Session, caller: Caller) -> AddressView:
    """Change an address, or make it a default."""
    changed = await addresses.change_address(session, caller.user_id, address_id=address_id, changes=body)
    return AddressView.model_validate(changed)


@router.delete("/users/me/addresses/{address_id}", status_code=204, openapi_extra=_USER)
async def delete_my_address(address_id: Id, session: Session, caller: Caller) -> None:
    """Delete an address; a default passes to the newest that is left."""
    await addresses.delete_address(session, caller.user_id, address_id=address_id)


@router.get("/users", response_model_exclude_unset=True, openapi_extra=_ADMIN)
async def list_users(query: Annotated[UserQuery, Query()], session: Session) -> UserList:
    """Users, newest first; `search` is the beginning of an e-mail or a name."""
    found = await profiles.list_users(session, query=query)
    return UserList(**found.as_answer([UserView.model_validate(user) for user in found.items]))


@router.get("/users/{user_id}", openapi_extra=_ADMIN)
async def read_user(user_id: Id, session: Session) -> UserView:
    """One user."""
    return UserView.model_validate(await profiles.read_user(session, user_id))


@router.patch("/users/{user_id}", openapi_extra=_ADMIN)
async def change_user(user_id: Id, body: UserChanges, session: Session, caller: Caller, desk: Desk) -> UserView:
    """Change somebody's role, deactivate or activate them; a change that takes effect ends their sessions."""
    changed = await profiles.change_user(session, caller, user_id=user_id, changes=body, issuer=desk.issuer)
    return UserView.model_validate(changed)
