"""One POST over a fresh connection, for webhooks: without a client library the start is fast."""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

SECONDS_TO_ANSWER = 5.0


async def post(
    url: str, *, body: bytes, headers: Mapping[str, str], seconds: float = SECONDS_TO_ANSWER
) -> tuple[int | None, str | None]:
    """The status of the answer, or why there was none. Redirects are not followed: they count as failures."""
    try:
        async with asyncio.timeout(seconds):
            return await _post(url, body=body, headers=headers), None
    except TimeoutError:
        return None, f"no answer within {seconds:g} seconds"
    except (OSError, ValueError, EOFError) as error:
        return None, f"{type(error).__name__}: {error}"


async def _post(url: str, *, body: bytes, headers: Mapping[str, str]) -> int:
    address = urlsplit(url)
    secure = address.scheme == "https"
    reader, writer = await asyncio.open_connection(
        address.hostname,
        address.port or (443 if secure else 80),
        ssl=ssl.create_default_context() if secure else None,
    )
    try:
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {address.netloc.rpartition('@')[2]}",
            "User-Agent: Razorpay-Webhook/v1",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        status = (await reader.readline()).split(b" ", 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
            raise ValueError("the answer was not HTTP")
        await reader.read(65536)
        return int(status[1])
    finally:
        writer.close()
