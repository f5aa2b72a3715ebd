"""Virtual time: it stands still until a schedule moves it."""

from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


class Clock:
    """One clock for the databases of all services and for the provider."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def tick(self) -> None:
        """With every transaction, so that no two rows are of the same moment."""
        self.now += TICK

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def told(self) -> str:
        """The time since the beginning, for a trace."""
        return f"{(self.now - BEGINNING).total_seconds():.3f}"
