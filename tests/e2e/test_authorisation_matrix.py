"""Every route, tried by everybody. Who may is declared at the route; here it is seen to be so, through the gateway."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from embedded.shop import PARTS
from gateway.merging import merge_openapi
from gateway.routes import RouteTable
from tests.api_operations import RULES, Operation, operations
from tests.contracts.published import parts
from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import HOME, PASSWORD, Shopper

ACTORS = ("anonymous", "customer", "staff", "admin")
RANK = {"all": 0, "user": 1, "staff": 2, "admin": 3}
RANK_OF_ACTOR = {"anonymous": 0, "customer": 1, "staff": 2, "admin": 3}
GATEWAY = RouteTable()


def published() -> list[Operation]:
    """Every route of every service, from the code; the document of the gateway is compared with it below."""
    return [operation for part in parts().values() for operation in operations(part.openapi)]


PUBLIC = [operation for operation in published() if not operation.path.startswith("/internal/")]
OF_THE_GATEWAY = list(operations(merge_openapi({}, GATEWAY, missing=[], problems=[])))
INTERNAL = [operation for operation in published() if operation.path.startswith("/internal/")]
OWNED = {"order_id", "payment_id", "item_id", "address_id", "session_id"}
"""Names in paths of what belongs to one shopper."""
OF_ONE_OWNER = [
    operation
    for operation in PUBLIC
    if operation.rule in ("user", "all") and operation.parameters and set(operation.parameters) <= OWNED
]


@dataclass
class Cast:
    """People made for this file only, since some routes end their sessions."""

    shop: Shop
    emails: dict[str, str]

    async def play(self, actor: str) -> Shopper:
        """Somebody of this role, freshly signed in."""
        visitor = self.shop.visitor()
        return visitor if actor == "anonymous" else await visitor.sign_in(self.emails[actor])


@pytest.fixture(scope="module")
async def cast(own_shop: Shop) -> Cast:
    admin = await own_shop.staff("admin")
    emails = {}
    for role in ("customer", "staff", "admin"):
        person = await own_shop.customer()
        emails[role] = person.session["user"]["email"]
        if role != "customer":
            answer = await admin.send("PATCH", f"/api/v1/users/{person.user_id}", json={"role": role})
            assert answer.is_success, answer.text
    return Cast(own_shop, emails)


async def call(shopper: Shopper, operation: Operation, known: dict[str, str] | None = None) -> httpx.Response:
    """A request that fits the route; where ids are not known, about things that do not exist."""
    options: dict[str, Any] = {"headers": {"idempotency-key": uuid4().hex}}
    if operation.body_schema is not None:
        # A route about nothing in particular gets a body without its required members: it would do something.
        options["json"] = operation.body() if operation.parameters or not operation.needs_body else {}
    return await shopper.send(operation.method.upper(), operation.filled(known), **options)


@pytest.mark.parametrize("operation", [*PUBLIC, *OF_THE_GATEWAY], ids=str)
async def test_each_route_lets_in_whom_it_declares(cast: Cast, operation: Operation) -> None:
    assert operation.rule in RULES, "a route without a declared rule"
    for actor in ACTORS:
        answer = await call(await cast.play(actor), operation)
        seen = (
            answer.status_code,
            answer.json().get("code") if "problem" in answer.headers.get("content-type", "") else "",
        )
        assert answer.status_code < 500, f"{actor}: {answer.text}"
        if operation.rule == "provider":
            assert answer.status_code == 400, f"{actor} is not the provider: {seen}"
        elif RANK_OF_ACTOR[actor] >= RANK[str(operation.rule)]:
            assert answer.status_code not in (401, 403) or seen[1] == "credentials_invalid", f"{actor}: {seen}"
        elif actor == "anonymous":
            assert seen[0] == 401, f"{actor}: {seen}"
            assert "www-authenticate" in answer.headers
        else:
            assert seen == (403, "role_required"), f"{actor}: {seen}"


@pytest.fixture(scope="module")
async def owned(own_shop: Shop) -> AsyncIterator[dict[str, str]]:
    """Ids of things that belong to one shopper, by the names that paths have for them."""
    owner = await own_shop.customer()
    await owner.add_to_cart(await own_shop.new_variant())
    order = await owner.place_order()
    payment = await owner.start_payment(order)
    cart = await owner.add_to_cart(await own_shop.new_variant())
    address = await owner.post("/users/me/addresses", HOME)
    sessions = await owner.get("/users/me/sessions")
    yield {
        "order_id": order["id"],
        "payment_id": payment["id"],
        "item_id": cart["items"][0]["id"],
        "address_id": address["id"],
        "session_id": sessions["items"][0]["id"],
    }
    # Whatever strangers tried, everything is as it was.
    assert (await owner.order(order["id"]))["status"] == "awaiting_payment"
    assert (await owner.get(f"/payments/{payment['id']}"))["checkout"] == payment["checkout"]
    assert (await owner.cart())["items"] == cart["items"]
    assert await owner.get(f"/users/me/addresses/{address['id']}") == address


@pytest.mark.parametrize("operation", OF_ONE_OWNER, ids=str)
async def test_what_belongs_to_somebody_else_does_not_exist(
    own_shop: Shop, owned: dict[str, str], operation: Operation
) -> None:
    stranger = await own_shop.customer()
    about_mine = await call(stranger, operation, owned)
    about_nothing = await call(stranger, operation)
    assert about_mine.status_code == about_nothing.status_code == 404, about_mine.text
    assert about_mine.json()["code"] == about_nothing.json()["code"]
    assert about_mine.json()["detail"] == about_nothing.json()["detail"]


async def test_payments_are_not_found_by_a_strangers_order(own_shop: Shop, owned: dict[str, str]) -> None:
    stranger = await own_shop.customer()
    assert (await stranger.get("/payments", order_id=owned["order_id"]))["items"] == []
    refused = await stranger.send("POST", "/api/v1/payments", json={"order_id": owned["order_id"]})
    assert refused.status_code == 404, refused.text


async def test_an_order_does_not_go_to_a_strangers_address(own_shop: Shop, owned: dict[str, str]) -> None:
    stranger = await own_shop.customer()
    await stranger.add_to_cart(await own_shop.new_variant())
    refused = await stranger.try_to_order(shipping_address=None, shipping_address_id=owned["address_id"])
    assert refused.status_code in (404, 422), refused.text
    assert "Lake Road" not in refused.text


def test_the_gateway_routes_every_public_path_to_its_service() -> None:
    for name in PARTS:
        for operation in operations(parts()[name].openapi):
            route = GATEWAY.find(operation.filled().encode())
            if operation.path.startswith("/internal/"):
                assert route is None, f"{operation} could be reached from outside"
            else:
                assert route is not None, f"{operation} cannot be reached"
                assert route.service == name, f"{operation} is sent to {route.service}"
                assert operation.method.upper() in route.methods, f"{operation} is refused at the door"


async def test_the_document_of_the_gateway_names_exactly_the_public_routes(own_shop: Shop) -> None:
    """Beside the gateway's own pages."""
    document = await own_shop.openapi()
    described = {str(operation) for operation in operations(document) if "gateway" not in operation.declared["tags"]}
    assert described == {str(operation) for operation in PUBLIC}


@pytest.mark.parametrize("operation", INTERNAL, ids=str)
async def test_internal_routes_do_not_exist_outside(cast: Cast, operation: Operation) -> None:
    for actor in ("anonymous", "admin"):
        answer = await call(await cast.play(actor), operation)
        assert answer.status_code == 404, f"{actor}: {answer.text}"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/internal/asyncapi.json",
        "/api/v1/../../internal/sessions/revoked",
        "/api/v1/%2e%2e/%2e%2e/internal/sessions/revoked",
        "/api/v1/products/..%2f..%2f..%2finternal%2forders",
        "//internal/sessions/revoked",
        "/api/v1/orders/../admin/orders",
        "/INTERNAL/sessions/revoked",
    ],
)
async def test_no_spelling_of_a_path_leads_inside(cast: Cast, path: str) -> None:
    admin = await cast.play("admin")
    # httpx would tidy the path; a raw target reaches the gateway as it is written here.
    request = own_request(admin, path)
    answer = await admin.http.send(request)
    assert answer.status_code in (400, 404), f"{path}: {answer.status_code} {answer.text[:200]}"


def own_request(shopper: Shopper, path: str) -> httpx.Request:
    """A GET whose target is these bytes and no others."""
    url = httpx.URL(shopper.gateway)
    return httpx.Request(
        "GET", url, headers={**shopper.headers, "host": url.netloc.decode()}, extensions={"target": path.encode()}
    )


async def test_a_token_of_an_ended_session_opens_nothing(cast: Cast) -> None:
    """The gateway hears of it by an event, within a second."""
    shopper = await cast.play("customer")
    await shopper.send("POST", "/api/v1/auth/logout", json={})

    async def is_refused() -> bool:
        return (await shopper.send("GET", "/api/v1/users/me")).status_code == 401

    await eventually(is_refused, what="The refusal of the old token", within=1)


async def test_deactivated_people_are_out(own_shop: Shop) -> None:
    person, admin = await own_shop.customer(), await own_shop.staff("admin")
    await admin.send("PATCH", f"/api/v1/users/{person.user_id}", json={"is_active": False})

    async def is_refused() -> bool:
        return (await person.send("GET", "/api/v1/users/me")).status_code == 401

    await eventually(is_refused, what="The refusal of their token", within=1)
    again = {"email": person.session["user"]["email"], "password": PASSWORD}
    assert (await own_shop.visitor().send("POST", "/api/v1/auth/login", json=again)).status_code in (401, 403)
