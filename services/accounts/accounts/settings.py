"""Every environment variable of accounts, as ACCOUNTS_<NAME>."""

from typing import ClassVar

from pydantic import SecretStr

from chassis.settings import ServiceSettings, settings_config


class AccountsSettings(ServiceSettings):
    """What accounts reads from its environment beside the chassis' own variables."""

    model_config = settings_config("ACCOUNTS_")

    service: ClassVar[str] = "accounts"

    port: int = 8101
    management_port: int = 8201

    signing_keys: SecretStr = SecretStr("")
    """Private EC P-256 keys as a JWKS document. The first signs, all are published."""
    refresh_key: SecretStr = SecretStr("")
    """Secret of at least 32 characters from which the successor of a refresh token is derived."""

    access_lifetime: int = 600
    """Seconds an access token is good for."""
    session_lifetime: int = 30 * 86_400
    """Seconds after which somebody signs in again, however active."""
    session_idle: int = 14 * 86_400
    """Seconds without a refresh after which a session is over."""
    refresh_grace: float = 10.0
    """Seconds in which a spent refresh token still answers with its successor."""

    hashing_threads: int = 2
    """Passwords hashed at the same time."""
    hashing_queue: int = 64
    """Passwords waiting to be hashed before sign-in answers 503."""

    free_attempts_per_account: int = 5
    """Failed sign-ins of one account before the next has to wait."""
    free_attempts_per_address: int = 100
    """Failed sign-ins, or registrations of a taken e-mail, from one address before the next has to wait."""
    first_delay: int = 1
    """Seconds the first attempt beyond the free ones waits; each further failure doubles it."""
    longest_delay: int = 300
    """Seconds that nobody waits longer than, however many attempts failed."""
    attempts_half_life: int = 900
    """Seconds in which the count of failed attempts halves."""
