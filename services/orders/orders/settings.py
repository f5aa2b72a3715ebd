"""Every environment variable of this service, each with the prefix ORDERS_."""

from typing import ClassVar

from pydantic import Field

from chassis.settings import ServiceSettings, settings_config


class OrdersSettings(ServiceSettings):
    """The chassis' variables, where the other services are, and the clocks of the purchase."""

    model_config = settings_config("ORDERS_")

    service: ClassVar[str] = "orders"

    port: int = 8104
    management_port: int = 8204
    catalog_url: str = "http://127.0.0.1:8102"
    cart_url: str = "http://127.0.0.1:8103"
    payments_url: str = "http://127.0.0.1:8105"

    pay_window: float = Field(15 * 60, ge=0)
    """Seconds after placing in which a payment may be started."""
    pay_grace: float = Field(15 * 60, ge=0)
    """Seconds after the window that a payment under way may still take before the order begins to close."""
    closing_limit: float = Field(30 * 60, ge=0)
    """Seconds that a closing order waits for the provider's last word."""
    checkout_limit: float = Field(60, ge=0)
    """Seconds from the first look at an order until it must be written; a slower checkout is refused."""
