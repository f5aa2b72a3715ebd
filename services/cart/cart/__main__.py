"""`python -m cart [serve | migrate | openapi | events …]`."""

from cart.app import build
from cart.settings import CartSettings
from chassis.command_line import main

main(CartSettings, build)
