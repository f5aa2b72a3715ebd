"""`python -m cart [serve | migrate | openapi]`."""

from cart.app import build
from cart.settings import CartSettings
from chassis.service import main

main(CartSettings, build)
