"""`python -m tests.deploy.broker_definitions`: writes deploy/rabbitmq/definitions.json anew from the topology.

The file holds no password: whoever starts the broker adds those of its users.
"""

from pathlib import Path
from typing import Any

import msgspec

from stack.definitions import definitions
from stack.topology import PARTS

FILE = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "definitions.json"


def without_passwords() -> dict[str, Any]:
    """What the broker has to know, as the topology says it."""
    document = definitions(PARTS, {part.name: "" for part in PARTS})
    for user in document["users"]:
        del user["password_hash"]
    return document


if __name__ == "__main__":
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(without_passwords()), indent=2) + b"\n")
