"""Identifiers made by the application: time-ordered for new things, derived for repeatable ones."""

from uuid import UUID, uuid5

import uuid_utils


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): unique, and ascending with time, so that primary-key indexes grow at one end."""
    return UUID(int=uuid_utils.uuid7().int)


def derive_id(namespace: UUID, *parts: str) -> UUID:
    """The same UUIDv5 for the same parts, so that repeating an action names the same thing.

    Parts are length-prefixed: ("ab", "c") and ("a", "bc") differ.
    """
    return uuid5(namespace, "".join(f"{len(part)}:{part}" for part in parts))
