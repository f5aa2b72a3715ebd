"""The keys that sign access tokens: read from the setting, the first one signs, all are published.

To rotate: put the new key second, wait until everybody has fetched the key set (ten minutes are ample), swap the
two, and drop the old one when the last token that it signed has expired.
"""

import hashlib
import json
from typing import Any

import msgspec
from jwt.algorithms import ECAlgorithm
from jwt.exceptions import InvalidKeyError

from chassis.auth import TokenSigner, generate_key, jwks, public_part
from chassis.settings import SettingsRefused


class SigningKeysInvalid(SettingsRefused):
    """ACCOUNTS_SIGNING_KEYS does not hold what tokens can be signed with."""


def generate_signing_key() -> dict[str, Any]:
    """A new private P-256 JWK; its `kid` is its RFC 7638 thumbprint."""
    key = generate_key("")
    return {**key, "kid": _thumbprint(key)}


def _thumbprint(key: dict[str, Any]) -> str:
    members = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return hashlib.sha256(members.encode()).hexdigest()[:32]


class SigningKeys:
    """The private keys of the setting. They are read at start, so that documents can be made without them."""

    def __init__(self, document: str, *, issuer: str) -> None:
        self._document = document
        self._issuer = issuer
        self._signers: list[TokenSigner] = []
        self.public_jwks = b'{"keys":[]}'
        """The document served at /.well-known/jwks.json."""

    def load(self) -> None:
        """Read the setting. Raises SigningKeysInvalid, which never quotes a key."""
        keys = _parsed(self._document)
        if not keys or len({key.get("kid") for key in keys}) != len(keys):
            raise SigningKeysInvalid("ACCOUNTS_SIGNING_KEYS needs one key or more, each with a kid of its own.")
        self._signers = _signers(keys, issuer=self._issuer)
        self.public_jwks = jwks(keys)

    @property
    def signer(self) -> TokenSigner:
        """The first key."""
        return self._signers[0]


def _parsed(document: str) -> list[dict[str, Any]]:
    try:
        parsed = msgspec.json.decode(document, type=dict[str, list[dict[str, Any]]])
    except msgspec.MsgspecError:
        raise SigningKeysInvalid("ACCOUNTS_SIGNING_KEYS needs a JWKS document of private keys.") from None
    return parsed.get("keys", [])


def _signers(keys: list[dict[str, Any]], *, issuer: str) -> list[TokenSigner]:
    for key in keys:
        if key.get("kty") != "EC" or key.get("crv") != "P-256" or "d" not in key or not key.get("kid"):
            raise SigningKeysInvalid("Every key of ACCOUNTS_SIGNING_KEYS is a private EC P-256 key with a kid.")
    try:
        for key in keys:
            ECAlgorithm(ECAlgorithm.SHA256).from_jwk(public_part(key))
        return [TokenSigner(key, issuer=issuer) for key in keys]
    except (InvalidKeyError, ValueError, TypeError):
        raise SigningKeysInvalid("A key of ACCOUNTS_SIGNING_KEYS is damaged.") from None
