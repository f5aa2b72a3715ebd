"""Razorpay through its official SDK, made safe to call from an event loop.

The SDK blocks, has no time-out, follows redirects, may repeat a POST, loses the HTTP status, puts ids into paths
unchecked and writes into a shared default argument of `capture`. So: a bounded pool of threads with a client each, a
session of our own that sets a time-out and keeps the status, ids checked before they reach a path, a fresh dict for
every call, and every way to fail mapped to one of three errors that say what may have happened.
"""

import asyncio
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from chassis.clients import Breaker
from chassis.telemetry import get_logger
from payments.provider import (
    OutcomeUnknown,
    ProviderPayment,
    ProviderRefund,
    ProviderRefused,
    ProviderUnreachable,
    as_payment,
    as_refund,
)
from payments.settings import PaymentsSettings

if TYPE_CHECKING:
    import razorpay
    import requests

Result = TypeVar("Result")

CONNECT_TIMEOUT = 3.0
_ID = re.compile(r"(order|pay|rfnd)_[A-Za-z0-9]{14}")
_NOT_DEFINITE = (408, 409, 425, 429)


class RazorpayProvider:
    """Implements `Provider`."""

    def __init__(self, settings: PaymentsSettings) -> None:
        self._settings = settings
        self._secret = settings.razorpay_key_secret.get_secret_value()
        self._pool = ThreadPoolExecutor(settings.provider_threads, thread_name_prefix="razorpay")
        # As many may wait as are served; beyond that it is better to fail at once than to queue without end.
        self._places = threading.BoundedSemaphore(settings.provider_threads * 2)
        self._mine = threading.local()
        self._breaker = Breaker(failures=5, pause=5.0)

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
        return _checked(answer.get("id"))

    async def orders_of(self, receipt: str) -> list[str]:
        """By receipt, which is a search key and no more."""
        query = {"receipt": receipt, "count": 100}
        answer = await self._call(lambda client, options: client.order.all(query, **options))
        return [_checked(item.get("id")) for item in _items(answer) if item.get("receipt") == receipt]

    async def payments_of(self, order_id: str) -> list[ProviderPayment]:
        """Every attempt at an order."""
        known = _checked(order_id)
        answer = await self._call(lambda client, options: client.order.payments(known, **options))
        return [as_payment(item) for item in _items(answer)]

    async def payment(self, payment_id: str) -> ProviderPayment:
        """One attempt."""
        known = _checked(payment_id)
        return as_payment(await self._call(lambda client, options: client.payment.fetch(known, **options)))

    async def capture(self, payment_id: str, *, amount: int, currency: str) -> ProviderPayment:
        """Take authorised money."""
        known, data = _checked(payment_id), {"currency": currency}
        return as_payment(
            await self._call(lambda client, options: client.payment.capture(known, amount, data, **options))
        )

    async def refund(self, payment_id: str, *, key: str, body: str) -> ProviderRefund:
        """The key and the byte-identical body make it one refund however often it is sent."""
        known, data = _checked(payment_id), json.loads(body)
        headers = {"X-Refund-Idempotency": key}
        answer = await self._call(
            lambda client, options: client.payment.refund(known, data, headers=dict(headers), **options)
        )
        return as_refund(answer)

    async def refunds_of(self, payment_id: str) -> list[ProviderRefund]:
        """Every refund of an attempt."""
        known, query = _checked(payment_id), {"count": 100}
        answer = await self._call(lambda client, options: client.payment.fetch_multiple_refund(known, query, **options))
        return [as_refund(item) for item in _items(answer)]

    def proves_handshake(self, *, order_id: str, payment_id: str, signature: str) -> bool:
        """HMAC-SHA256 of `order|payment` under the key secret (Razorpay, integration steps §1.4)."""
        message = f"{order_id}|{payment_id}".encode()
        expected = hmac.new(self._secret.encode(), message, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.encode())

    async def close(self) -> None:
        """Do not wait for a thread that waits for the provider: what it does is repeatable."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _call(self, action: "Callable[[razorpay.Client, dict[str, Any]], Any]") -> dict[str, Any]:
        if self._breaker.is_open or not self._places.acquire(blocking=False):
            raise ProviderUnreachable("The provider failed repeatedly, or too many calls wait for it.")

        def run() -> Any:
            try:
                return self._run(action)
            finally:
                self._places.release()

        # A cancelled request must not look as if the call had not happened: the thread goes on, and so does this.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, run))

    def _run(self, action: "Callable[[razorpay.Client, dict[str, Any]], Any]") -> dict[str, Any]:
        import requests
        from razorpay import errors as sdk

        client = self._client()
        self._mine.status = None
        options = {"timeout": (CONNECT_TIMEOUT, self._settings.provider_timeout), "allow_redirects": False}
        try:
            answer = action(client, options)
            status = self._mine.status
            if status is not None and not 200 <= status < 300:
                raise OutcomeUnknown(f"status {status}")
            if not isinstance(answer, dict):
                raise OutcomeUnknown("the answer is no JSON object")
        except (requests.ConnectTimeout, requests.exceptions.ProxyError) as error:
            self._breaker.failed()
            raise ProviderUnreachable(type(error).__name__) from error
        except requests.ConnectionError as error:
            self._breaker.failed()
            raise _connection_problem(error) from error
        except (sdk.BadRequestError, sdk.GatewayError, sdk.ServerError) as error:
            raise self._answered(error) from error
        except OutcomeUnknown:
            self._breaker.failed()
            raise
        except (requests.RequestException, ValueError, TypeError, KeyError) as error:
            # Truncated or HTML bodies, errors without the documented members: it answered, but what?
            self._breaker.failed()
            raise OutcomeUnknown(f"{type(error).__name__}, status {self._mine.status}") from error
        self._breaker.succeeded()
        return answer

    def _answered(self, error: Exception) -> Exception:
        """The SDK's exception with the meaning of the status it lost."""
        status = self._mine.status or 0
        if 400 <= status < 500 and status not in _NOT_DEFINITE:
            self._breaker.succeeded()
            if status in (401, 403):
                get_logger().error("provider refuses our key", status=status)
            return ProviderRefused(str(error)[:300])
        self._breaker.failed()
        return OutcomeUnknown(f"status {status}: {str(error)[:300]}")

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
        return client

    def _session(self) -> "requests.Session":
        import requests
        from requests.adapters import HTTPAdapter

        def keep_status(response: requests.Response, *_args: object, **_options: object) -> None:
            self._mine.status = response.status_code

        session = requests.Session()
        session.trust_env = False
        session.hooks["response"].append(keep_status)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=1))
        return session


def _connection_problem(error: Exception) -> Exception:
    """Refused before anything was sent, or broken after it."""
    if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
        return ProviderUnreachable("no connection")
    return OutcomeUnknown(type(error).__name__)


def _checked(identifier: object) -> str:
    """An id that is safe in a path. Raises OutcomeUnknown for anything the provider would not call one."""
    if isinstance(identifier, str) and _ID.fullmatch(identifier):
        return identifier
    raise OutcomeUnknown("not an id of the provider")


def _items(answer: dict[str, Any]) -> list[dict[str, Any]]:
    items = answer.get("items")
    if not isinstance(items, list):
        raise OutcomeUnknown("not a collection")
    return items
