"""Sessions that were ended while access tokens of theirs still live."""

from uuid import UUID


class Revocations:
    """The ended sessions. Entries leave by themselves when the last token of the session has expired."""

    def __init__(self) -> None:
        self._expires_at: dict[UUID, float] = {}
        self.is_loaded = False
        """Whether the snapshot has been read once. Until then a revoked token could pass, so none does."""

    def __contains__(self, session_id: UUID) -> bool:
        return session_id in self._expires_at

    def __len__(self) -> int:
        return len(self._expires_at)

    def add(self, session_id: UUID, expires_at: float) -> None:
        """Take note of an ended session."""
        self._expires_at[session_id] = max(expires_at, self._expires_at.get(session_id, 0.0))

    def forget(self, now: float) -> None:
        """Drop sessions without a living token; `now` is the time of day."""
        self._expires_at = {session: end for session, end in self._expires_at.items() if end > now}
