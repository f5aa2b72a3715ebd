"""Every environment variable of the cart service, besides those of the chassis."""

from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from chassis.settings import ServiceSettings, settings_config


class CartSettings(ServiceSettings):
    """Read from CART_… variables."""

    service: ClassVar[str] = "cart"
    model_config = settings_config("CART_")

    port: int = 8103
    management_port: int = 8203
    catalog_url: str = "http://127.0.0.1:8102"
    currency: str = "INR"
    """The shop's one currency."""
    public_url: str = "http://127.0.0.1:8000"
    """Where shoppers reach the shop; the cart cookie is Secure when it is https."""
    cors_origins: str = ""
    """Origins of storefronts whose browsers may write with the cart cookie, separated by commas."""
    guest_cart_days: int = 30
    """Days after its last change that a guest's cart is kept."""

    @property
    def cookie_is_secure(self) -> bool:
        """Whether browsers may send the cart cookie over https only."""
        return self.public_url.startswith("https://")

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The listed origins and the shop's own."""
        public = urlsplit(self.public_url)
        listed = {origin.strip() for origin in self.cors_origins.split(",")}
        return frozenset({*listed, f"{public.scheme}://{public.netloc}"} - {""})

    @property
    def guest_cart_lifetime(self) -> timedelta:
        """How long an untouched guest cart and its cookie live."""
        return timedelta(days=self.guest_cart_days)
