"""What the lifecycle tells to whoever counts: metrics implement it, tests may."""

from __future__ import annotations

from typing import Protocol

from tuspy_server.model import Upload


class Observer(Protocol):
    """Called synchronously; must return at once and never raise."""

    def received(self, count: int) -> None:
        """`count` bytes of a body reached the lifecycle."""

    def committed(self, duration_seconds: float) -> None:
        """An offset was committed; the time from the start of the sync to the end of the transaction."""

    def progressed(self, upload: Upload) -> None:
        """A commit of a body has made this row."""

    def swept(self, expired: int, cleaned: int, purged: int) -> None:
        """A sweep ended."""


class Observers:
    """Tells several."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def received(self, count: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.received(count)

    def committed(self, duration_seconds: float) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.committed(duration_seconds)

    def progressed(self, upload: Upload) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.progressed(upload)

    def swept(self, expired: int, cleaned: int, purged: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.swept(expired, cleaned, purged)


class NullObserver:
    """Counts nothing."""

    def received(self, count: int) -> None:
        """See `Observer`."""

    def committed(self, duration_seconds: float) -> None:
        """See `Observer`."""

    def progressed(self, upload: Upload) -> None:
        """See `Observer`."""

    def swept(self, expired: int, cleaned: int, purged: int) -> None:
        """See `Observer`."""
