"""What every process reads from its environment; each service adds its own variables in a subclass."""

import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import msgspec
from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

DEMO_SECRET = "haat-demo-"  # noqa: S105 - the mark of such secrets, not one of them
"""Every secret made for the demo carries this mark, so that production can refuse it."""


POSTGRESQL = ("postgresql://", "postgres://", "postgresql+asyncpg://")
"""How the address of a database may begin."""


class Role(StrEnum):
    """Which half of a service a process runs."""

    WEB = "web"
    """Answers requests."""
    WORKER = "worker"
    """Relays events, consumes messages, runs jobs."""
    ALL = "all"
    """Both."""


class NoSuchFolder(ValueError):
    """The secrets are not where they should be."""


class SettingsRefused(Exception):
    """One line for each variable that cannot be used. What a variable holds is not told: it may be a secret."""


REFUSED = 2
"""The exit status of a process whose settings were refused: starting it again would change nothing."""


def settings_config(prefix: str) -> SettingsConfigDict:
    """Settings read from variables that carry the service's name, so that five services share one environment."""
    return SettingsConfigDict(env_prefix=prefix, extra="ignore", hide_input_in_errors=True, populate_by_name=True)


class ServiceSettings(BaseSettings):
    """The variables of the chassis. Every name is prefixed with the service's own, e.g. CATALOG_DATABASE_URL."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, populate_by_name=True)

    service: ClassVar[str] = "service"

    env: Literal["development", "demo", "production"] = Field("development", validation_alias="HAAT_ENV")
    """One variable for all services. `demo` allows well-known users, `production` refuses them."""
    database_url: SecretStr = SecretStr("")
    """PostgreSQL, as postgresql://user:password@host:port/name."""
    read_database_url: SecretStr | None = None
    """A replica for hot reads; the primary when not given."""
    amqp_url: SecretStr | None = None
    """RabbitMQ, as amqp://user:password@host:port/vhost."""
    host: str = "127.0.0.1"
    port: int = Field(8100, ge=0, le=65535)
    management_port: int = Field(8200, ge=0, le=65535)
    """Where /livez, /readyz and /metrics are served; never the public port."""
    role: Role = Role.ALL
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    otlp_endpoint: str = Field("", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"))
    """A collector of traces, as http://host:4318; one variable for all services, and no tracing without it."""

    db_pool_size: int = 5
    db_max_overflow: int = 5
    read_pool_max: int = 8
    statement_timeout: float = 10.0
    """Seconds after which PostgreSQL gives up on a statement."""
    lock_timeout: float = 5.0
    """Seconds a statement waits for a lock."""
    drain_grace: float = 5.0
    """Seconds after SIGTERM in which a process that is no longer ready still answers: as long as whoever balances
    takes to see it, and longer than kept connections rest unused."""
    drain_timeout: float = 20.0
    """Seconds that requests and messages under way get at shutdown."""
    max_body: int = 64 * 1024
    """Bytes of a request body."""

    token_issuer: str = "haat"  # noqa: S105 - the name of the issuer, not a secret
    token_audience: str = "haat"  # noqa: S105 - the name of the audience, not a secret
    jwks: str | None = None
    """Public keys for access tokens as a JWKS document; fetched from accounts when not given."""
    accounts_url: str = "http://127.0.0.1:8101"
    service_key: SecretStr | None = None
    """Private JWK with which this service signs its calls to others; its kid starts with the service's name."""
    service_keys: str = '{"keys": []}'
    """Public JWKS of the services that may call this one."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file is read here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the folder is known only at run time
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables, then the files of the folder HAAT_SECRETS, each named like the variable it stands for."""
        folder = os.environ.get("HAAT_SECRETS")
        if folder and not Path(folder).is_dir():
            raise NoSuchFolder(f"HAAT_SECRETS names {folder}, which is not a folder")
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folder or None)

    @field_validator("jwks", "service_key", "service_keys", mode="before")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        """Raises ValueError for a key, or a set of keys, that is no JSON object."""
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            is_object = text is None or isinstance(msgspec.json.decode(text), dict)
        except msgspec.DecodeError:
            is_object = False
        if not is_object:
            raise ValueError("is not a JSON object")
        return value

    @field_validator("database_url", "read_database_url", "amqp_url")
    @classmethod
    def _leads_to_its_kind(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Raises ValueError for the address of something else. That there is none, who needs it refuses."""
        kind = ("amqp://", "amqps://") if info.field_name == "amqp_url" else POSTGRESQL
        if value and value.get_secret_value() and not value.get_secret_value().startswith(kind):
            raise ValueError(f"does not begin with {kind[0]}")
        return value

    @model_validator(mode="after")
    def _production_is_no_rehearsal(self) -> Self:
        """Raises ValueError for a secret that was made for the demo, and for what only tests may ask."""
        if self.env == "production":
            for name in type(self).model_fields:
                value = getattr(self, name)
                if isinstance(value, SecretStr) and DEMO_SECRET in value.get_secret_value():
                    raise ValueError(f"{self.service.upper()}_{name.upper()} was made for the demo")
            if os.environ.get("HAAT_CRASH_POINTS"):
                raise ValueError("HAAT_CRASH_POINTS kills processes; it is for tests")
        return self


_Settings = TypeVar("_Settings", bound=ServiceSettings)


def refuse_without(settings: ServiceSettings, names: Iterable[str]) -> None:
    """Raises SettingsRefused for those of these secrets that are not given: there is no default for them."""
    given = {name: getattr(settings, name) for name in names}
    missing = [name for name, secret in given.items() if not (secret and secret.get_secret_value())]
    if missing:
        raise SettingsRefused("\n".join(f"{settings.service.upper()}_{name.upper()}: is not set" for name in missing))


def read_settings(settings_class: Callable[..., _Settings], **given: Any) -> _Settings:
    """The settings of a process, from its environment and what is given. Raises SettingsRefused."""
    try:
        return settings_class(**given)
    except NoSuchFolder as error:
        raise SettingsRefused(str(error)) from error
    except ValidationError as error:
        prefix = getattr(settings_class, "model_config", {}).get("env_prefix", "")
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise SettingsRefused("\n".join(_told(item["loc"], item["msg"], prefix) for item in found)) from error


def _told(location: tuple[int | str, ...], message: str, prefix: str) -> str:
    """The variable and what is wrong with it. What concerns several names them itself."""
    message = message.removeprefix("Value error, ")
    name = str(location[0]) if location else ""
    if not name:
        return message
    return f"{name if name.isupper() else prefix + name.upper()}: {message}"
