"""What happened in a schedule, for people: ids by names that are the same whenever the seed is replayed."""

from typing import Any

from tests.simulation.clock import Clock
from tests.simulation.goods import SHOPPERS, VARIANTS
from tests.simulation.rows import Letter

_KINDS = {"order": "provider order", "pay": "attempt", "rfnd": "refund"}


class Trace:
    """Lines, each with the number of its step and the time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._step = 0
        self._lines: list[tuple[int, str, str]] = []
        self._names: dict[Any, str] = {
            **{shopper: f"shopper {number}" for number, shopper in enumerate(SHOPPERS, start=1)},
            **{variant: f"variant {number}" for number, variant in enumerate(VARIANTS, start=1)},
        }
        self._counts: dict[str, int] = {}

    def step(self, number: int) -> None:
        """What is told from now on belongs to this step."""
        self._step = number

    def tell(self, what: str) -> None:
        """A line."""
        self._lines.append((self._step, self._clock.told, what))

    def of(self, id: Any) -> str:
        """The name of an id: the first order is order 1."""
        name = self._names.get(id)
        if name is None:
            kind = "order"
            if isinstance(id, str):
                kind = _KINDS.get(id.split("_", maxsplit=1)[0], "notice")
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            name = self._names[id] = f"{kind} {number}"
        return name

    def of_letter(self, letter: Letter) -> str:
        """Whose event it is, and which one."""
        subject = letter.data.get("order_id") or letter.subject
        return f"{self.of(_uuid(subject))}, {letter.sequence}"

    @property
    def lines(self) -> list[str]:
        """The whole story."""
        return [f"{step:3} {time:>10}  {what}" for step, time, what in self._lines]


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)
