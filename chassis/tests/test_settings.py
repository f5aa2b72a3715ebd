"""Where secrets may come from, and which of them production refuses to start with."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from chassis.settings import (
    DEMO_SECRET,
    NoSuchFolder,
    ServiceSettings,
    SettingsRefused,
    read_settings,
    settings_config,
)


class ToySettings(ServiceSettings):
    model_config = settings_config("TOY_")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HAAT_SECRETS."""
    monkeypatch.setenv("HAAT_SECRETS", str(tmp_path))
    return tmp_path


def test_a_secret_may_stand_in_a_file_named_like_its_variable(folder: Path) -> None:
    (folder / "TOY_DATABASE_URL").write_text("postgresql://toy:secret@db/toy\n")
    (folder / "HAAT_ENV").write_text("production")
    settings = ToySettings()
    assert settings.database_url.get_secret_value() == "postgresql://toy:secret@db/toy"
    assert settings.env == "production"


def test_secrets_are_read_as_kubernetes_lays_them_behind_links(folder: Path) -> None:
    """Each version of a Secret is a folder of its own, and one link is turned when all of it is there."""
    version = folder / "..2026_11_28_12_00_00.1"
    version.mkdir()
    (version / "TOY_DATABASE_URL").write_text("postgresql://toy:secret@db/toy")
    (folder / "..data").symlink_to(version.name)
    (folder / "TOY_DATABASE_URL").symlink_to(Path("..data") / "TOY_DATABASE_URL")
    assert ToySettings().database_url.get_secret_value() == "postgresql://toy:secret@db/toy"


def test_a_variable_goes_before_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "TOY_AMQP_URL").write_text("amqp://from-the-file")
    monkeypatch.setenv("TOY_AMQP_URL", "amqp://from-the-variable")
    settings = ToySettings()
    assert settings.amqp_url is not None
    assert settings.amqp_url.get_secret_value() == "amqp://from-the-variable"


def test_a_folder_that_is_not_there_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAAT_SECRETS", "/nowhere")
    with pytest.raises(NoSuchFolder, match="/nowhere"):
        ToySettings()


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("database_url", "postgresql://toy:{}@db/toy"),
        ("amqp_url", "amqp://toy:{}@broker"),
        ("service_key", '{{"kid": "{}"}}'),
    ],
)
def test_production_refuses_what_was_made_for_the_demo(name: str, template: str) -> None:
    secret = SecretStr(template.format(f"before{DEMO_SECRET}abc-after"))
    with pytest.raises(ValidationError, match=f"SERVICE_{name.upper()} was made for the demo") as refused:
        ServiceSettings.model_validate({"env": "production", name: secret})
    assert "abc" not in str(refused.value)
    assert ServiceSettings.model_validate({"env": "demo", name: secret}).env == "demo"


def test_each_variable_that_cannot_be_used_is_told_in_one_line_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HAAT_ENV", "prod")
    monkeypatch.setenv("TOY_PORT", "not-8100")
    monkeypatch.setenv("TOY_SERVICE_KEY", "a secret, not a key")
    with pytest.raises(SettingsRefused) as refused:
        read_settings(ToySettings)
    told = str(refused.value)
    assert [line.partition(":")[0] for line in told.splitlines()] == ["HAAT_ENV", "TOY_PORT", "TOY_SERVICE_KEY"]
    assert "secret" not in told.lower().replace("toy_service_key", "")
    assert "not-8100" not in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TOY_DATABASE_URL", "mysql://toy:secret@db/toy"), ("TOY_AMQP_URL", "broker:5672"), ("TOY_PORT", "80000")],
)
def test_a_variable_that_leads_nowhere_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsRefused, match=rf"^{variable}: ") as refused:
        read_settings(ToySettings)
    assert value not in str(refused.value)


def test_what_concerns_several_variables_is_told_in_one_line_too(folder: Path) -> None:
    (folder / "HAAT_ENV").write_text("production")
    (folder / "TOY_AMQP_URL").write_text(f"amqp://toy:{DEMO_SECRET}abc@broker")
    with pytest.raises(SettingsRefused, match=r"^SERVICE_AMQP_URL was made for the demo$"):
        read_settings(ToySettings)
