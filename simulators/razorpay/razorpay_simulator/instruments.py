"""The cards and UPI ids of Razorpay's test mode, and what becomes of a payment made with each."""

from msgspec import Struct

from razorpay_simulator.records import PaymentError


class TestCard(Struct, frozen=True, kw_only=True):
    number: str
    label: str
    failure: str | None = None
    international: bool = False


def _card(number: str, label: str, failure: str | None = None, *, international: bool = False) -> TestCard:
    return TestCard(number=number.replace(" ", ""), label=label, failure=failure, international=international)


CARDS = {
    card.number: card
    for card in (
        _card("4100 2800 0000 1007", "Visa"),
        _card("5500 6700 0000 1002", "Mastercard"),
        _card("6527 6589 0000 1005", "RuPay"),
        _card("5555 5555 5555 4444", "Mastercard, international", international=True),
        _card("4012 8888 8888 1881", "Visa, international", international=True),
        _card("4100 2800 0008 0001", "Insufficient funds", "insufficient_fund"),
        _card("4100 2800 0006 0003", "Declined by the bank", "card_declined"),
        _card("4100 2800 0005 0004", "Declined by the bank", "card_declined"),
        _card("4100 2800 0004 0005", "Declined by the bank", "card_declined"),
        _card("4100 2800 0003 0006", "Not enabled for online payments", "card_disabled_for_online_payments"),
        _card("4100 2800 0007 0002", "Cancelled by the customer", "payment_cancelled"),
        _card("4100 2800 0009 0000", "Timed out", "payment_timed_out"),
        _card("4100 2800 0001 0008", "Invalid number", "card_number_invalid"),
        _card("4100 2800 0002 0007", "Technical error at the bank", "gateway_technical_error"),
        _card("4100 2800 0000 0009", "Authentication failed", "authentication_failed"),
    )
}

UPI_FAILURES = {"success@razorpay": None, "failure@razorpay": "payment_failed"}

_REASONS = {
    "payment_failed": (
        "bank",
        "payment_authorization",
        "Payment was unsuccessful. Try using another account or method.",
    ),
    "payment_timed_out": (
        "customer",
        "payment_authentication",
        "Payment was unsuccessful as it was not completed on time.",
    ),
    "insufficient_fund": (
        "customer",
        "payment_authorization",
        "Payment was unsuccessful due to insufficient funds.",
    ),
    "payment_cancelled": ("customer", "payment_authentication", "Payment was cancelled by the customer."),
    "card_declined": (
        "bank",
        "payment_authorization",
        "Payment was declined by the bank that issued the card.",
    ),
    "card_disabled_for_online_payments": (
        "bank",
        "payment_authorization",
        "Payment was unsuccessful as this card is not enabled for online payments.",
    ),
    "card_number_invalid": (
        "customer",
        "payment_initiation",
        "Payment was unsuccessful as the card number is not valid.",
    ),
    "incorrect_otp": (
        "customer",
        "payment_authentication",
        "Payment was unsuccessful as the OTP was not correct.",
    ),
    "gateway_technical_error": (
        "gateway",
        "payment_authorization",
        "Payment was unsuccessful due to a technical error.",
    ),
    "authentication_failed": (
        "gateway",
        "payment_authentication",
        "Payment was unsuccessful as authentication failed.",
    ),
}
REASONS = frozenset(_REASONS)
_GATEWAY_REASONS = {"gateway_technical_error", "authentication_failed"}


def failure(reason: str) -> PaymentError:
    source, step, description = _REASONS[reason]
    code = "GATEWAY_ERROR" if reason in _GATEWAY_REASONS else "BAD_REQUEST_ERROR"
    return PaymentError(code=code, description=description, source=source, step=step, reason=reason)


def network_of(number: str) -> str:
    return {"4": "Visa", "5": "MasterCard", "6": "RuPay"}.get(number[0], "Unknown")


def is_card_number(number: str) -> bool:
    """Any number whose check digit is right may be used; the documented ones may, whatever theirs is."""
    if number in CARDS:
        return True
    if not (number.isascii() and number.isdecimal() and 13 <= len(number) <= 19):
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
