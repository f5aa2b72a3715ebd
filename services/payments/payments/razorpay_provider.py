"""Razorpay through its official SDK, made safe to call from an event loop.

The SDK blocks, has no time-out, follows redirects, may repeat a POST, loses the HTTP status, puts ids into paths
unchecked and writes into a shared default argument of `capture`. So: a bounded pool of threads with a client each, a
session of our own that limits the whole answer and keeps its status, ids checked before they reach a path, a fresh
dict for every call, and every way to fail mapped to one of three errors that say what may have happened.
"""

import asyncio
import functools
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

from chassis.clients import Breaker
from chassis.crash_points import crash_point
from chassis.telemetry import get_logger
from payments.provider import (
    PAGE,
    OrderLabels,
    OutcomeUnknown,
    ProviderError,
    ProviderPayment,
    ProviderRefund,
    ProviderRefused,
    ProviderUnreachable,
    UnknownToProvider,
    as_payment,
    as_refund,
    checked_id,
)
from payments.settings import PaymentsSettings

if TYPE_CHECKING:
    import razorpay
    import requests

Action: TypeAlias = "Callable[[razorpay.Client, dict[str, Any]], Any]"

CONNECT_TIMEOUT = 3.0
LARGEST_ANSWER = 4 * 1024 * 1024
_NOT_DEFINITE = (408, 409, 425, 429)
_NO_SUCH_ID = "id provided does not exist"
"""In the description: the status is that of any other refusal (Razorpay, fetch an order with id)."""
_MISREAD = (ValueError, TypeError, KeyError, AttributeError)
"""What the SDK raises over truncated or HTML bodies and errors without the documented members."""


class RazorpayProvider:
    """Implements `Provider`."""

    def __init__(self, settings: PaymentsSettings) -> None:
        self._settings = settings
        self._secret = settings.razorpay_key_secret.get_secret_value()
        self._pool = ThreadPoolExecutor(settings.provider_threads, thread_name_prefix="razorpay")
        # As many may wait as are served; beyond that it is better to fail at once than to queue without end.
        self._places = threading.BoundedSemaphore(settings.provider_threads * 2)
        self._mine = threading.local()
        self._breaker = Breaker(failures=5, pause=settings.provider_pause)

    async def create_order(self, *, receipt: str, amount: int, currency: str, notes: dict[str, str]) -> str:
        """Automatic capture inside the window; whatever is authorised later needs our decision."""
        settings = self._settings
        capture_options = {
            "automatic_expiry_period": settings.automatic_capture,
            "manual_expiry_period": settings.manual_capture,
            "refund_speed": "normal",
        }
        order = {
            "amount": amount,
            "currency": currency,
            "receipt": receipt,
            "notes": notes,
            "payment": {"capture": "automatic", "capture_options": capture_options},
        }
        answer = await self._call(lambda client, options: client.order.create(order, **options))
        return checked_id(answer.get("id"), kind="order")

    async def orders_of(self, receipt: str) -> list[str]:
        """By receipt, which is a search key and no more."""
        query = {"receipt": receipt, "count": PAGE}
        answer = await self._call(lambda client, options: client.order.all(query, **options))
        return [checked_id(item.get("id"), kind="order") for item in _items(answer) if item.get("receipt") == receipt]

    async def labels_of(self, order_id: str) -> OrderLabels:
        """Without any the notes come as a list."""
        known = checked_id(order_id, kind="order")
        answer = await self._call(lambda client, options: client.order.fetch(known, **options))
        if answer.get("id") != known:
            raise OutcomeUnknown("the provider answered with another order")
        receipt, notes = answer.get("receipt"), answer.get("notes")
        return OrderLabels(
            receipt=receipt if isinstance(receipt, str) else None,
            notes={name: str(note) for name, note in notes.items()} if isinstance(notes, dict) else {},
        )

    async def payments_of(self, order_id: str) -> list[ProviderPayment]:
        """Every attempt at an order."""
        known = checked_id(order_id, kind="order")
        answer = await self._call(lambda client, options: client.order.payments(known, **options))
        return [as_payment(item) for item in _items(answer)]

    async def payment(self, payment_id: str) -> ProviderPayment:
        """One attempt."""
        known = checked_id(payment_id, kind="pay")
        answer = await self._call(lambda client, options: client.payment.fetch(known, **options))
        return _about(known, as_payment(answer))

    async def payments_since(self, since: int, *, skip: int) -> list[ProviderPayment]:
        """Of all orders, by the time of the attempt."""
        query = {"from": since, "count": PAGE, "skip": skip}
        answer = await self._call(lambda client, options: client.payment.all(query, **options))
        return [as_payment(item) for item in _items(answer)]

    async def capture(self, payment_id: str, *, amount: int, currency: str) -> ProviderPayment:
        """Take authorised money."""
        known, data = checked_id(payment_id, kind="pay"), {"currency": currency}
        answer = await self._call(lambda client, options: client.payment.capture(known, amount, data, **options))
        return _about(known, as_payment(answer))

    async def refund(self, payment_id: str, *, key: str, body: str) -> ProviderRefund:
        """The key and the byte-identical body make it one refund however often it is sent."""
        known, data = checked_id(payment_id, kind="pay"), json.loads(body)
        headers = {"X-Refund-Idempotency": key}
        answer = await self._call(
            lambda client, options: client.payment.refund(known, data, headers=dict(headers), **options)
        )
        refund = as_refund(answer)
        if refund.payment_id != known:
            raise OutcomeUnknown("the provider answered with a refund of another payment")
        return refund

    async def refunds_of(self, payment_id: str) -> list[ProviderRefund]:
        """Every refund of an attempt."""
        known, query = checked_id(payment_id, kind="pay"), {"count": PAGE}
        answer = await self._call(lambda client, options: client.payment.fetch_multiple_refund(known, query, **options))
        refunds = [as_refund(item) for item in _items(answer)]
        if any(refund.payment_id != known for refund in refunds):
            raise OutcomeUnknown("the provider answered with refunds of another payment")
        return refunds

    async def refunds_since(self, since: int, *, skip: int) -> list[ProviderRefund]:
        """Of all payments, by the time of the refund."""
        query = {"from": since, "count": PAGE, "skip": skip}
        answer = await self._call(lambda client, options: client.refund.all(query, **options))
        return [as_refund(item) for item in _items(answer)]

    def proves_handshake(self, *, order_id: str, payment_id: str, signature: str) -> bool:
        """HMAC-SHA256 of `order|payment` under the key secret (Razorpay, integration steps §1.4)."""
        message = f"{order_id}|{payment_id}".encode()
        expected = hmac.new(self._secret.encode(), message, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.encode())

    async def close(self) -> None:
        """Do not wait for a thread that waits for the provider: what it does is repeatable."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _call(self, action: Action) -> dict[str, Any]:
        if self._breaker.is_open or not self._places.acquire(blocking=False):
            raise ProviderUnreachable("The provider failed repeatedly, or too many calls wait for it.")

        def run() -> dict[str, Any]:
            try:
                return self._run(action)
            finally:
                self._places.release()

        try:
            answer = asyncio.get_running_loop().run_in_executor(self._pool, run)
        except RuntimeError as error:
            self._places.release()
            raise ProviderUnreachable("This process is ending.") from error
        # A cancelled request must not look as if the call had not happened: the thread goes on, and so does this.
        return await asyncio.shield(answer)

    def _run(self, action: Action) -> dict[str, Any]:
        """In a thread. Raises one of the three errors, and tells the breaker."""
        self._mine.status = None
        try:
            answer = self._ask(action)
        except ProviderRefused:
            self._breaker.succeeded()
            raise
        except ProviderError:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return answer

    def _ask(self, action: Action) -> dict[str, Any]:
        import requests
        import urllib3
        from razorpay import errors as sdk

        options = {"timeout": (CONNECT_TIMEOUT, self._settings.provider_timeout), "allow_redirects": False}
        try:
            crash_point("provider.before")
            answer = action(self._client(), options)
            crash_point("provider.after")
        except requests.ConnectionError as error:
            raise _connection_problem(error) from error
        except (sdk.BadRequestError, sdk.GatewayError, sdk.ServerError) as error:
            raise self._answered(error, is_refusal=isinstance(error, sdk.BadRequestError)) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, *_MISREAD) as error:
            raise OutcomeUnknown(f"{type(error).__name__}, status {self._mine.status}") from error
        if not isinstance(answer, dict):
            raise OutcomeUnknown("the answer is no JSON object")
        return answer

    def _answered(self, error: Exception, *, is_refusal: bool) -> ProviderError:
        """The SDK's exception with the meaning of the status it lost. A no that we cannot read is not definite."""
        status, description = self._mine.status or 0, str(error)[:300]
        if status in (401, 403):
            get_logger().error("provider does not accept our key", status=status)
            return ProviderUnreachable(f"status {status}: {description}")
        if is_refusal and 400 <= status < 500 and status not in _NOT_DEFINITE:
            return UnknownToProvider(description) if _NO_SUCH_ID in description else ProviderRefused(description)
        return OutcomeUnknown(f"status {status}: {description}")

    def _client(self) -> "razorpay.Client":
        """This thread's client: neither it nor its session is promised to be thread-safe."""
        client = getattr(self._mine, "client", None)
        if client is None:
            import razorpay

            settings = self._settings
            client = self._mine.client = razorpay.Client(
                session=self._session(),
                auth=(settings.razorpay_key_id, self._secret),
                base_url=settings.razorpay_base_url,
            )
            # The SDK would read its package's metadata from disk for each call: a quarter of what a call costs.
            client._get_version = functools.cache(client._get_version)  # noqa: SLF001 - no public way to say it once
        return client

    def _session(self) -> "requests.Session":
        import requests
        from requests.adapters import HTTPAdapter

        def read_in_time(response: requests.Response, *_args: object, **_options: object) -> None:
            """The time-out of `requests` begins anew with every byte; an answer in drops would hold its thread."""
            self._mine.status = response.status_code
            give_up, body = time.monotonic() + self._settings.provider_timeout, bytearray()
            while chunk := response.raw.read1(LARGEST_ANSWER, decode_content=True):
                body += chunk
                if time.monotonic() > give_up or len(body) > LARGEST_ANSWER:
                    response.raw.close()
                    raise requests.ReadTimeout("the answer is too slow or too long")
            response.raw.release_conn()
            response._content = bytes(body)  # noqa: SLF001 - what `Response.content` would have read and kept

        session = requests.Session()
        session.trust_env = False
        session.hooks["response"].append(read_in_time)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=1))
        return session


def _connection_problem(error: Exception) -> ProviderError:
    """Not connected at all, or broken after something was sent."""
    import requests
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError | NameResolutionError):
        return ProviderUnreachable(f"no connection: {type(reason or error).__name__}")
    return OutcomeUnknown(type(error).__name__)


def _about(payment_id: str, seen: ProviderPayment) -> ProviderPayment:
    if seen.id != payment_id:
        raise OutcomeUnknown("the provider answered with another payment")
    return seen


def _items(answer: dict[str, Any]) -> list[dict[str, Any]]:
    items = answer.get("items")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise OutcomeUnknown("not a collection")
    return items
