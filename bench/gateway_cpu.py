"""CPU that the gateway spends per request, proxied and from its cache: token check, limits, access log and metrics on.

Three processes: a stub service, the gateway, and the load. The gateway's CPU is read from /proc before and after,
so neither the stub nor the load is counted.

    python bench/gateway_cpu.py --seconds 5 --connections 16
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvloop

from chassis.auth import TokenSigner, generate_key, jwks
from chassis.clients import HttpUpstream
from chassis.ids import new_id
from chassis.runner import run
from chassis.telemetry import configure_logging
from gateway.app import build, listeners
from gateway.settings import GatewaySettings

TICK = os.sysconf("SC_CLK_TCK")
WARM_UP = 1.0
QUESTIONS = {
    "1 KiB": "orders/1024",
    "20 KiB": "orders/20480",
    "20 KiB, from the cache": "products/20480",
}


class Stub(asyncio.Protocol):
    """Answers each request with as many bytes as its path says; knows that nobody was signed out."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            size = int(target.rpartition(b"/")[2]) if target.startswith(b"/api/") else 0
            body = b'{"items": "' + b"x" * (size - 13) + b'"}' if size else b'{"items": []}'
            answer = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\netag: "1"\r\ncontent-length: %d\r\n'
            lives = b"cache-control: public, max-age=3600\r\n" if b"/products/" in target else b""
            self._transport.write(answer % len(body) + lives + b"\r\n" + body)


class Load(asyncio.Protocol):
    """Asks again as soon as it was answered."""

    def __init__(self, request: bytes, count: Callable[[], None]) -> None:
        self._request, self._count = request, count
        self._missing, self._head = 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            head, _, data = self._head.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            self._missing = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self._head = b""
        self._missing -= len(data)
        if not self._missing:
            self._count()
            self._transport.write(self._request)


class SilentBus:
    """Nobody signs out during a measurement."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def listen(self, *_arguments: Any, on_bound: Any, **_options: Any) -> "SilentBus":
        await on_bound()
        return self


async def serve_stub(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port)
    await server.serve_forever()


async def serve_gateway(port: int, management_port: int, stub_port: int, keys: str) -> None:
    settings = GatewaySettings(
        port=port,
        management_port=management_port,
        jwks=keys,
        service_key=json.dumps(generate_key("gateway.bench")),  # type: ignore[arg-type]  # read as a secret
        limit_read="900000000/60",
    )
    bus: Any = SilentBus()
    upstreams = {name: HttpUpstream(f"http://127.0.0.1:{stub_port}") for name in ("accounts", "catalog", "orders")}
    gateway = build(settings, bus, upstreams)
    await run(gateway, listeners(gateway))


async def load(port: int, *, token: str, question: str, connections: int, seconds: float, pid: int) -> dict[str, Any]:
    lines = [f"GET /api/v1/{question} HTTP/1.1", f"Host: localhost:{port}", "Accept: application/json"]
    lines += ["User-Agent: bench", f"Authorization: Bearer {token}", "", ""]
    answered = 0

    def count() -> None:
        nonlocal answered
        answered += 1

    loop = asyncio.get_running_loop()
    request = "\r\n".join(lines).encode()
    transports = [
        (await loop.create_connection(lambda: Load(request, count), "127.0.0.1", port))[0] for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP)
    cpu, first, started = cpu_seconds(pid), answered, time.perf_counter()
    await asyncio.sleep(seconds)
    cpu, requests, elapsed = cpu_seconds(pid) - cpu, answered - first, time.perf_counter() - started
    for transport in transports:
        transport.close()
    return {
        "requests": requests,
        "requests_per_second": round(requests / elapsed),
        "cpu_ms_per_request": round(cpu / requests * 1000, 4),
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below those that outgoing connections take."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if b" 200 " in connection.recv(64):
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("the gateway did not become ready")
        time.sleep(0.05)


def measure(*, seconds: float, connections: int, rounds: int) -> dict[str, Any]:
    """The best of some rounds for each size: noise only ever adds."""
    key = generate_key("bench-1")
    stub_port, port, management_port = free_ports(3)
    program = [sys.executable, __file__]
    stub = subprocess.Popen([*program, "--stub", str(stub_port)])
    log = subprocess.DEVNULL
    ports = f"{port},{management_port},{stub_port}"
    gateway = subprocess.Popen([*program, "--gateway", ports, "--keys", jwks([key]).decode()], stderr=log)
    try:
        wait_for(port)
        token = TokenSigner(key, issuer="haat").access_token(
            audience="haat", user_id=new_id(), session_id=new_id(), role="customer", lifetime=3600
        )
        results: dict[str, Any] = {}
        for name, question in QUESTIONS.items():
            runs = [
                uvloop.run(
                    load(
                        port, token=token, question=question, connections=connections, seconds=seconds, pid=gateway.pid
                    )
                )
                for _ in range(rounds)
            ]
            results[name] = min(runs, key=lambda found: found["cpu_ms_per_request"])
        return {"connections": connections, "seconds": seconds, "rounds": rounds, "answers": results}
    finally:
        for process in (gateway, stub):
            process.terminate()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stub", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--gateway", help=argparse.SUPPRESS)
    parser.add_argument("--keys", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stub:
        uvloop.run(serve_stub(chosen.stub))
    elif chosen.gateway:
        configure_logging()
        port, management_port, stub_port = (int(number) for number in chosen.gateway.split(","))
        uvloop.run(serve_gateway(port, management_port, stub_port, chosen.keys))
    else:
        print(
            json.dumps(measure(seconds=chosen.seconds, connections=chosen.connections, rounds=chosen.rounds), indent=2)
        )


if __name__ == "__main__":
    main()
