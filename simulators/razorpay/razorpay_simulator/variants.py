"""Where Razorpay's documents contradict each other or say nothing: both readings, switchable at run time."""

from typing import Literal

from msgspec import Struct


class Variants(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The defaults are what is most often seen. A client has to work with every other value as well."""

    empty_notes: Literal["list", "object"] = "list"
    created_status: Literal[200, 201] = 200
    bad_credentials_status: Literal[400, 401] = 401
    unknown_url_status: Literal[400, 404] = 404
    unknown_id_status: Literal[400, 404] = 400
    refund_key_mismatch_status: Literal[400, 409] = 409
    duplicate_receipt: Literal["allowed", "refused"] = "allowed"
    list_order: Literal["newest_first", "oldest_first"] = "newest_first"
    list_inside_parent_order: Literal["newest_first", "oldest_first"] = "oldest_first"
    empty_error_fields: Literal["null", "empty"] = "null"
    default_capture: Literal["automatic", "manual"] = "automatic"
    capture_window_days: Literal[3, 5] = 3
    smaller_capture: Literal["refused", "allowed"] = "refused"
    released_status: Literal["refunded", "failed"] = "refunded"
    late_second_payment: Literal["released", "captured"] = "released"
    refund_answer: Literal["processed", "pending"] = "processed"
    refund_outcome: Literal["processed", "failed"] = "processed"
    refund_seconds: int = 3600
    refunded_when: Literal["created", "processed"] = "created"
    payment_failed_webhook: Literal["sent", "missing"] = "sent"
    paid_event_order: Literal["payment_first", "order_first"] = "payment_first"
