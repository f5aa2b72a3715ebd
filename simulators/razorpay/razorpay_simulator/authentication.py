"""HTTP Basic, as strict as Razorpay: the scheme is spelled `Basic`, then come key id and secret."""

import base64
import binascii
import hmac

from razorpay_simulator.errors import NotAuthenticated
from razorpay_simulator.provider import Provider


def authenticate(provider: Provider, authorization: str | None) -> None:
    status = provider.variants.bad_credentials_status
    if not authorization:
        raise NotAuthenticated("Please provide your api key for authentication purposes.", status=status)
    scheme, _, token = authorization.partition(" ")
    if scheme != "Basic":
        raise NotAuthenticated("Authentication failed", status=status)
    try:
        key_id, _, secret = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise NotAuthenticated("Authentication failed", status=status) from None
    if not hmac.compare_digest(key_id.encode(), provider.settings.key_id.encode()):
        raise NotAuthenticated("The api key provided is invalid", status=status)
    if not hmac.compare_digest(secret.encode(), provider.settings.key_secret.encode()):
        raise NotAuthenticated("Authentication failed", status=status)
