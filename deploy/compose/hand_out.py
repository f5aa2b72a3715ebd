"""Hands each part of the shop its secrets, and no part another's: one folder per part, each a volume of its own.

    hand_out.py           from variables, or from what was invented for the demo; refuses when something is missing
    hand_out.py demo      invents for the demo, once, what no variable gives; production refuses these secrets
    hand_out.py invent    prints fresh secrets as lines for a file .env

A file is named like the variable it stands for, and HAAT_SECRETS tells a part where its files are.

DATABASE_PLACE, READ_DATABASE_PLACE and BROKER_PLACE say where the servers are when they are not compose's own; the
first two may contain {service}.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chassis.auth import generate_key, jwks
from chassis.settings import DEMO_SECRET

SERVICES = ("accounts", "catalog", "cart", "orders", "payments")
PARTS = (*SERVICES, "gateway")
PLACES = {"DATABASE_PLACE": "postgres:5432", "READ_DATABASE_PLACE": "", "BROKER_PLACE": "rabbitmq:5672"}
SIMULATOR = "http://simulator:8090"
READS_FROM_A_REPLICA = "catalog"
GIVEN_BY_RAZORPAY = (
    "PAYMENTS_RAZORPAY_KEY_ID",
    "PAYMENTS_RAZORPAY_KEY_SECRET",
    "PAYMENTS_RAZORPAY_WEBHOOK_SECRET",
)
OTHER_KEYS = tuple(f"{name.upper()}_OTHER_SERVICE_KEY" for name in PARTS)
"""While a part's key changes, the others know two of it: the one it signs with, and the next or the last one."""
OF_PAYMENTS = ("PAYMENTS_RAZORPAY_PREVIOUS_WEBHOOK_SECRET", "PAYMENTS_RAZORPAY_ACCOUNT_ID")
USERS = tuple(f"{name.upper()}_DATABASE_USER" for name in SERVICES)
"""While a password changes, a service enters its database by its second role (deploy/postgres/second_role.sql)."""
NOT_NEEDED = (*OF_PAYMENTS, *OTHER_KEYS, *USERS)
READERS = {"postgres": 999, "rabbitmq": 999}
"""User ids in the images of others; ours run as OUR_READER."""
OUR_READER = 10001

Values = dict[str, str]


class SecretsMissing(Exception):
    """The shop cannot open."""


class DemoSecretsRefused(Exception):
    """Production would run on secrets that were made for the demo."""


def invented(mark: str = "") -> Values:
    """Everything that needs no counterpart outside, at random. The mark becomes part of each."""

    def password() -> str:
        return mark + secrets.token_urlsafe(32)

    def key(owner: str) -> dict[str, Any]:
        return generate_key(f"{owner}.{mark}{secrets.token_hex(4)}")

    return {
        "POSTGRES_PASSWORD": password(),
        **{f"{name.upper()}_DATABASE_PASSWORD": password() for name in SERVICES},
        **{f"{name.upper()}_AMQP_PASSWORD": password() for name in PARTS},
        **{f"{name.upper()}_SERVICE_KEY": json.dumps(key(name)) for name in PARTS},
        "ACCOUNTS_SIGNING_KEYS": json.dumps({"keys": [key("user")]}),
        "ACCOUNTS_REFRESH_KEY": password(),
    }


def invent_for_the_demo(place: Path, given: Mapping[str, str]) -> None:
    """Once: the databases keep the passwords they were made with. Raises DemoSecretsRefused."""
    if given.get("HAAT_ENV") == "production":
        raise DemoSecretsRefused("HAAT_ENV is production, so the profile demo has nothing to do here.")
    if place.exists():
        return
    razorpay = {
        "PAYMENTS_RAZORPAY_KEY_ID": f"rzp_test_{secrets.token_hex(7)}",
        "PAYMENTS_RAZORPAY_KEY_SECRET": DEMO_SECRET + secrets.token_urlsafe(24),
        "PAYMENTS_RAZORPAY_WEBHOOK_SECRET": DEMO_SECRET + secrets.token_urlsafe(24),
    }
    unfinished = place.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps({**invented(DEMO_SECRET), **razorpay}))
    unfinished.replace(place)


def gathered(given: Mapping[str, str], demo: Mapping[str, str]) -> Values:
    """Every secret, variables first. Raises SecretsMissing and DemoSecretsRefused."""
    names = (*invented(), *GIVEN_BY_RAZORPAY)
    found = {name: given.get(name) or demo.get(name) or "" for name in names}
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise SecretsMissing(
            f"Not set: {', '.join(missing)}. Set them as .env.example tells, or open the demo: "
            "docker compose --profile demo up --wait"
        )
    marked = [name for name, value in found.items() if DEMO_SECRET in value]
    if marked and given.get("HAAT_ENV") == "production":
        raise DemoSecretsRefused(f"Made for the demo, and so refused in production: {', '.join(marked)}.")
    env = given.get("HAAT_ENV") or ("demo" if marked else "production")
    places = {name: given.get(name) or ours for name, ours in PLACES.items()}
    return {**found, **{name: given[name] for name in NOT_NEEDED if given.get(name)}, **places, "HAAT_ENV": env}


def folders(values: Values, *, definitions: dict[str, Any], simulator_page: str) -> dict[str, Values]:
    """What lies in the folder of each part."""
    keys = (*(f"{name.upper()}_SERVICE_KEY" for name in PARTS), *(name for name in OTHER_KEYS if name in values))
    public_keys = jwks(json.loads(values[name]) for name in keys).decode()
    handed = {name: _of_part(name, values, public_keys) for name in PARTS}
    handed["accounts"] |= {name: values[name] for name in ("ACCOUNTS_SIGNING_KEYS", "ACCOUNTS_REFRESH_KEY")}
    handed["payments"] |= {name: values[name] for name in (*GIVEN_BY_RAZORPAY, *OF_PAYMENTS) if name in values}
    if values["HAAT_ENV"] == "demo":
        handed["payments"] |= {
            "PAYMENTS_RAZORPAY_BASE_URL": SIMULATOR,
            "PAYMENTS_SIMULATOR_PAGE_URL": f"{simulator_page}/simulator/checkout",
        }
        handed["simulator"] = {
            "SIMULATOR_KEY_ID": values["PAYMENTS_RAZORPAY_KEY_ID"],
            "SIMULATOR_KEY_SECRET": values["PAYMENTS_RAZORPAY_KEY_SECRET"],
            "SIMULATOR_WEBHOOK_SECRET": values["PAYMENTS_RAZORPAY_WEBHOOK_SECRET"],
        }
    passwords = ("POSTGRES_PASSWORD", *(f"{name.upper()}_DATABASE_PASSWORD" for name in SERVICES))
    handed["postgres"] = {name: values[name] for name in passwords}
    for user in definitions["users"]:
        user["password_hash"] = _hash(values[f"{user['name'].upper()}_AMQP_PASSWORD"])
    handed["rabbitmq"] = {"definitions.json": json.dumps(definitions)}
    return handed


def _of_part(name: str, values: Values, public_keys: str) -> Values:
    prefix = name.upper()
    of_all = {
        "HAAT_ENV": values["HAAT_ENV"],
        f"{prefix}_AMQP_URL": _url("amqp", name, values[f"{prefix}_AMQP_PASSWORD"], f"{values['BROKER_PLACE']}/"),
        f"{prefix}_SERVICE_KEY": values[f"{prefix}_SERVICE_KEY"],
        f"{prefix}_SERVICE_KEYS": public_keys,
    }
    if name not in SERVICES:
        return of_all
    places = {"DATABASE_URL": values["DATABASE_PLACE"]}
    if name == READS_FROM_A_REPLICA and values["READ_DATABASE_PLACE"]:
        places["READ_DATABASE_URL"] = values["READ_DATABASE_PLACE"]
    user, password = values.get(f"{prefix}_DATABASE_USER", name), values[f"{prefix}_DATABASE_PASSWORD"]
    urls = {
        f"{prefix}_{variable}": _url("postgresql", user, password, f"{place.format(service=name)}/{name}")
        for variable, place in places.items()
    }
    return {**of_all, **urls}


def _url(scheme: str, user: str, password: str, place: str) -> str:
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"


def _hash(password: str) -> str:
    """As RabbitMQ stores it."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def write(folder: Path, files: Values, *, reader: int) -> None:
    """Leave these files and no others in the folder, for this user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, value in files.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(value)
    folder.chmod(0o700)
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, reader, reader)


def main(arguments: list[str]) -> None:
    """Raises SystemExit with the reason when the shop must not open."""
    root = Path(os.environ.get("SECRETS_FOLDER", "/secrets"))
    demo = root / "demo" / "invented.json"
    try:
        if arguments == ["invent"]:
            sys.stdout.writelines(f"{name}='{value}'\n" for name, value in invented().items())
        elif arguments == ["demo"]:
            invent_for_the_demo(demo, os.environ)
        else:
            values = gathered(os.environ, json.loads(demo.read_text()) if demo.exists() else {})
            definitions = json.loads(Path(os.environ["DEFINITIONS"]).read_text())
            page = os.environ.get("SIMULATOR_PUBLIC_URL", "")
            for name, files in folders(values, definitions=definitions, simulator_page=page).items():
                write(root / name, files, reader=READERS.get(name, OUR_READER))
    except (SecretsMissing, DemoSecretsRefused) as refusal:
        sys.exit(str(refusal))


if __name__ == "__main__":
    main(sys.argv[1:])
