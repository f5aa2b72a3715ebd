"""What every process reads from its environment; each service adds its own variables in a subclass."""

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Role(StrEnum):
    """Which half of a service a process runs."""

    WEB = "web"
    """Answers requests."""
    WORKER = "worker"
    """Relays events, consumes messages, runs jobs."""
    ALL = "all"
    """Both."""


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
    port: int = 8100
    management_port: int = 8200
    """Where /livez, /readyz and /metrics are served; never the public port."""
    role: Role = Role.ALL
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    db_pool_size: int = 5
    db_max_overflow: int = 5
    read_pool_max: int = 8
    statement_timeout: float = 10.0
    """Seconds after which PostgreSQL gives up on a statement."""
    lock_timeout: float = 5.0
    """Seconds a statement waits for a lock."""
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
