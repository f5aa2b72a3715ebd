"""How a name becomes a sort key, a slug and search words: the same on the way in and on the way back."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from uuid import UUID

MAX_WORDS = 8
MAX_WORD_LENGTH = 40

_ACCENTS = re.compile("[\u0300-\u036f]")
# Vowel signs of Indic scripts are marks, not letters, to Python: a word must not end at them.
_BETWEEN_WORDS = re.compile("(?:(?![\u0900-\u0dff])[\\W_])+")
_NOT_IN_SLUG = re.compile("[^a-z0-9]+")
_ID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed)).casefold()


def sort_key(name: str) -> str:
    """What names are ordered by: upper and lower case alike, and the same in every database, whatever its locale."""
    return unicodedata.normalize("NFKC", name).casefold()[:200]


def search_words(text: str) -> list[str]:
    """The words of a text, without accents, case and punctuation."""
    return [word[:MAX_WORD_LENGTH] for word in _BETWEEN_WORDS.split(_plain(text)) if word]


def search_text(*texts: str) -> str:
    """Texts as PostgreSQL's parser shall see them: plain words, so that "TSH-001" is "tsh" and "001"."""
    return " ".join(word for text in texts for word in search_words(text))


def dictionary_words(name: str) -> list[str]:
    """The words of a name worth correcting a typing mistake to, in a fixed order."""
    return sorted({word for word in search_words(name) if len(word) > 2 and not word.isdecimal()})


def slug_of(name: str) -> str:
    """A slug made from a name; empty when the name has no Latin letter or digit."""
    return _NOT_IN_SLUG.sub("-", _plain(name)).strip("-")[:80].strip("-")


def id_or_slug(text: str) -> tuple[str, UUID | str]:
    """The column a path names something by, and its value: what looks like an id is one, for no slug does."""
    return ("id", UUID(text)) if _ID.fullmatch(text) else ("slug", text)


def options_label(options: Mapping[str, str]) -> str:
    """How people call a variant among its siblings: "Blue / M"."""
    return " / ".join(options.values())


def variant_title(product_name: str, label: str) -> str:
    """How a variant is called in a cart and on an order."""
    return f"{product_name} ({label})" if label else product_name


def option_values(options: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Which values each option of a product takes, in the order of its variants."""
    values: dict[str, list[str]] = {}
    for chosen in options:
        for name, value in chosen.items():
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    return values
