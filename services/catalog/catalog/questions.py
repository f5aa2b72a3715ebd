"""What can be asked of the product list, and how a question becomes conditions in SQL.

The text of a statement depends only on which filters are used, never on their values, so each form is prepared once.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from catalog.wording import MAX_WORDS, id_or_slug, search_words


class Ordering(StrEnum):
    """The orders of the product list."""

    PRICE = "price"
    PRICE_DESCENDING = "-price"
    NAME = "name"
    NAME_DESCENDING = "-name"
    CREATED_AT = "created_at"
    CREATED_AT_DESCENDING = "-created_at"
    RELEVANCE = "relevance"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductQuestion:
    """What the caller asks of the product list."""

    search: str | None = None
    category: str | None = None
    min_price: int | None = None
    max_price: int | None = None
    in_stock: bool | None = None
    featured: bool | None = None
    is_active: bool | None = True
    ordering: Ordering = Ordering.CREATED_AT_DESCENDING
    limit: int = 50
    cursor: str | None = None
    count: bool = False
    facets: bool = False
    corrected: str | None = None
    """The search as a tsquery, after a typing mistake was corrected."""

    @property
    def scope(self) -> str:
        """What a cursor is bound to: everything that decides which items come in which order."""
        filters = (self.search, self.category, self.min_price, self.max_price)
        flags = (self.in_stock, self.featured, self.is_active)
        return f"products {self.ordering} {filters!r} {flags!r}"


_BELOW = """below AS MATERIALIZED (
    SELECT c.id FROM categories root JOIN categories c ON c.ancestor_ids @> ARRAY[root.id] WHERE {key} = {value}
)"""


@dataclass(slots=True)
class Conditions:
    """Conditions on `products p`, the tables they need in front, and the values they speak of."""

    tables: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=lambda: ["p.deleted_at IS NULL"])
    values: list[Any] = field(default_factory=list)
    words: str = ""
    """The search as an SQL expression."""

    def value(self, value: Any) -> str:
        """The placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def require(self, column: str, wanted: bool | None) -> None:  # noqa: FBT001 - it is the value of the filter
        """A column that must be true, or false, or may be either."""
        if wanted is not None:
            self.texts.append(column if wanted else f"NOT {column}")

    @property
    def where(self) -> str:
        """All conditions."""
        return " AND ".join(self.texts)

    @property
    def with_tables(self) -> str:
        """The WITH clause, if any."""
        return f"WITH {', '.join(self.tables)}" if self.tables else ""


def conditions(question: ProductQuestion, *, category: bool = True, price: bool = True) -> Conditions:
    """The conditions of a question; a facet leaves out its own filter.

    The category only makes the table `below` of its subtree: how it is used differs between statements.
    """
    made = Conditions()
    made.require("p.is_active", question.is_active)
    made.require("p.in_stock", question.in_stock)
    made.require("p.is_featured", question.featured)
    if price and question.min_price is not None:
        made.texts.append(f"p.price >= {made.value(question.min_price)}")
    if price and question.max_price is not None:
        made.texts.append(f"p.price <= {made.value(question.max_price)}")
    if category and question.category is not None:
        key, value = id_or_slug(question.category)
        made.tables.append(_BELOW.format(key=f"root.{key}", value=made.value(value)))
    if question.search is not None:
        made.words = _words(question, made)
        made.texts.append(f"p.search_vector @@ {made.words}")
    return made


def within(made: Conditions, question: ProductQuestion) -> str:
    """All conditions, with the category's subtree as one of them."""
    if question.category is None:
        return made.where
    return f"{made.where} AND p.category_id IN (SELECT id FROM below)"  # noqa: S608 - placeholders


def _words(question: ProductQuestion, made: Conditions) -> str:
    """All words, the last one also as the beginning of a longer one: the shopper may still be typing."""
    if question.corrected is not None:
        return f"({made.value(question.corrected)}::text::tsquery)"
    *first, last = search_words(question.search or "")[:MAX_WORDS]
    prefix, whole = made.value(f"'{last}':*"), made.value(last)
    beginning = f"to_tsquery('simple', {prefix}) || plainto_tsquery('english', {whole})"
    if not first:
        return f"({beginning})"
    return f"(plainto_tsquery('english', {made.value(' '.join(first))}) && ({beginning}))"
