"""Every environment variable of the gateway."""

from typing import Annotated, Any, ClassVar

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode

from chassis.settings import ServiceSettings, settings_config
from gateway.limits import Allowance
from gateway.routes import LimitClass

Listed = Annotated[tuple[str, ...], NoDecode]
"""Written with commas in the environment."""


class GatewaySettings(ServiceSettings):
    """Variables start with GATEWAY_, but for CORS_ORIGINS."""

    model_config = settings_config("GATEWAY_")
    service: ClassVar[str] = "gateway"

    port: int = 8000
    management_port: int = 8100
    public_url: str = "http://127.0.0.1:8000"
    """How clients reach the shop; https turns HSTS on."""
    hosts: Listed = ("localhost", "127.0.0.1", "[::1]", "gateway")
    """Host names this shop answers to, each with any port unless it names one."""
    cors_origins: Listed = Field((), validation_alias=AliasChoices("CORS_ORIGINS", "cors_origins"))
    """Origins of storefronts on other hosts, exact, e.g. https://shop.example."""
    trusted_proxies: Listed = ()
    """Networks of proxies in front, e.g. 10.0.0.0/8, whose X-Forwarded-For is believed; none by default."""

    catalog_url: str = "http://127.0.0.1:8102"
    cart_url: str = "http://127.0.0.1:8103"
    orders_url: str = "http://127.0.0.1:8104"
    payments_url: str = "http://127.0.0.1:8105"

    head_timeout: float = 10.0
    """Seconds from connecting, or from a request's first byte, until its head is complete."""
    idle_timeout: float = 15.0
    """Seconds a kept connection may be silent between requests."""
    write_timeout: float = 30.0
    """Seconds a client may leave an answer unread."""

    max_in_flight: int = 100
    """Requests under way to one service; more are refused with 503."""
    breaker_failures: int = 5
    """Failures in a row after which a service is not asked for a moment."""
    breaker_pause: float = 2.0

    cache_size: int = Field(32 * 1024 * 1024, ge=0)
    """Bytes of public answers kept in this process; 0 keeps none."""

    limit_read: str = "3000/60"
    """Allowances as count/seconds, by user or, for anonymous callers, by address."""
    limit_write: str = "600/60"
    limit_sign_in: str = "30/60"
    """By address."""
    limit_password: str = "10/60"  # noqa: S105 - an allowance for password routes, not a secret
    """By address."""
    limit_bad_tokens: str = "60/60"
    """By address."""

    session_refresh: float = 30.0
    """Seconds between readings of the revoked sessions, in case an event was missed."""

    @field_validator("hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("hosts")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host.lower() for host in value)

    @field_validator("cors_origins")
    @classmethod
    def _exact(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, mark, host = origin.partition("://")
            if scheme not in ("http", "https") or not mark or not host or set(host) & set("/*?#"):
                raise ValueError(f"{origin!r} is not an origin like https://shop.example")
        return value

    @field_validator("limit_read", "limit_write", "limit_sign_in", "limit_password", "limit_bad_tokens")
    @classmethod
    def _readable(cls, value: str) -> str:
        Allowance.parse(value)
        return value

    def allowances(self) -> dict[LimitClass, Allowance]:
        """The allowance of each class of routes."""
        return {
            LimitClass.READ: Allowance.parse(self.limit_read),
            LimitClass.WRITE: Allowance.parse(self.limit_write),
            LimitClass.SIGN_IN: Allowance.parse(self.limit_sign_in),
            LimitClass.PASSWORD: Allowance.parse(self.limit_password),
        }
