"""What a spoiled webhook looks like on the wire. Most tricks spoil only the first try; the retry is honest."""

import hashlib
import hmac
from typing import Any

import msgspec

from razorpay_simulator.records import Delivery, Event

LASTING = {"misplaced_created_at", "captured_flag", "unknown_type"}
OVERSIZE_BYTES = 2 * 1024 * 1024


def signed_body(delivery: Delivery, event: Event) -> tuple[bytes, str]:
    """The body to send and its signature: hexadecimal HMAC-SHA256 over exactly these bytes."""
    body = event.body.encode()
    trick = delivery.trick if not delivery.attempts or delivery.trick in LASTING else None
    if trick is None:
        return body, signature_of(body, delivery.secret)
    if trick == "forge":
        return body, signature_of(body, f"not {delivery.secret}")
    if trick == "tamper":
        return _tampered(body), signature_of(body, delivery.secret)
    spoiled = _spoiled(body, trick)
    return spoiled, signature_of(spoiled, delivery.secret)


def signature_of(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _tampered(body: bytes) -> bytes:
    envelope = msgspec.json.decode(body)
    envelope["payload"]["payment"]["entity"]["amount"] += 100
    return msgspec.json.encode(envelope)


def _spoiled(body: bytes, trick: str) -> bytes:
    envelope: dict[str, Any] = msgspec.json.decode(body)
    payment = envelope["payload"]["payment"]["entity"]
    match trick:
        case "unknown_type":
            envelope["event"] = "payment.teleported"
        case "misplaced_created_at":
            envelope["payload"]["created_at"] = envelope.pop("created_at")
        case "captured_flag":
            payment["captured"] = True
        case "oversize":
            payment["notes"] = {"padding": "x" * OVERSIZE_BYTES}
        case _:
            return body
    return msgspec.json.encode(envelope)
