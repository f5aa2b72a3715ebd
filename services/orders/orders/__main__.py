"""`python -m orders [serve | migrate | openapi]`."""

from chassis.service import main
from orders.app import build
from orders.settings import OrdersSettings

main(OrdersSettings, build)
