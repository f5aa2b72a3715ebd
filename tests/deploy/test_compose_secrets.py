"""Who gets to see which secret, and that nobody goes into production with one that was made for the demo."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from chassis.auth import generate_key, jwks
from chassis.settings import DEMO_SECRET
from stack.topology import PARTS, SERVICES
from tests.deploy.compose_file import ComposeFile, files_of, hand_out, kid_of

RAZORPAY = {
    "PAYMENTS_RAZORPAY_KEY_ID": "rzp_live_example",
    "PAYMENTS_RAZORPAY_KEY_SECRET": "the key's secret",
    "PAYMENTS_RAZORPAY_WEBHOOK_SECRET": "the webhook's secret",
}
NAMES = [part.name for part in PARTS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


@pytest.fixture
def fresh(folder: Path) -> dict[str, str]:
    """What `invent` prints, as compose reads it from .env."""
    printed = hand_out(folder, "invent").stdout
    lines = [line.partition("=") for line in printed.splitlines()]
    return {name: value.removeprefix("'").removesuffix("'") for name, _, value in lines}


def test_a_shop_of_ones_own_opens_in_production(folder: Path, fresh: dict[str, str]) -> None:
    assert hand_out(folder, **fresh, **RAZORPAY).returncode == 0
    for name in NAMES:
        files = files_of(folder / name)
        assert files["HAAT_ENV"] == "production"
        assert kid_of(files[f"{name.upper()}_SERVICE_KEY"]).startswith(f"{name}.")
    assert files_of(folder / "payments")["PAYMENTS_RAZORPAY_KEY_ID"] == "rzp_live_example"
    assert not (folder / "simulator").exists()
    assert "PAYMENTS_RAZORPAY_BASE_URL" not in files_of(folder / "payments")


def test_what_is_invented_is_all_that_compose_asks_for_but_razorpays(fresh: dict[str, str]) -> None:
    asked = {name for name, value in ComposeFile.read().environment("secrets").items() if value is None}
    optional = {"HAAT_ENV", "PAYMENTS_RAZORPAY_PREVIOUS_WEBHOOK_SECRET", "PAYMENTS_RAZORPAY_ACCOUNT_ID"}
    optional |= {f"{part.prefix}OTHER_SERVICE_KEY" for part in PARTS}
    optional |= {f"{part.prefix}DATABASE_USER" for part in SERVICES}
    assert asked - optional == {*fresh, *RAZORPAY}


def test_a_shop_without_secrets_says_which_it_needs(folder: Path, fresh: dict[str, str]) -> None:
    del fresh["CART_AMQP_PASSWORD"]
    refused = hand_out(folder, **fresh, **RAZORPAY)
    assert refused.returncode == 1
    assert "CART_AMQP_PASSWORD" in refused.stderr
    assert "ORDERS_AMQP_PASSWORD" not in refused.stderr
    assert not (folder / "cart").exists()


def test_the_demo_needs_none_and_keeps_those_it_made(folder: Path) -> None:
    seen = []
    for _ in range(2):
        assert hand_out(folder, "demo").returncode == 0
        assert hand_out(folder).returncode == 0
        seen.append({name: files_of(folder / name) for name in NAMES})
    assert seen[0] == seen[1]
    assert seen[0]["payments"]["HAAT_ENV"] == "demo"
    assert seen[0]["payments"]["PAYMENTS_RAZORPAY_BASE_URL"] == "http://simulator:8090"
    simulator = files_of(folder / "simulator")
    assert simulator["SIMULATOR_KEY_SECRET"] == seen[0]["payments"]["PAYMENTS_RAZORPAY_KEY_SECRET"]


def test_production_refuses_the_demos_secrets(folder: Path, fresh: dict[str, str]) -> None:
    assert hand_out(folder, "demo", HAAT_ENV="production").returncode == 1
    assert hand_out(folder, "demo").returncode == 0
    refused = hand_out(folder, HAAT_ENV="production", **RAZORPAY)
    assert refused.returncode == 1
    assert "ACCOUNTS_SIGNING_KEYS" in refused.stderr
    assert DEMO_SECRET not in refused.stderr
    own = hand_out(folder, HAAT_ENV="production", **fresh, **RAZORPAY)
    assert own.returncode == 0, own.stderr


def test_nobody_gets_anothers_secret(folder: Path, fresh: dict[str, str]) -> None:
    assert hand_out(folder, **fresh, **RAZORPAY).returncode == 0
    for name in NAMES:
        everything = " ".join(files_of(folder / name).values())
        others = [other for other in NAMES if other != name]
        for foreign in (f"{other.upper()}_{kind}" for other in others for kind in ("AMQP_PASSWORD", "SERVICE_KEY")):
            assert fresh[foreign] not in everything, f"{name} sees {foreign}"
        assert fresh["POSTGRES_PASSWORD"] not in everything
    mounted = {
        name: [volume for volume in each.get("volumes", ()) if isinstance(volume, str) and "secrets:" in volume]
        for name, each in ComposeFile.read().lasting().items()
    }
    watching = {
        name for name, each in ComposeFile.read().containers.items() if each.get("profiles") == ["observability"]
    }
    assert mounted == {name: [] if name in watching else [f"{name}-secrets:/run/secrets:ro"] for name in mounted}


def test_only_its_reader_may_open_a_folder(folder: Path) -> None:
    assert hand_out(folder, "demo").returncode == 0
    assert hand_out(folder).returncode == 0
    for place in (folder / "payments", folder / "postgres", folder / "rabbitmq"):
        assert place.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in place.iterdir()} == {0o600}


def test_a_changed_secret_leaves_nothing_of_the_old_one(folder: Path, fresh: dict[str, str]) -> None:
    assert hand_out(folder, **fresh, **RAZORPAY, PAYMENTS_RAZORPAY_ACCOUNT_ID="acc_1").returncode == 0
    assert hand_out(folder, **{**fresh, **RAZORPAY, "PAYMENTS_RAZORPAY_KEY_SECRET": "new"}).returncode == 0
    files = files_of(folder / "payments")
    assert files["PAYMENTS_RAZORPAY_KEY_SECRET"] == "new"
    assert "PAYMENTS_RAZORPAY_ACCOUNT_ID" not in files


def test_services_know_each_others_public_keys_and_no_private_one(folder: Path, fresh: dict[str, str]) -> None:
    own = generate_key("orders.mine")
    assert hand_out(folder, **{**fresh, **RAZORPAY, "ORDERS_SERVICE_KEY": json.dumps(own)}).returncode == 0
    known = json.loads(files_of(folder / "catalog")["CATALOG_SERVICE_KEYS"])["keys"]
    assert [key["kid"].partition(".")[0] for key in known] == NAMES
    assert json.loads(jwks([own]))["keys"][0] in known
    assert not any("d" in key for key in known)


def test_while_a_key_changes_the_others_know_both_and_only_its_owner_has_the_private_one(
    folder: Path, fresh: dict[str, str]
) -> None:
    """Next one published, the two swapped, last one gone: at each step what is signed can be verified everywhere."""
    last, coming = json.loads(fresh["ORDERS_SERVICE_KEY"]), generate_key("orders.coming")
    steps = [(last, coming), (coming, last)]
    for signing, other in steps:
        rotating = {"ORDERS_SERVICE_KEY": json.dumps(signing), "ORDERS_OTHER_SERVICE_KEY": json.dumps(other)}
        assert hand_out(folder, **{**fresh, **RAZORPAY, **rotating}).returncode == 0
        known = {key["kid"] for key in json.loads(files_of(folder / "catalog")["CATALOG_SERVICE_KEYS"])["keys"]}
        assert {last["kid"], coming["kid"]} <= known
        assert kid_of(files_of(folder / "orders")["ORDERS_SERVICE_KEY"]) == signing["kid"]
        assert not any(other["d"] in value for part in NAMES for value in files_of(folder / part).values())


def test_the_broker_gets_hashes_of_the_passwords_that_are_in_the_addresses(folder: Path, fresh: dict[str, str]) -> None:
    assert hand_out(folder, **{**fresh, **RAZORPAY, "CART_AMQP_PASSWORD": "p@ss/word"}).returncode == 0
    users = json.loads(files_of(folder / "rabbitmq")["definitions.json"])["users"]
    (cart,) = [user for user in users if user["name"] == "cart"]
    stored = base64.b64decode(cart["password_hash"])
    assert stored[4:] == hashlib.sha256(stored[:4] + b"p@ss/word").digest()
    assert files_of(folder / "cart")["CART_AMQP_URL"] == "amqp://cart:p%40ss%2Fword@rabbitmq:5672/"


def test_the_database_server_gets_a_password_for_each_role(folder: Path, fresh: dict[str, str]) -> None:
    assert hand_out(folder, **fresh, **RAZORPAY).returncode == 0
    names = {"POSTGRES_PASSWORD", *(f"{part.prefix}DATABASE_PASSWORD" for part in SERVICES)}
    assert files_of(folder / "postgres") == {name: fresh[name] for name in names}
