import json
from collections.abc import AsyncIterator

import pytest
from chassis.testing import Harness, Keys, ServiceFactory

from accounts.app import build
from accounts.keys import generate_signing_key
from accounts.settings import AccountsSettings


@pytest.fixture(scope="session")
def secrets(keys: Keys) -> dict[str, str]:
    """The secrets accounts starts with: two live signing keys, of which the kit's signs, so that its tokens count."""
    return {
        "signing_keys": json.dumps({"keys": [keys.user_key, generate_signing_key()]}),
        "refresh_key": "a secret for tests that is long enough",
    }


@pytest.fixture
async def accounts(service_factory: ServiceFactory, secrets: dict[str, str]) -> AsyncIterator[Harness]:
    async with service_factory(AccountsSettings, build, **secrets) as harness:
        yield harness
