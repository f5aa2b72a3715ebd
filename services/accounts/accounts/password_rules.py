"""Which passwords are refused because somebody would guess them, each with its reason.

Length is bounded where the request is read; no mixture of letters, digits and signs is demanded (NIST SP 800-63B).
"""

import re
import unicodedata
from difflib import SequenceMatcher
from importlib.resources import files

from accounts.errors import PasswordWeak
from chassis.problems import FieldError

SHORTEST_TELLING_PART = 4
"""Parts of a name or e-mail shorter than this say nothing when a password holds them."""
TOO_LIKE = 0.75
COMPARED = 128
"""Characters that are compared at most: one sign may stand for 18 (NFKC), and comparing costs their square."""

COMMON = frozenset(files("accounts").joinpath("data/common_passwords.txt").read_text().split())
"""The passwords that guessing starts with, in lower case."""


def refuse_weak(password: str, *, email: str, full_name: str, pointer: str) -> None:
    """Raises PasswordWeak with every reason at once."""
    plain = unicodedata.normalize("NFKC", password).casefold()
    errors = []
    if plain in COMMON or plain.rstrip("0123456789!?.") in COMMON:
        errors.append(FieldError(pointer, "password_common", "is among the first that anybody would guess"))
    if plain.isdigit():
        errors.append(FieldError(pointer, "password_all_digits", "needs something else beside digits"))
    if len(set(plain)) < 4:
        errors.append(FieldError(pointer, "password_repetitive", "needs more than three different characters"))
    if any(_is_like(plain, part) for part in _telling_parts(email)):
        errors.append(FieldError(pointer, "password_like_email", "is too like the e-mail address"))
    if any(_is_like(plain, part) for part in _telling_parts(full_name)):
        errors.append(FieldError(pointer, "password_like_name", "is too like the name"))
    if errors:
        raise PasswordWeak(errors)


def _telling_parts(source: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", source).casefold()
    whole = re.sub(r"\s", "", folded)
    return [part[:COMPARED] for part in {whole, *re.split(r"\W+|_", folded)} if len(part) >= SHORTEST_TELLING_PART]


def _is_like(password: str, part: str) -> bool:
    """Whether the part makes up most of the password, or the two differ in little."""
    if part in password and len(part) * 2 >= len(password):
        return True
    return SequenceMatcher(None, password[:COMPARED], part).ratio() >= TOO_LIKE
