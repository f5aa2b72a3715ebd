"""The environment variables of catalog, beside the chassis' own (all prefixed CATALOG_)."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from chassis.settings import ServiceSettings, settings_config


class CatalogSettings(ServiceSettings):
    """What an operator may set."""

    service: ClassVar[str] = "catalog"
    model_config = settings_config("CATALOG_")

    port: int = 8102
    management_port: int = 8202
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] = "INR"
    """The shop's one currency (ISO 4217). Amounts are stored without it: to change it means to price anew."""
    orders_url: str = "http://127.0.0.1:8104"
    orphan_hold_after: Annotated[float, Field(gt=0)] = 120.0
    """Seconds after which a hold that no order has confirmed is questioned."""
    hold_expires_after: Annotated[float, Field(gt=0)] = 90 * 60.0
    """Seconds after which a confirmed hold is questioned: by then its order has been paid or closed."""
    seed_size: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """How many products `python -m catalog seed` fills in; 0 for the demo shop of some 300."""
