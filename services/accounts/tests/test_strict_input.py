"""Whatever is sent, the answer is a refusal that names the place, or a good answer; never a mistake of ours."""

import json
from typing import Any
from uuid import uuid4

import pytest

from chassis.testing import Harness

GARBAGE = (
    "null", "true", "0", "-1", "1.5", "99999999999999999999", "1e400", "NaN", "[]", "{}", '""', '" "', '"\\u0000"',
    '"\\ud800"', '"%00"', "\"' OR 1=1 --\"", json.dumps("x" * 5000), json.dumps("\u202e\ufeff🎉" * 20), "[[[[[[]]]]]]",
)  # fmt: skip

HOME = {
    "recipient_name": "Asha",
    "line1": "14, 3rd Cross",
    "city": "Bengaluru",
    "state": "Karnataka",
    "postal_code": "560038",
    "country": "IN",
}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/auth/register"): {
        "email": "ravi@example.com", "password": "staple of my own", "full_name": "Ravi", "phone": None,
    },
    ("POST", "/auth/login"): {"email": "asha@example.com", "password": "correct horse battery"},
    ("POST", "/auth/refresh"): {"refresh_token": "token"},
    ("POST", "/auth/password/change"): {"current_password": "correct horse battery", "new_password": "staple of mine"},
    ("PATCH", "/users/me"): {"full_name": "Asha", "phone": None},
    ("POST", "/users/me/addresses"): {**HOME, "line2": None, "label": None, "is_default_billing": True},
    ("PATCH", "/users/{id}"): {"role": "staff", "is_active": True},
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), BODIES, ids=lambda part: part)
async def test_garbage_in_any_field_is_refused_or_harmless(
    accounts: Harness, register: Any, method: str, path: str
) -> None:
    admin = await register("meera", role="admin")
    good = BODIES[method, path]

    for field in [*good, "unknown"]:
        for value in GARBAGE:
            others = "".join(f"{json.dumps(name)}: {json.dumps(good[name])}, " for name in good if name != field)
            body = f"{{{others}{json.dumps(field)}: {value}}}".encode()
            answer = await admin.call(
                method,
                path.replace("{id}", str(uuid4())),
                content=body,
                headers={"content-type": "application/json"},
            )
            assert answer.status_code < 500, (field, value, answer.text)
            if field == "unknown":
                assert answer.status_code == 422
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/users", "/users/me/sessions", "/users/me/addresses", "/users/{id}", "/users/me/addresses/{id}"]
)
@pytest.mark.parametrize("text", ["%00", "%ED%A0%80", "'", "-1", "1e3", "%2e%2e", "٣", "x" * 3000])
async def test_garbage_in_paths_and_queries_is_refused(accounts: Harness, register: Any, path: str, text: str) -> None:
    admin = await register("meera", role="admin")

    queries = ["unknown"] if "{id}" in path else ["limit", "cursor", "count", "unknown"]
    for name in queries:
        answer = await admin.call("GET", f"{path.replace('{id}', text)}?{name}={text}")
        assert answer.status_code in (400, 404, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
