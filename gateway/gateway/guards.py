"""What keeps one sick service from taking the gateway with it: breaker, bulkhead and retry budget."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Guard:
    """The state of one upstream as seen from here."""

    max_in_flight: int = 100
    failures_to_open: int = 5
    pause: float = 2.0
    """Seconds until one request may try again."""
    in_flight: int = 0
    _failures: int = 0
    _closed_at: float = 0.0
    _retries_left: float = field(default=10.0)

    def is_full(self) -> bool:
        """Whether as many requests are under way as may be."""
        return self.in_flight >= self.max_in_flight

    def is_open(self, now: float) -> bool:
        """Whether requests are refused without being tried."""
        return self._failures >= self.failures_to_open and now < self._closed_at

    def seconds_left(self, now: float) -> int:
        """When to come back, in whole seconds."""
        return max(1, round(self._closed_at - now))

    def enter(self, now: float) -> None:
        """A request leaves for the service. With the pause over this is the one that tries."""
        self.in_flight += 1
        self._retries_left = min(10.0, self._retries_left + 0.1)
        if self._failures >= self.failures_to_open:
            self._closed_at = now + self.pause

    def leave(self) -> None:
        """It is over, one way or another."""
        self.in_flight -= 1

    def succeeded(self) -> None:
        """The service answered."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """The service did not answer."""
        self._failures += 1
        if self._failures >= self.failures_to_open:
            self._closed_at = now + self.pause

    def may_retry(self) -> bool:
        """Take one retry from the budget: at most a tenth of the requests are repeated."""
        if self._retries_left < 1:
            return False
        self._retries_left -= 1
        return True

    def is_failing(self) -> float:
        """For the metrics: 1 while the breaker is open or trying."""
        return float(self._failures >= self.failures_to_open)

    def count_in_flight(self) -> float:
        """For the metrics."""
        return float(self.in_flight)
