"""What an offer of catalog costs: the items of an order to be, and the totals that are charged."""

from typing import Any

from chassis.ids import new_id
from chassis.money import Money
from orders.models import OrderItem
from orders.neighbours import Offer
from orders.showing import item_view


def order_items(offer: Offer) -> list[OrderItem]:
    """The items of the order that this offer would become."""
    return [
        OrderItem(
            id=new_id(),
            position=position,
            price_at_purchase=item.unit_price,
            **item.model_dump(exclude={"unit_price"}),
        )
        for position, item in enumerate(offer.items)
    ]


def totals_of(items: list[OrderItem]) -> dict[str, int]:
    """Shipping, tax and discount have their place in every total, though nothing sets them yet."""
    amounts = {"subtotal": sum(item.line_total for item in items), "discount": 0, "shipping": 0, "tax": 0}
    total = amounts["subtotal"] - amounts["discount"] + amounts["shipping"] + amounts["tax"]
    return {**amounts, "total": total}


def quote(items: list[OrderItem], *, currency: str) -> dict[str, Any]:
    """Present prices, told when the total is not the one the shopper was shown."""
    told = {"variant_id", "product_id", "sku", "name", "quantity", "price_at_purchase", "line_total"}
    return {
        "currency": currency,
        "items": [item_view(item, currency).model_dump(mode="json", include=told) for item in items],
        "totals": {name: Money.of(amount, currency).model_dump() for name, amount in totals_of(items).items()},
    }
