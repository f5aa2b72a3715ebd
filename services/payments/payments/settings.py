"""Every environment variable of the payments service, besides those of the chassis."""

from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from chassis.settings import ServiceSettings, settings_config

RAZORPAY = "https://api.razorpay.com"


class PaymentsSettings(ServiceSettings):
    """Read from PAYMENTS_… variables."""

    model_config = settings_config("PAYMENTS_")

    service: ClassVar[str] = "payments"

    port: int = 8105
    management_port: int = 8205
    orders_url: str = "http://127.0.0.1:8104"
    catalog_url: str = "http://127.0.0.1:8102"
    cart_url: str = "http://127.0.0.1:8103"

    razorpay_base_url: str = RAZORPAY
    """Without /v1: the SDK adds it."""
    razorpay_key_id: str = ""
    razorpay_key_secret: SecretStr = SecretStr("")
    razorpay_webhook_secret: SecretStr = SecretStr("")
    razorpay_previous_webhook_secret: SecretStr | None = None
    """Events made before a change of secret are still signed with the old one."""
    razorpay_account_id: str = ""
    """Ours, acc_…: webhooks of any other merchant are kept and not applied. Empty: not checked."""
    simulator_page_url: str | None = None
    """The simulator's checkout page, in the demo."""
    provider_timeout: float = 10.0
    """Seconds the provider gets for one answer."""
    provider_threads: int = 8
    provider_pause: float = 5.0
    """Seconds for which a provider that failed five times in a row is left alone."""

    create_wait: float = 3.0
    """Seconds that POST /payments waits for the provider before it answers `preparing`."""
    create_lease: float = 30.0
    """Seconds that one creation at the provider may take before its outcome is looked up."""
    automatic_capture: int = Field(12, ge=12)
    """Minutes in which the provider captures by itself."""
    manual_capture: int = 60
    """Minutes after which an authorisation that nobody captured lapses."""
    attempt_patience: float = 15 * 60
    """Seconds that an attempt without an end keeps a closing payment open."""

    @model_validator(mode="after")
    def _keys_belong_to_the_place(self) -> Self:
        """A stand-in gets test keys only, and production nothing but Razorpay. Raises ValueError."""
        is_razorpay = urlsplit(self.razorpay_base_url).hostname == urlsplit(RAZORPAY).hostname
        if not is_razorpay and self.razorpay_key_id and not self.razorpay_key_id.startswith("rzp_test_"):
            raise ValueError("PAYMENTS_RAZORPAY_BASE_URL is not Razorpay's, so only a key rzp_test_… may go there")
        if self.env == "production":
            if not is_razorpay or self.simulator_page_url:
                raise ValueError("in production payments go to Razorpay itself")
            secrets = (self.razorpay_key_secret, self.razorpay_webhook_secret)
            if not (self.razorpay_key_id and all(secret.get_secret_value() for secret in secrets)):
                raise ValueError("PAYMENTS_RAZORPAY_KEY_ID, …_KEY_SECRET and …_WEBHOOK_SECRET must all be set")
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        """A look-up must not come before the last moment at which the creation could happen. Raises ValueError."""
        if self.create_lease <= 2 * self.provider_timeout:
            raise ValueError("PAYMENTS_CREATE_LEASE must be more than twice PAYMENTS_PROVIDER_TIMEOUT")
        if self.manual_capture < self.automatic_capture:
            raise ValueError("PAYMENTS_MANUAL_CAPTURE must not be less than PAYMENTS_AUTOMATIC_CAPTURE")
        return self

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that a webhook may be signed with, the present one first."""
        given = (self.razorpay_webhook_secret, self.razorpay_previous_webhook_secret)
        return tuple(secret.get_secret_value() for secret in given if secret and secret.get_secret_value())
