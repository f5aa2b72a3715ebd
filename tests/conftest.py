"""One open shop for all tests of a worker: the embedded one, or the one that HAAT_URL and HAAT_SIMULATOR_URL name."""

import os
from collections.abc import AsyncIterator, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
import pytest

from tests.books import Books, opened_books
from tests.deploy.rendered import NOT_RENDERED
from tests.discretion import leaks, secrets_of
from tests.shop import Shop
from tests.shop_process import ShopProcess

LONG = ("simulation", "proof")
"""Folders whose files take a minute each: they begin first, so that none is left to one worker at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the order of the others stays."""
    items.sort(key=lambda item: not any(folder in item.path.parts for folder in LONG))


@pytest.fixture(scope="session")
def shop_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess | None]:
    """The embedded shop in a folder with spaces in its name; none when the tests aim at a shop elsewhere."""
    if "HAAT_URL" in os.environ:
        yield None
        return
    process = ShopProcess(Path(tmp_path_factory.mktemp("a folder with spaces")))
    try:
        process.open()
        yield process
        told = leaks(process.logs(), secrets=secrets_of(process.secrets()))
        process.close()
        assert told == [], "what the tests of this run brought along stands in the log"
    finally:
        process.kill()


@pytest.fixture(scope="session")
async def shop(shop_process: ShopProcess | None) -> AsyncIterator[Shop]:
    """The shop, over HTTP."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    # All shoppers share its connections; a jar that takes nothing keeps one's cart cookie from the next.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(timeout=30, limits=limits, cookies=no_cookies) as http:
        if shop_process is None:
            yield Shop(os.environ["HAAT_URL"].rstrip("/"), os.environ["HAAT_SIMULATOR_URL"].rstrip("/"), http)
        else:
            yield Shop(shop_process.gateway, shop_process.simulator, http, shop_process)


@pytest.fixture(scope="session")
def own_shop(shop: Shop) -> Shop:
    """For tests that look behind the counter or need what only a shop of our own may be asked."""
    if shop.process is None:
        pytest.skip("needs a shop of its own, not the one at HAAT_URL")
    return shop


@pytest.fixture
async def books(own_shop: Shop) -> AsyncIterator[Books]:
    """The five databases of the shop, read as they are at this moment."""
    assert own_shop.process is not None
    async with opened_books(own_shop.process.database_urls(), ledger=own_shop.ledger) as books:
        yield books


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not proven for want of a program must not look as if it were."""
    skipped = [report for report in terminalreporter.getreports("skipped") if NOT_RENDERED in str(report.longrepr)]
    if skipped:
        terminalreporter.config.add_cleanup(
            lambda: print(f"deploy/k8s {NOT_RENDERED}: {len(skipped)} tests not made. See requirements/kubectl.sh.")
        )
