"""What the shop's owner reads off a dashboard: people who came, counted when it is committed."""

from collections.abc import Callable, Mapping
from typing import Any

from accounts.events import SessionRevoked, UserRegistered, UserSignedIn
from chassis.events import Event
from chassis.telemetry import Metrics


def figures(metrics: Metrics) -> Mapping[type[Event], Callable[[Any], None]]:
    """The business counters of accounts."""
    registered = metrics.counter("haat_users_registered_total", "Accounts opened.")
    signed_in = metrics.counter("haat_sign_ins_total", "Sessions begun by somebody who has an account.")
    revoked = metrics.counter("haat_sessions_revoked_total", "Sessions ended before their time.")
    return {
        UserRegistered: lambda _: registered.inc(),
        UserSignedIn: lambda _: signed_in.inc(),
        SessionRevoked: lambda _: revoked.inc(),
    }
