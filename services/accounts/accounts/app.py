"""The composition root: settings → front desk → routes → jobs → service."""

from accounts.api import keys_router, router
from accounts.errors import PROBLEMS
from accounts.events import EVENTS
from accounts.figures import figures
from accounts.front_desk import front_desk
from accounts.internal import internal
from accounts.jobs import jobs
from accounts.keys import SigningKeys
from accounts.settings import AccountsSettings
from chassis.auth import KeySet
from chassis.clients import Upstreams
from chassis.events import Bus
from chassis.operations import operations_router
from chassis.service import Service
from chassis.settings import SettingsRefused

SHORTEST_REFRESH_KEY = 32


class RefreshKeyTooShort(SettingsRefused):
    """ACCOUNTS_REFRESH_KEY could be guessed."""


OPERATIONS = operations_router(jobs_for=("payments",), events_for=("orders",))


def build(settings: AccountsSettings, bus: Bus, upstreams: Upstreams) -> Service:
    """Put accounts together. It verifies tokens with the keys it signs with, so it fetches none."""
    keys = SigningKeys(settings.signing_keys.get_secret_value(), issuer=settings.token_issuer)
    desk = front_desk(settings, keys)
    verified_with = KeySet()

    async def load_secrets() -> None:
        if len(settings.refresh_key.get_secret_value()) < SHORTEST_REFRESH_KEY:
            raise RefreshKeyTooShort(f"ACCOUNTS_REFRESH_KEY needs {SHORTEST_REFRESH_KEY} characters or more.")
        keys.load()
        verified_with.replace(keys.public_jwks)

    async def close_pool() -> None:
        desk.hashing.close()

    return Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        routers=(router, keys_router, internal, OPERATIONS),
        jobs=jobs(desk.issuer),
        events=EVENTS,
        problems=PROBLEMS,
        figures=figures,
        state={"desk": desk, "keys": keys},
        keys=verified_with,
        on_start=(load_secrets,),
        on_stop=(close_pool,),
    )
