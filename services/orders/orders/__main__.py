"""`python -m orders [serve | migrate | openapi | events …]`."""

from chassis.command_line import main
from orders.app import build
from orders.settings import OrdersSettings

main(OrdersSettings, build)
