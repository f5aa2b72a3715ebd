"""The URL map: what api.md promises is reachable, what is internal is not, and the README shows the same table."""

from pathlib import Path

import pytest

from chassis.auth import public_part
from chassis.testing import Keys
from gateway.routes import GATEWAY, ROUTES, RouteTable, as_markdown
from gateway.testing import Front

README = Path(__file__).parents[1] / "README.md"

PUBLIC = {
    "accounts": [
        "POST /auth/register", "POST /auth/login", "POST /auth/refresh", "POST /auth/logout", "POST /auth/logout-all",
        "POST /auth/password/change", "GET /users/me", "PATCH /users/me", "GET /users/me/addresses",
        "POST /users/me/addresses", "GET /users/me/addresses/1", "PATCH /users/me/addresses/1",
        "DELETE /users/me/addresses/1", "GET /users", "GET /users/1", "PATCH /users/1",
    ],
    "catalog": [
        "GET /categories", "GET /categories/all", "GET /categories/books", "POST /categories", "PATCH /categories/1",
        "DELETE /categories/1", "GET /products", "GET /products/featured", "GET /products/low-stock",
        "GET /products/a-lamp", "POST /products", "PATCH /products/1", "DELETE /products/1",
        "POST /products/1/variants", "PATCH /products/1/variants/2", "DELETE /products/1/variants/2",
        "POST /inventory/1/adjustments", "GET /inventory/1", "GET /inventory/1/movements",
    ],
    "cart": [
        "GET /cart", "POST /cart/items", "PATCH /cart/items/1", "DELETE /cart/items/1", "DELETE /cart",
        "POST /cart/merge",
    ],
    "orders": [
        "POST /orders", "GET /orders", "GET /orders/1", "GET /orders/1/timeline", "POST /orders/1/cancel",
        "GET /admin/orders", "GET /admin/orders/1", "GET /admin/orders/1/timeline", "POST /admin/orders/1/ship",
        "POST /admin/orders/1/deliver", "POST /admin/orders/1/cancel", "POST /admin/orders/1/review",
    ],
    "payments": [
        "POST /payments", "GET /payments/1", "GET /payments", "POST /payments/1/verify",
        "POST /payments/webhooks/razorpay", "POST /payments/1/refunds", "GET /payments/1/refunds",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("service", "line"), [(name, line) for name, lines in PUBLIC.items() for line in lines])
def test_public_routes_lead_to_their_service(service: str, line: str) -> None:
    method, path = line.split(" ")
    route = RouteTable().find(f"/api/v1{path}".encode())
    assert route is not None
    assert route.service == service
    assert method in route.methods


@pytest.mark.parametrize(
    "path",
    [
        "/internal/orders/1", "/internal/asyncapi.json", "/metrics", "/api", "/api/v1", "/api/v2/products",
        "/api/v1/internal", "/api/v1/admin", "/api/v1/admin/users", "/api/v1/metrics", "/livez/x", "/readyz/",
        "/openapi.json/", "/.well-known", "/.well-known/jwks.json/x", "/api/v1/authx", "/favicon.ico", "",
        "/a" * 1000, "/simulator/ledger",
    ],
)  # fmt: skip
def test_everything_else_leads_nowhere(path: str) -> None:
    assert RouteTable().find(path.encode()) is None


def test_cookies_pass_only_where_the_cart_needs_them() -> None:
    assert {route.service for route in ROUTES if route.sets_cookie} == {"accounts", "cart"}
    assert {route.service for route in ROUTES if route.reads_cookie} == {"accounts", "cart", "orders"}
    assert all(route.service == "catalog" for route in ROUTES if route.cacheable)


def test_money_and_people_are_never_anonymous() -> None:
    for path in ("/api/v1/orders", "/api/v1/admin/orders", "/api/v1/payments", "/api/v1/users", "/api/v1/inventory"):
        route = RouteTable().find(path.encode())
        assert route is not None
        assert not route.anonymous


def test_the_readme_shows_this_table() -> None:
    assert as_markdown(ROUTES) in README.read_text()


async def test_keys_are_public_and_private_parts_are_not(front: Front, keys: Keys) -> None:
    reply = await front.ask("GET", "/.well-known/jwks.json")
    assert reply.json["keys"] == [public_part(keys.user_key)]
    assert GATEWAY not in RouteTable().services
