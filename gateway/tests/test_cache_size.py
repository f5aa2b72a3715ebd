"""What kept answers really take of the memory that an operator granted them."""

import tracemalloc
from uuid import uuid4

import pytest

from gateway.cache import Cache, Stored, named_in
from gateway.testing_policy import said

MIB = 1024 * 1024


def memory_of(pages: list[tuple[bytes, bytes]], capacity: int) -> tuple[int, Cache]:
    """Bytes that Python takes for answers to these questions, and the cache with them."""
    tracemalloc.start()
    try:
        cache = Cache(capacity)
        before = tracemalloc.get_traced_memory()[0]
        for key, body in pages:
            # Copied, as what comes from a socket is nobody else's.
            key, body = bytes(bytearray(key)), bytes(bytearray(body))  # noqa: PLW2901 - what is kept is the copy
            cache.keep(cache.begin(key, 0.0), Stored(said(), body, b'"1"', named_in(body), 0.0, 0.0, 30.0, 90.0, 90.0))
        return tracemalloc.get_traced_memory()[0] - before, cache
    finally:
        tracemalloc.stop()


def names(count: int) -> bytes:
    return ("[" + ",".join(f'"{uuid4()}"' for _ in range(count)) + "]").encode()


@pytest.mark.parametrize(
    "pages",
    [
        [(b"/api/v1/products?search=%d" % number + b"&" * 4000, b'{"items":[]}') for number in range(500)],
        [(b"/api/v1/products?search=%d" % number, names(50)) for number in range(200)],
        [(b"/api/v1/products?search=%d" % number, body) for body in [names(50)] for number in range(200)],
    ],
    ids=["long questions", "many things", "the same things"],
)
def test_what_answers_take_is_what_is_counted(pages: list[tuple[bytes, bytes]]) -> None:
    taken, cache = memory_of(pages, 100 * MIB)
    assert 0.6 * taken < cache.size < 1.6 * taken
    cache.capacity = 0
    cache.keep(cache.begin(b"/", 0.0), Stored([], b"", None, frozenset(), 0.0, 0.0, 1.0, 1.0, 1.0))
    assert (len(cache), cache.size) == (0, 0)


def test_questions_that_nobody_waits_for_take_little() -> None:
    tracemalloc.start()
    cache = Cache(MIB)
    for number in range(5000):
        cache.pass_by(cache.begin(b"/api/v1/products?x=%d" % number + b"&" * 4000, 0.0), 0.0)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 2 * MIB
    assert cache.is_passed(b"/api/v1/products?x=4999" + b"&" * 4000, 9.0)
    assert not cache.is_passed(b"/api/v1/products?x=0" + b"&" * 4000, 9.0), "the oldest went"
