"""What the lifecycle tells to whoever counts: metrics implement it, tests may."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called synchronously; must return at once and never raise."""

    def received(self, count: int) -> None:
        """`count` bytes of a body reached the lifecycle."""

    def committed(self, duration_seconds: float) -> None:
        """An offset was committed; the time from the start of the sync to the end of the transaction."""

    def swept(self, expired: int, cleaned: int, purged: int) -> None:
        """A sweep ended."""


class NullObserver:
    """Counts nothing."""

    def received(self, count: int) -> None:
        """See `Observer`."""

    def committed(self, duration_seconds: float) -> None:
        """See `Observer`."""

    def swept(self, expired: int, cleaned: int, purged: int) -> None:
        """See `Observer`."""
