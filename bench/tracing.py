"""What a span costs while nobody collects: `python bench/tracing.py`.

Pairs of the same loop with and without the span's block, taken alternately, so that what the machine does besides falls
on both; the median of the differences is the cost.
"""

import statistics
import time
from collections.abc import Callable

from chassis import tracing

ROUNDS = 41
TIMES = 20_000
SPANS_OF_A_PURCHASE = 60
"""As a collector counts them, from the first look at the cart to the stock that is sold."""


def without() -> None:
    """The loop alone."""
    for number in range(TIMES):
        _work(number)


def with_span() -> None:
    """The loop with what a call to another service has around it."""
    for number in range(TIMES):
        with tracing.start("PUT catalog", "client", server__address="catalog") as span:
            _work(number)
            span.note(http__request__method="PUT", http__response__status_code=200)


def _work(number: int) -> int:
    return number + 1


def seconds(loop: Callable[[], None]) -> float:
    """CPU of this process."""
    began = time.process_time()
    loop()
    return time.process_time() - began


def main() -> None:
    """Print the cost."""
    assert not tracing.is_on()
    seconds(with_span)
    pairs = [(seconds(without), seconds(with_span)) for _ in range(ROUNDS)]
    cost = statistics.median(after - before for before, after in pairs) / TIMES
    print(f"a span that nobody collects: {cost * 1e9:.0f} ns")
    print(f"the {SPANS_OF_A_PURCHASE} of a purchase: {cost * SPANS_OF_A_PURCHASE * 1e6:.0f} µs")


if __name__ == "__main__":
    main()
