"""accounts on a real database, and people who use it over HTTP."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from accounts.app import build
from accounts.keys import generate_signing_key
from accounts.settings import AccountsSettings
from chassis.testing import Harness, Keys, ServiceFactory

PASSWORD = "correct horse battery"


@dataclass
class Person:
    """Somebody signed in, and what they can do."""

    client: httpx.AsyncClient
    user: dict[str, Any]
    tokens: dict[str, Any]

    @property
    def id(self) -> str:
        user_id: str = self.user["id"]
        return user_id

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with this person's access token."""
        headers = {"authorization": f"Bearer {self.tokens['access_token']}", **options.pop("headers", {})}
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **options)

    async def sign_in_again(self, password: str = PASSWORD) -> "Person":
        """The same person on another device."""
        answer = await self.client.post("/api/v1/auth/login", json={"email": self.user["email"], "password": password})
        assert answer.status_code == 200, answer.text
        return Person(self.client, answer.json()["user"], answer.json()["tokens"])

    async def refresh(self, token: str | None = None) -> httpx.Response:
        """Trade a refresh token, by default this person's."""
        body = {"refresh_token": token or self.tokens["refresh_token"]}
        return await self.client.post("/api/v1/auth/refresh", json=body)


Register = Callable[..., Awaitable[Person]]


@pytest.fixture(scope="session")
def secrets(keys: Keys) -> dict[str, str]:
    """What accounts cannot start without: two live signing keys (the test kit's signs) and a refresh key."""
    return {
        "signing_keys": json.dumps({"keys": [keys.user_key, generate_signing_key()]}),
        "refresh_key": "a secret for tests that is long enough",
    }


@pytest.fixture
async def accounts(service_factory: ServiceFactory, secrets: dict[str, str]) -> AsyncIterator[Harness]:
    """accounts, with a first delay that a slow machine does not outlast between two attempts."""
    async with service_factory(AccountsSettings, build, **secrets, first_delay=30) as harness:
        yield harness


@pytest.fixture
def register(accounts: Harness) -> Register:
    """Registers people; `role` is given behind the service's back, as nobody can give it to themselves."""

    async def register_person(name: str = "asha", *, role: str = "customer") -> Person:
        body = {"email": f"{name}@example.com", "password": PASSWORD, "full_name": name.title()}
        answer = await accounts.client.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        person = Person(accounts.client, answer.json()["user"], answer.json()["tokens"])
        if role != "customer":
            await accounts.execute("UPDATE users SET role = $2 WHERE id = $1", person.id, role)
            person = await person.sign_in_again()
        return person

    return register_person


@pytest.fixture
async def asha(register: Register) -> Person:
    return await register("asha")
