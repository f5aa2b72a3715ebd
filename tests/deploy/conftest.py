"""What deploy/k8s renders to, once for all tests; without kubectl they are skipped, and in CI they fail."""

import os

import pytest

from tests.deploy.rendered import NOT_RENDERED, Rendered, Workshop, components, kubectl


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    if kubectl() is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NOT_RENDERED)
        pytest.skip(NOT_RENDERED)
    return Workshop.furnished(tmp_path_factory.mktemp("deploy"))


@pytest.fixture(scope="session")
def production(workshop: Workshop) -> Rendered:
    return workshop.render("overlays/production")


@pytest.fixture(scope="session")
def local(workshop: Workshop) -> Rendered:
    return workshop.render("overlays/local")


@pytest.fixture(scope="session")
def full(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Where every option that the files of production offer behind a "#" is switched on."""
    full = Workshop.furnished(tmp_path_factory.mktemp("full"))
    switched_on = {option for folder in FOLDERS for option in full.switch_on(folder)}
    assert switched_on == {str(full.place / "k8s" / option) for option in components()}
    return full


@pytest.fixture(scope="session")
def every_option(full: Workshop) -> Rendered:
    """Production with every option."""
    return full.render("overlays/production")


FOLDERS = (
    "overlays/production",
    *(f"overlays/production/{part}" for part in ("accounts", "catalog", "cart", "orders", "payments", "gateway")),
)
