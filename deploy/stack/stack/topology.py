"""Who is in the distributed shop: the one table from which processes, databases, users, queues and variables follow.

Plain data, with nothing of this machine in it, so that a test can hold it against every other form of the shop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MANAGEMENT = 100
"""Added to a port: where the same process serves /livez, /readyz and /metrics."""
CONNECTIONS = 19
"""What one process opens at most: 5 + 5 to write, 8 to read, one for the locks of relay and jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A service, or the gateway. Its name is that of its package, database, role, user, queue and variables."""

    name: str
    port: int
    calls: tuple[str, ...]
    """Whose addresses it is told."""
    has_database: bool = True
    has_worker: bool = True
    """Whether its events, messages and jobs can be left to a process of their own."""
    publishes: tuple[str, ...] = ()
    listens_to: tuple[str, ...] = ()
    """The events for which it has a durable queue."""
    own: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Variables of its own, and the fact that each is set to."""

    @property
    def management_port(self) -> int:
        return self.port + MANAGEMENT

    @property
    def prefix(self) -> str:
        """With which its variables begin."""
        return f"{self.name.upper()}_"

    def variables(self) -> dict[str, str]:
        """Every variable that its processes are given, and the fact behind it."""
        common = {
            "HOST": "host",
            "PORT": "port",
            "MANAGEMENT_PORT": "management_port",
            "AMQP_URL": "amqp_url",
            "SERVICE_KEY": "service_key",
            "SERVICE_KEYS": "service_keys",
        }
        if self.has_worker:
            common["ROLE"] = "role"
        if self.has_database:
            common["DATABASE_URL"] = "database_url"
        neighbours = {f"{name.upper()}_URL": f"{name}_url" for name in self.calls}
        named = {f"{self.prefix}{name}": fact for name, fact in {**common, **neighbours, **self.own}.items()}
        return {"HAAT_ENV": "env", **named}


ACCOUNTS = Part(
    name="accounts",
    port=8101,
    calls=(),
    publishes=("user.registered.v1", "user.signed_in.v1", "session.revoked.v1"),
    own={"SIGNING_KEYS": "signing_keys", "REFRESH_KEY": "refresh_key"},
)
CATALOG = Part(
    name="catalog",
    port=8102,
    calls=("accounts", "orders"),
    publishes=(
        "product.changed.v1",
        "product.withdrawn.v1",
        "stock.changed.v1",
        "stock.committed.v1",
        "stock.commit_failed.v1",
        "stock.released.v1",
        "stock.returned.v1",
    ),
    listens_to=("order.placed.v1", "order.paid.v1", "order.cancelled.v1", "order.expired.v1"),
)
CART = Part(
    name="cart",
    port=8103,
    calls=("accounts", "catalog"),
    listens_to=(
        "user.registered.v1",
        "user.signed_in.v1",
        "product.changed.v1",
        "product.withdrawn.v1",
        "stock.changed.v1",
        "order.placed.v1",
        "order.cancelled.v1",
        "order.expired.v1",
    ),
    own={"PUBLIC_URL": "public_url"},
)
ORDERS = Part(
    name="orders",
    port=8104,
    calls=("accounts", "catalog", "cart", "payments"),
    publishes=(
        "order.placed.v1",
        "order.closing.v1",
        "order.paid.v1",
        "order.cancelled.v1",
        "order.expired.v1",
        "order.shipped.v1",
        "order.delivered.v1",
        "refund.requested.v1",
    ),
    listens_to=(
        "stock.committed.v1",
        "stock.commit_failed.v1",
        "stock.released.v1",
        "stock.returned.v1",
        "payment.captured.v1",
        "payment.failed.v1",
        "payment.intent_closed.v1",
        "refund.submitted.v1",
        "refund.processed.v1",
        "refund.failed.v1",
    ),
)
PAYMENTS = Part(
    name="payments",
    port=8105,
    calls=("accounts", "catalog", "cart", "orders"),
    publishes=(
        "payment.captured.v1",
        "payment.failed.v1",
        "payment.intent_closed.v1",
        "refund.submitted.v1",
        "refund.processed.v1",
        "refund.failed.v1",
    ),
    listens_to=(
        "order.placed.v1",
        "order.closing.v1",
        "order.cancelled.v1",
        "order.expired.v1",
        "refund.requested.v1",
    ),
    own={
        "RAZORPAY_BASE_URL": "simulator_url",
        "RAZORPAY_KEY_ID": "razorpay_key_id",
        "RAZORPAY_KEY_SECRET": "razorpay_key_secret",
        "RAZORPAY_WEBHOOK_SECRET": "webhook_secret",
        "SIMULATOR_PAGE_URL": "simulator_page_url",
    },
)
GATEWAY = Part(
    name="gateway",
    port=8000,
    calls=("accounts", "catalog", "cart", "orders", "payments"),
    has_database=False,
    has_worker=False,
    own={"PUBLIC_URL": "public_url"},
)

SERVICES = (ACCOUNTS, CATALOG, CART, ORDERS, PAYMENTS)
PARTS = (*SERVICES, GATEWAY)


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a part."""

    part: Part
    name: str
    role: str
    port: int
    management_port: int


NEXT_REPLICA = 10
"""Between the ports of two processes of the same part."""
MOST_REPLICAS = 9
WORKER = 200
"""Added to a part's port: the management port of its worker."""


def members(part: Part, *, replicas: int = 1, is_split: bool = False, shift: int = 0) -> list[Member]:
    """The processes of a part: so many that answer requests and, when it is split, one that only works.

    `shift` moves every port by the same amount, so that a second shop fits beside the first.
    """
    role = "web" if is_split else "all"
    ports = [part.port + shift + NEXT_REPLICA * number for number in range(replicas)]
    answering = [
        Member(part, part.name if replicas == 1 else f"{part.name}-{number}", role, port, port + MANAGEMENT)
        for number, port in enumerate(ports, start=1)
    ]
    if not is_split:
        return answering
    return [*answering, Member(part, f"{part.name}-worker", "worker", ports[0], part.port + shift + WORKER)]


def connections(processes: list[Member]) -> int:
    """What the database server must allow for these processes, and a few for people."""
    return CONNECTIONS * sum(process.part.has_database for process in processes) + 10
