"""The fault menu: which call of which route, or which webhook, goes wrong and how."""

from typing import Literal, get_args

from msgspec import Struct

from razorpay_simulator.errors import InvalidField
from razorpay_simulator.store import Store

ApiAction = Literal[
    "delay",
    "delay_answer",
    "fail_before_commit",
    "fail_after_commit",
    "reset",
    "truncate",
    "trickle",
    "html",
    "rate_limit",
    "rate_limit_empty",
    "null_error",
    "redirect",
    "refuse",
    "stale",
    "webhook_first",
]
WebhookAction = Literal[
    "duplicate",
    "reorder",
    "delay",
    "drop",
    "forge",
    "tamper",
    "replay_next_day",
    "unknown_type",
    "oversize",
    "misplaced_created_at",
    "captured_flag",
]
API_ACTIONS: tuple[str, ...] = get_args(ApiAction)
WEBHOOK_ACTIONS: tuple[str, ...] = get_args(WebhookAction)


class FaultOrder(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line from the menu. It fires from the `nth` matching call on, `times` times; 0 means for ever."""

    route: str
    action: str
    nth: int = 1
    times: int = 1
    seconds: float = 1.0
    count: int = 2
    committed: bool | None = None
    status: int | None = None
    description: str | None = None
    event: str | None = None


class Fault(Struct, kw_only=True):
    id: int
    route: str
    action: str
    nth: int
    times: int
    seconds: float
    count: int
    committed: bool | None
    status: int | None
    description: str | None
    event: str | None
    seen: int = 0
    fired: int = 0

    def matches(self, route: str, event: str | None) -> bool:
        if self.route != route and not (self.route == "*" and route != "webhook"):
            return False
        return self.event is None or self.event == event

    def is_due(self, *, first: bool) -> bool:
        """Count the call; fire when it is this fault's turn and no other fault has taken the call."""
        self.seen += 1
        if not first or self.seen < self.nth or (self.times and self.fired >= self.times):
            return False
        self.fired += 1
        return True


class FaultMenu:
    """Kept in memory: a simulator that was started again behaves."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._pasts: dict[int, tuple[Store, float]] = {}
        self._made = 0

    def add(self, order: FaultOrder, *, routes: set[str], store: Store, now: float) -> Fault:
        _check(order, routes)
        self._made += 1
        fault = Fault(
            id=self._made,
            route=order.route,
            action=order.action,
            nth=order.nth,
            times=0 if order.action == "stale" else order.times,
            seconds=order.seconds,
            count=order.count,
            committed=order.committed,
            status=order.status,
            description=order.description,
            event=order.event,
        )
        if order.action == "stale":
            self._pasts[fault.id] = (store.snapshot(), now + order.seconds)
        self.faults.append(fault)
        return fault

    def take(self, route: str, *, event: str | None = None) -> Fault | None:
        """The fault this call runs into. Every matching fault counts the call; the first due one fires."""
        if not self.faults:
            return None
        firing = None
        for fault in self.faults:
            if fault.matches(route, event) and fault.is_due(first=firing is None):
                firing = fault
        return firing

    def past(self, fault: Fault, *, now: float) -> Store | None:
        """The ledger as a stale read sees it, until its time is over."""
        found = self._pasts.get(fault.id)
        if found is None:
            return None
        store, until = found
        if now <= until:
            return store
        self._forget(fault)
        return None

    def clear(self, fault_id: int | None = None) -> None:
        for fault in list(self.faults):
            if fault_id is None or fault.id == fault_id:
                self._forget(fault)

    def _forget(self, fault: Fault) -> None:
        self.faults.remove(fault)
        past = self._pasts.pop(fault.id, None)
        if past is not None:
            past[0].close()


def _check(order: FaultOrder, routes: set[str]) -> None:
    if order.route not in {"webhook", "*", *routes}:
        raise InvalidField(f"The route must be webhook, * or one of: {', '.join(sorted(routes))}.", field="route")
    actions = WEBHOOK_ACTIONS if order.route == "webhook" else API_ACTIONS
    if order.action not in actions:
        raise InvalidField(f"The action must be one of: {', '.join(actions)}.", field="action")
    if order.nth < 1 or order.times < 0 or not 1 <= order.count <= 100:
        raise InvalidField("The nth must be at least 1, times at least 0, count from 1 to 100.", field="nth")
    if not 0 <= order.seconds <= 30 * 86400:
        raise InvalidField("The seconds must be from 0 to 30 days.", field="seconds")
    if order.status is not None and not 200 <= order.status <= 599:
        raise InvalidField("The status must be from 200 to 599.", field="status")
