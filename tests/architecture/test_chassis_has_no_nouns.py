"""The chassis is mechanism. A word that a shopkeeper would use means that business has crept into it."""

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

SHOPKEEPERS_WORDS = {
    "basket",
    "buyer",
    "cart",
    "catalog",
    "catalogue",
    "checkout",
    "coupon",
    "discount",
    "invoice",
    "merchant",
    "order",
    "payment",
    "price",
    "product",
    "purchase",
    "razorpay",
    "refund",
    "shipment",
    "sku",
    "stock",
    "variant",
}
HARMLESS = {"order_by", "ORDER BY", "order by", '"checkout"'}
"""Sorting, and SQLAlchemy's name for lending a connection."""


def test_no_business_noun_is_in_the_chassis(root: Path, tracked: Sequence[Path]) -> None:
    chassis = root / "chassis" / "chassis"
    found = [
        f"{path.relative_to(root)}:{line} {word}"
        for path in tracked
        if path.suffix == ".py" and path.is_relative_to(chassis)
        for line, word in _words_in_code(path)
        if word in SHOPKEEPERS_WORDS or word.removesuffix("s") in SHOPKEEPERS_WORDS
    ]
    assert not found, "Business nouns in the chassis:\n" + "\n".join(found)


def _words_in_code(path: Path) -> Iterator[tuple[int, str]]:
    """Names and strings, each split into its words. What a docstring tells as an example is not code."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        is_docstring = token.type == tokenize.STRING and token.string.lstrip("rRbB").startswith('"""')
        if is_docstring or token.type not in {tokenize.NAME, tokenize.STRING}:
            continue
        text = token.string
        for harmless in HARMLESS:
            text = text.replace(harmless, " ")
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text):
            yield token.start[0], word.lower()
