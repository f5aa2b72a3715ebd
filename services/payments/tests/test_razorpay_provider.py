"""Every way in which the provider and its SDK misbehave ends in one of three errors, in time, and leaks nothing."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
import razorpay

from payments.provider import (
    OrderLabels,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
    UnknownToProvider,
)
from payments.razorpay_provider import RazorpayProvider
from payments.settings import PaymentsSettings

if TYPE_CHECKING:
    from razorpay_simulator.testing import SimulatorProcess

ORDER, ATTEMPT, REFUND = "order_AAAAAAAAAAAAAA", "pay_AAAAAAAAAAAAAA", "rfnd_AAAAAAAAAAAAAA"
Configure = Callable[..., RazorpayProvider]


@pytest.fixture
async def connect() -> AsyncIterator[Configure]:
    """Providers with settings of the test's own, closed in the end."""
    made: list[RazorpayProvider] = []

    def start(base_url: str, **settings: Any) -> RazorpayProvider:
        given = {
            "razorpay_base_url": base_url,
            "razorpay_key_id": "rzp_test_simulator0001",
            "razorpay_key_secret": "simulator-key-secret",
            "provider_timeout": 0.5,
            "database_url": "postgresql://unused",
            **settings,
        }
        made.append(RazorpayProvider(PaymentsSettings.model_validate(given)))
        return made[-1]

    yield start
    for provider in made:
        await provider.close()


@pytest.fixture
async def provider(simulator: "SimulatorProcess", connect: Configure) -> RazorpayProvider:
    """The real adapter, talking to the simulator."""
    await asyncio.to_thread(simulator.clear_faults)
    return connect(simulator.base_url)


async def _create(provider: RazorpayProvider, **changes: Any) -> str:
    order: dict[str, Any] = {"receipt": "haat_1", "amount": 50_000, "currency": "INR", "notes": {}, **changes}
    return await provider.create_order(**order)


async def test_every_call_works_with_the_official_sdk(
    provider: RazorpayProvider, simulator: "SimulatorProcess"
) -> None:
    receipt = f"haat_{monotonic()}"
    order = await _create(provider, receipt=receipt)
    assert await provider.orders_of(receipt) == [order]
    proof = await asyncio.to_thread(simulator.pay, order, outcome="authorize_only")
    attempt = proof["razorpay_payment_id"]
    assert [seen.id for seen in await provider.payments_of(order)] == [attempt]
    assert (await provider.payment(attempt)).status == "authorized"
    assert (await provider.capture(attempt, amount=50_000, currency="INR")).captured
    body = json.dumps({"amount": 20_000, "speed": "normal", "notes": {}, "receipt": "r1"})
    refund = await provider.refund(attempt, key="a" * 32, body=body)
    assert (await provider.refund(attempt, key="a" * 32, body=body)).id == refund.id
    assert [(seen.id, seen.amount, seen.receipt) for seen in await provider.refunds_of(attempt)] == [
        (refund.id, 20_000, "r1")
    ]
    recent = await provider.payments_since(0, skip=0)
    assert attempt in {seen.id for seen in recent}
    assert attempt not in {seen.id for seen in await provider.payments_since(0, skip=len(recent))}
    returned = await provider.refunds_since(0, skip=0)
    assert refund.id in {seen.id for seen in returned}
    assert refund.id not in {seen.id for seen in await provider.refunds_since(0, skip=len(returned))}


FAULTS: list[tuple[str, dict[str, Any], type[ProviderError]]] = [
    ("delay", {"seconds": 1.0}, OutcomeUnknown),
    ("delay_answer", {"seconds": 1.0}, OutcomeUnknown),
    ("trickle", {"seconds": 4.0}, OutcomeUnknown),
    ("fail_before_commit", {}, OutcomeUnknown),
    ("fail_after_commit", {}, OutcomeUnknown),
    ("fail_before_commit", {"status": 503}, OutcomeUnknown),
    ("fail_before_commit", {"status": 401}, ProviderUnreachable),
    ("reset", {}, OutcomeUnknown),
    ("truncate", {}, OutcomeUnknown),
    ("null_error", {}, OutcomeUnknown),
    ("html", {}, OutcomeUnknown),
    ("html", {"status": 404}, OutcomeUnknown),
    ("rate_limit", {}, OutcomeUnknown),
    ("rate_limit_empty", {}, OutcomeUnknown),
    ("redirect", {}, OutcomeUnknown),
    ("redirect", {"status": 307}, OutcomeUnknown),
    ("refuse", {}, ProviderRefused),
    ("refuse", {"status": 404}, ProviderRefused),
    ("refuse", {"description": "The id provided does not exist"}, UnknownToProvider),
    ("refuse", {"status": 409}, OutcomeUnknown),
    ("refuse", {"status": 403}, ProviderUnreachable),
]


@pytest.mark.parametrize(("action", "details", "expected"), FAULTS, ids=lambda value: str(value)[:40])
async def test_each_fault_of_the_provider_is_one_of_three_errors(
    provider: RazorpayProvider,
    simulator: "SimulatorProcess",
    action: str,
    details: dict[str, Any],
    expected: type[ProviderError],
) -> None:
    await asyncio.to_thread(simulator.faults, "orders.create", action, **details)
    began = monotonic()
    with pytest.raises(ProviderError) as raised:
        await _create(provider)
    assert type(raised.value) is expected
    assert monotonic() - began < 2.5
    assert [fault["fired"] for fault in simulator.fault_counters()] == [1], "one request, and no redirect followed"
    assert await _create(provider), "and the next call works"


@dataclass
class Nonsense:
    """A server that answers whatever it is told."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def nonsense() -> Iterator[Nonsense]:
    """A provider that is none."""
    told = Nonsense()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            told.paths.append(self.path)
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(told.status)
            for name, value in {"content-length": str(len(told.body)), **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_args: Any, **_kwargs: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


ANSWERS: dict[str, tuple[int, bytes]] = {
    "no content": (204, b""),
    "empty": (200, b""),
    "a list": (200, b"[]"),
    "null": (200, b"null"),
    "a text": (200, b'"ok"'),
    "no fields": (200, b"{}"),
    "an id of another kind": (200, b'{"id": "pay_AAAAAAAAAAAAAA"}'),
    "an id that is a path": (200, b'{"id": "../orders/order_1", "items": [{"id": "../order_1", "receipt": "haat_1"}]}'),
    "items of a wrong type": (200, b'{"items": {"id": 1}}'),
    "items that are no objects": (200, b'{"items": [1, null]}'),
    "a refusal as a list": (400, b"[]"),
    "a refusal without an error": (400, b"<html>"),
    "an error that is a number": (400, b'{"error": 7}'),
    "a server error as a bad request": (500, b'{"error": {"code": "BAD_REQUEST_ERROR", "description": "x"}}'),
    "NaN": (200, b'{"id": NaN}'),
    "not UTF-8": (200, b"\xff\xfe"),
}


@pytest.mark.parametrize(("status", "body"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_that_is_none_leaves_the_outcome_unknown(
    connect: Configure, nonsense: Nonsense, status: int, body: bytes
) -> None:
    provider = connect(nonsense.url)
    nonsense.status, nonsense.body = status, body
    calls: list[Awaitable[Any]] = [
        _create(provider),
        provider.orders_of("haat_1"),
        provider.payments_of(ORDER),
        provider.payment(ATTEMPT),
        provider.labels_of(ORDER),
    ]
    for call in calls:
        with pytest.raises(OutcomeUnknown):
            await call


async def test_answers_about_something_else_are_not_taken(connect: Configure, nonsense: Nonsense) -> None:
    provider = connect(nonsense.url)
    other = {"id": "pay_BBBBBBBBBBBBBB", "status": "captured", "amount": 1, "currency": "INR", "captured": True}
    nonsense.body = json.dumps(other).encode()
    for call in (provider.payment(ATTEMPT), provider.capture(ATTEMPT, amount=1, currency="INR")):
        with pytest.raises(OutcomeUnknown):
            await call
    refund = {"id": REFUND, "payment_id": "pay_BBBBBBBBBBBBBB", "amount": 1, "status": "processed"}
    nonsense.body = json.dumps({**refund, "items": [refund]}).encode()
    with pytest.raises(OutcomeUnknown):
        await provider.refund(ATTEMPT, key="k" * 10, body="{}")
    with pytest.raises(OutcomeUnknown):
        await provider.refunds_of(ATTEMPT)


async def test_a_redirect_is_not_followed_to_anybody(connect: Configure, nonsense: Nonsense) -> None:
    """It would carry our secret along."""
    provider = connect(nonsense.url)
    nonsense.status, nonsense.headers = 302, {"location": "/elsewhere"}
    with pytest.raises(OutcomeUnknown):
        await _create(provider)
    assert nonsense.paths == ["/v1/orders"]


@pytest.mark.parametrize(
    "identifier", ["../orders/order_1", "pay_1?x=1", "pay_AAAAAAAAAAAAAA/refund", "", "pay_ÄÄÄÄÄÄÄÄÄÄÄÄÄÄ", ORDER]
)
async def test_an_id_is_checked_before_it_reaches_a_path(
    connect: Configure, nonsense: Nonsense, identifier: str
) -> None:
    provider = connect(nonsense.url)
    calls: list[Awaitable[Any]] = [
        provider.payment(identifier),
        provider.capture(identifier, amount=1, currency="INR"),
        provider.refund(identifier, key="k" * 10, body="{}"),
        provider.refunds_of(identifier),
    ]
    for call in calls:
        with pytest.raises(OutcomeUnknown):
            await call
    assert nonsense.paths == []


async def test_an_endless_answer_is_cut_off(connect: Configure, nonsense: Nonsense) -> None:
    provider = connect(nonsense.url)
    nonsense.body = b" " * (5 * 1024 * 1024)
    with pytest.raises(OutcomeUnknown):
        await provider.payment(ATTEMPT)


async def test_nobody_listening_is_unreachable_and_opens_the_breaker(connect: Configure) -> None:
    provider = connect("http://127.0.0.1:1")
    for _ in range(5):
        with pytest.raises(ProviderUnreachable):
            await _create(provider)
    with pytest.raises(ProviderUnreachable, match="failed repeatedly"):
        await _create(provider)


async def test_an_open_breaker_sends_nothing_until_its_pause_is_over_and_then_closes(
    simulator: "SimulatorProcess", connect: Configure
) -> None:
    await asyncio.to_thread(simulator.clear_faults)
    provider = connect(simulator.base_url, provider_pause=0.5)
    await asyncio.to_thread(simulator.faults, "orders.create", "html", times=0)
    for _ in range(5):
        with pytest.raises(OutcomeUnknown):
            await _create(provider)
    with pytest.raises(ProviderUnreachable, match="failed repeatedly"):
        await _create(provider)
    (fault,) = await asyncio.to_thread(simulator.fault_counters)
    assert fault["fired"] == 5, "the sixth was not sent"

    await asyncio.to_thread(simulator.clear_faults)
    async with asyncio.timeout(20):
        while True:
            try:
                assert await _create(provider)
                break
            except ProviderUnreachable:
                await asyncio.sleep(0.05)
    assert await _create(provider), "it is closed, not only let through once"


async def test_an_order_tells_who_made_it_and_one_that_is_not_there_is_known_as_such(
    provider: RazorpayProvider,
) -> None:
    made = await _create(provider, receipt="haat_2", notes={"order_id": "7"})
    assert await provider.labels_of(made) == OrderLabels(receipt="haat_2", notes={"order_id": "7"})
    bare = await _create(provider, receipt="haat_3")
    assert await provider.labels_of(bare) == OrderLabels(receipt="haat_3", notes={})
    with pytest.raises(UnknownToProvider):
        await provider.labels_of(ORDER)


async def test_an_unknown_host_is_unreachable(connect: Configure) -> None:
    with pytest.raises(ProviderUnreachable):
        await _create(connect("http://razorpay.invalid"))


async def test_refusals_do_not_open_the_breaker(provider: RazorpayProvider) -> None:
    for _ in range(8):
        with pytest.raises(ProviderRefused):
            await _create(provider, amount=1)
    assert await _create(provider)


async def test_a_full_pool_fails_at_once_and_leaves_no_thread_behind(
    simulator: "SimulatorProcess", connect: Configure
) -> None:
    """Two are served, two wait, and nobody queues without end."""
    await asyncio.to_thread(simulator.clear_faults)
    provider = connect(simulator.base_url, provider_threads=2, provider_timeout=2.0)
    await asyncio.to_thread(simulator.faults, "orders.create", "delay", seconds=0.3, times=0)
    began = monotonic()
    calls = [asyncio.create_task(_create(provider)) for _ in range(10)]
    refused = [error for error in await asyncio.gather(*calls, return_exceptions=True) if isinstance(error, Exception)]
    assert [type(error) for error in refused] == [ProviderUnreachable] * 6
    assert monotonic() - began < 1.5
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("razorpay")]) <= 2 + 8
    await asyncio.to_thread(simulator.clear_faults)
    assert await _create(provider), "every place was given back"


async def test_a_cancelled_caller_gives_its_place_back_when_the_call_ends(
    simulator: "SimulatorProcess", connect: Configure
) -> None:
    await asyncio.to_thread(simulator.clear_faults)
    provider = connect(simulator.base_url, provider_threads=1, provider_timeout=2.0)
    await asyncio.to_thread(simulator.faults, "orders.create", "delay", seconds=0.2, times=2)
    calls = [asyncio.create_task(_create(provider)) for _ in range(2)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await _create(provider)
                break
            except ProviderUnreachable:
                await asyncio.sleep(0.05)


async def test_after_it_was_closed_nothing_is_sent(connect: Configure, nonsense: Nonsense) -> None:
    provider = connect(nonsense.url)
    await provider.close()
    with pytest.raises(ProviderUnreachable):
        await provider.payment(ATTEMPT)
    assert nonsense.paths == []


async def test_our_signatures_are_those_of_the_sdk(provider: RazorpayProvider, simulator: "SimulatorProcess") -> None:
    proof = await asyncio.to_thread(simulator.pay, await _create(provider))
    client = razorpay.Client(auth=(simulator.key_id, simulator.key_secret))
    assert client.utility.verify_payment_signature(proof)
    order, attempt, signature = (proof[f"razorpay_{name}"] for name in ("order_id", "payment_id", "signature"))
    assert provider.proves_handshake(order_id=order, payment_id=attempt, signature=signature)
    for wrong in (signature.upper(), signature[:-1], "", "é", f"{signature} "):
        assert not provider.proves_handshake(order_id=order, payment_id=attempt, signature=wrong)
    assert not provider.proves_handshake(order_id=attempt, payment_id=order, signature=signature)


@pytest.mark.parametrize(
    "settings",
    [
        {"razorpay_base_url": "http://127.0.0.1:1", "razorpay_key_id": "rzp_live_1"},
        {"env": "production", "razorpay_base_url": "http://127.0.0.1:1"},
        {"env": "production", "razorpay_key_id": "rzp_live_1"},
        {"create_lease": 15, "provider_timeout": 10},
        {"automatic_capture": 11},
        {"automatic_capture": 70, "manual_capture": 60},
    ],
)
def test_settings_that_would_cost_money_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"PAYMENTS_|automatic_capture|in production"):
        PaymentsSettings.model_validate({"database_url": "postgresql://unused", **settings})
