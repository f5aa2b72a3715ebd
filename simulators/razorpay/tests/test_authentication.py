"""HTTP Basic with exactly the right scheme word, key id and secret."""

import base64

import pytest

from razorpay_simulator.testing import SimulatorProcess
from razorpay_simulator.testing.process import KEY_ID, KEY_SECRET


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("authorization", "sentence"),
    [
        ("", "Please provide your api key for authentication purposes."),
        (basic(KEY_ID, KEY_SECRET, "basic"), "Authentication failed"),
        (basic(KEY_ID, KEY_SECRET, "BASIC"), "Authentication failed"),
        (basic(KEY_ID, KEY_SECRET, "Bearer"), "Authentication failed"),
        ("Basic !!!", "Authentication failed"),
        (f'Basic "{base64.b64encode(b"a:b").decode()}"', "Authentication failed"),
        (basic("rzp_test_somebody_else", KEY_SECRET), "The api key provided is invalid"),
        (basic(KEY_ID, "wrong"), "Authentication failed"),
    ],
)
def test_wrong_credentials_are_refused(simulator: SimulatorProcess, authorization: str, sentence: str) -> None:
    answer = simulator.request("GET", "/v1/orders", headers={"Authorization": authorization})
    assert answer.status == 401
    assert answer.json["error"]["description"] == sentence


def test_the_status_of_a_refusal_is_a_variant(simulator: SimulatorProcess) -> None:
    simulator.variants(bad_credentials_status=400)
    assert simulator.request("GET", "/v1/orders", headers={"Authorization": "Basic x"}).status == 400


def test_an_unknown_url_is_refused_in_the_same_shape(simulator: SimulatorProcess) -> None:
    for method, path in (("GET", "/v1/nothing"), ("DELETE", "/v1/orders"), ("GET", "/")):
        answer = simulator.request(method, path)
        assert answer.status == 404
        assert answer.json["error"]["description"] == "The requested URL was not found on the server."
