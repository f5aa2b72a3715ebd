"""Ids as Razorpay makes them: a prefix for the kind, then fourteen case-sensitive letters and digits."""

import random
import re
import string

_ALPHABET = string.ascii_letters + string.digits
_DICE = random.SystemRandom()


def new_id(prefix: str) -> str:
    return f"{prefix}_{''.join(_DICE.choices(_ALPHABET, k=14))}"


def is_id(text: str, prefix: str) -> bool:
    return re.fullmatch(rf"{prefix}_[A-Za-z0-9]{{14}}", text, re.ASCII) is not None
