"""Ids as Razorpay makes them: a prefix for the kind, then fourteen case-sensitive letters and digits."""

import re
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_LETTERS = 14
_POSSIBLE = len(_ALPHABET) ** _LETTERS


def new_id(prefix: str) -> str:
    """One number from the system's dice instead of one for each letter: a purchase makes nine ids."""
    number, letters = secrets.randbelow(_POSSIBLE), []
    for _ in range(_LETTERS):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return f"{prefix}_{''.join(letters)}"


def is_id(text: str, prefix: str) -> bool:
    return re.fullmatch(rf"{prefix}_[A-Za-z0-9]{{14}}", text, re.ASCII) is not None
