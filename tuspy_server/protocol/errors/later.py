"""The server is in trouble: try later."""

from __future__ import annotations

from typing import ClassVar

from tuspy_server.protocol.errors.base import Headers, TusError


class TryLater(TusError):
    """5xx with `Retry-After`; clients resume by themselves."""

    status = 503
    code = "unavailable"
    retry_after_seconds: ClassVar[int] = 5

    def headers(self) -> Headers:
        """`Retry-After`."""
        return (("Retry-After", str(self.retry_after_seconds)),)


class Draining(TryLater):
    """503: the server is shutting down; the next one takes over."""

    code = "draining"
    closes = True

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class BodyStalled(TryLater):
    """503: no byte arrived for too long. Not 408: tus-js-client does not retry that."""

    code = "body_stalled"
    closes = True
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("the request body stalled; what arrived is kept")


class Overloaded(TryLater):
    """503: all memory that the settings grant to bodies is in use."""

    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("too many uploads at once")


class StoreUnavailable(TryLater):
    """503: the database does not answer in time."""

    code = "store_unavailable"

    def __init__(self) -> None:
        super().__init__("the database is not available")


class StorageFault(TryLater):
    """503: storage failed a call; nothing of it counts, the upload can go on from its offset."""

    code = "storage_fault"

    def __init__(self) -> None:
        super().__init__("the storage failed; what was acknowledged is safe")


class StorageFull(TryLater):
    """507: no space is left; the upload goes on once there is."""

    status = 507
    code = "storage_full"
    retry_after_seconds = 30

    def __init__(self) -> None:
        super().__init__("no space left; what was acknowledged is safe")


class HookFailed(TusError):
    """500: a hook that was asked has raised, or has not answered in time; nothing has changed."""

    code = "hook_failed"

    def __init__(self) -> None:
        super().__init__("a hook of the application failed")
