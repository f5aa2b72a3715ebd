"""Load: many readers of the catalogue at once, through the gateway or at catalog itself.

Every question insists on the service, so that the gateway answers none from what it keeps, but for those that
measure just that.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from bench.cpu import Usage

API = "/api/v1"
WARM_UP = 200
"""Requests before the count begins: connections are open and statements prepared then."""

SLICES = 8
KEPT = "list page 1, kept by the gateway"

Figures = dict[str, Any]
Count = Callable[[], Usage]
"""Tells the CPU used so far by what is measured."""


async def read(
    base_url: str, questions: Mapping[str, Sequence[str]], *, usage: Count, requests: int, readers: int
) -> dict[str, Figures]:
    """Ask all questions many times over; CPU per request and requests per second, by the question's name.

    They take turns in short slices, so that what else happens on the machine meets all of them alike.
    """
    used, seconds = dict.fromkeys(questions, Usage()), dict.fromkeys(questions, 0.0)
    each = max(1, requests // SLICES)
    async with aiohttp.ClientSession(base_url, connector=aiohttp.TCPConnector(limit=readers)) as http:
        for name, targets in questions.items():
            await _ask(http, name, targets, requests=WARM_UP, readers=readers)
        for name in list(questions) * SLICES:
            before, began = usage(), time.perf_counter()
            await _ask(http, name, questions[name], requests=each, readers=readers)
            used[name] += usage().since(before)
            seconds[name] += time.perf_counter() - began
    return {name: figures(used[name], each * SLICES, seconds=seconds[name]) for name in questions}


async def _ask(http: aiohttp.ClientSession, name: str, targets: Sequence[str], *, requests: int, readers: int) -> None:
    headers = {} if name == KEPT else {"cache-control": "no-store"}
    waiting = itertools.islice(itertools.cycle(targets), requests)

    async def reader() -> None:
        for target in waiting:
            async with http.get(target, headers=headers) as answer:
                body = await answer.read()
                assert answer.status == 200, f"{target}: {body[:300]!r}"

    await asyncio.gather(*(reader() for _ in range(readers)))


def figures(used: Usage, requests: int, *, seconds: float) -> Figures:
    """One round's result."""
    return {"requests": requests, "requests_per_second": round(requests / seconds), "cpu_ms": used.per(requests)}


async def questions(base_url: str, *, page: int, is_shop: bool) -> dict[str, list[str]]:
    """Targets by the name of the measurement; `page` is the number of the late page of the list.

    Where catalog is asked directly nothing is kept.
    """
    async with aiohttp.ClientSession(base_url) as http:
        first = await _get(http, f"{API}/products?ordering=price")
        names = sorted({word for item in first["items"] for word in item["name"].split() if len(word) > 3})
        first_pages = [f"{API}/products?ordering=price&min_price={floor}" for floor in range(50)]
        return {
            "list page 1": first_pages,
            f"list page {page:,}": await _late_pages(http, page),
            "detail": [f"{API}/products/{item['id']}" for item in first["items"]],
            "search": [f"{API}/products?search={name}" for name in names[:25]],
            **({KEPT: first_pages} if is_shop else {}),
        }


async def _late_pages(http: aiohttp.ClientSession, page: int) -> list[str]:
    """The pages around the wanted one, found as a client finds them: by following the cursor."""
    target, targets = f"{API}/products?ordering=price", []
    for number in range(1, page + 25):
        if number >= page - 25:
            targets.append(target)
        cursor = (await _get(http, target))["next_cursor"]
        target = f"{API}/products?ordering=price&cursor={cursor}"
    return targets


async def _get(http: aiohttp.ClientSession, target: str) -> Any:
    async with http.get(target) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()
