"""What the broker knows before it listens: one user per part with what it may touch, and every queue with its bindings.

Queues stand before any event is published, so the order in which services come up decides nothing.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from chassis.events import LADDER
from chassis.rabbitmq_connection import DEAD, EVENTS
from chassis.rabbitmq_queues import exchanges_of, incoming, queues_of
from stack.topology import Part

VHOST = "/"


def definitions(parts: Sequence[Part], passwords: Mapping[str, str]) -> dict[str, Any]:
    """RabbitMQ's definitions document."""
    consumers = [part for part in parts if part.listens_to]
    exchanges = {EVENTS: "topic"}
    for part in consumers:
        exchanges |= exchanges_of(part.name)
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_user(part.name, passwords[part.name]) for part in parts],
        "permissions": [_permission(part) for part in parts],
        "topic_permissions": [_topic_permission(part) for part in parts],
        "exchanges": [_exchange(name, type_) for name, type_ in exchanges.items()],
        "queues": [
            {"name": queue.name, "vhost": VHOST, "durable": True, "auto_delete": False, "arguments": queue.arguments}
            for part in consumers
            for queue in queues_of(part.name, LADDER)
        ],
        "bindings": [binding for part in consumers for binding in _bindings(part)],
    }


def _user(name: str, password: str) -> dict[str, Any]:
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [],
        "limits": {},
    }


def _permission(part: Part) -> dict[str, str]:
    """Its own queues, the exchange of events, and for those with a queue the one of dead messages."""
    own, events, dead = rf"{part.name}\..*", EVENTS.replace(".", r"\."), DEAD.replace(".", r"\.")
    shared = f"{events}|{dead}" if part.listens_to else events
    everything = f"^({own}|{shared})$"
    may_write = everything if part.listens_to or part.publishes else f"^{own}$"
    return {"user": part.name, "vhost": VHOST, "configure": everything, "write": may_write, "read": everything}


def _topic_permission(part: Part) -> dict[str, str]:
    """It publishes its own events and nobody else's."""
    types = "|".join(type_.replace(".", r"\.") for type_ in part.publishes)
    return {"user": part.name, "vhost": VHOST, "exchange": EVENTS, "write": f"^({types})$", "read": ".*"}


def _exchange(name: str, type_: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": VHOST,
        "type": type_,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _bindings(part: Part) -> list[dict[str, Any]]:
    own = [(queue.exchange, queue.name, queue.key) for queue in queues_of(part.name, LADDER)]
    events = [(EVENTS, incoming(part.name), type_) for type_ in part.listens_to]
    return [
        {
            "source": source,
            "vhost": VHOST,
            "destination": destination,
            "destination_type": "queue",
            "routing_key": key,
            "arguments": {},
        }
        for source, destination, key in (*own, *events)
    ]
