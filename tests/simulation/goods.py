"""Who shops and what there is: few shoppers, and less of each variant than they may want."""

from uuid import UUID

from catalog.levels import Level

SHOPPERS = (UUID(int=0xA1), UUID(int=0xA2))
STAFF = UUID(int=0xB1)
VARIANTS = (UUID(int=0xC1), UUID(int=0xC2))
PRODUCT = UUID(int=0xD1)
ON_HAND = (2, 1)
PRICE = 49_900
OTHER_PRICES = (1_250, 1_250, 1_250, 0, 30)
"""Of the second variant: as a rule payable, but one may cost nothing, or less than the provider takes."""


def levels(other_price: int = OTHER_PRICES[0]) -> list[Level]:
    """The shelves at the beginning."""
    return [
        Level(
            variant_id=variant,
            product_id=PRODUCT,
            on_hand=on_hand,
            reserved=0,
            stock_version=1,
            low_stock_threshold=0,
            sku=f"SKU-{number}",
            product_name="Kurta",
            variant_name=f"{number}",
            unit_price=price,
            image_url=None,
            is_sellable=True,
        )
        for number, (variant, on_hand, price) in enumerate(
            zip(VARIANTS, ON_HAND, (PRICE, other_price), strict=True), start=1
        )
    ]
