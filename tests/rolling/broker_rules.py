"""What an operator tells a running broker before a service publishes a new event."""

import re

from stack.topology import PARTS
from tests.rabbitmqctl import rabbitmqctl
from tests.shop_process import ShopProcess


async def allow_to_publish(process: ShopProcess, service: str, event: str) -> None:
    """Add an event to those that a service may publish."""
    part = next(part for part in PARTS if part.name == service)
    types = "|".join(re.escape(type_) for type_ in (*part.publishes, event))
    broker = process.parts()["rabbitmq"]["pid"]
    await rabbitmqctl(broker, "set_topic_permissions", service, "haat.events", f"^({types})$", ".*")
