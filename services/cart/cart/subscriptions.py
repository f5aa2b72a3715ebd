"""What cart listens to: event → what cart reads of it → what happens."""

from cart import catalog_copy, merging, ordered_items
from cart.events import OrderClosed, OrderPlaced, ProductChanged, ProductWithdrawn, SignedIn, StockChanged
from chassis.events import Subscription

SUBSCRIPTIONS = (
    Subscription("user.registered.v1", SignedIn, merging.on_signed_in),
    Subscription("user.signed_in.v1", SignedIn, merging.on_signed_in),
    Subscription("product.changed.v1", ProductChanged, catalog_copy.on_product_changed),
    Subscription("product.withdrawn.v1", ProductWithdrawn, catalog_copy.on_product_withdrawn),
    Subscription("stock.changed.v1", StockChanged, catalog_copy.on_stock_changed),
    Subscription("order.placed.v1", OrderPlaced, ordered_items.on_order_placed),
    Subscription("order.cancelled.v1", OrderClosed, ordered_items.on_order_closed),
    Subscription("order.expired.v1", OrderClosed, ordered_items.on_order_closed),
)
