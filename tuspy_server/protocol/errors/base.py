"""The base of all answers that are not a success, and what is no answer."""

from __future__ import annotations

from typing import ClassVar

TUS_VERSION = "1.0.0"

Headers = tuple[tuple[str, str], ...]


class TusError(Exception):
    """Base of all answers that are not a success.

    Attributes:
        status: HTTP status.
        code: stable, machine-readable name; part of the public interface.
        closes: whether the connection must be closed, because a body that was announced is not read to its end.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    closes: ClassVar[bool] = False

    def headers(self) -> Headers:
        """Headers that the answer carries besides those of every answer."""
        return ()


class BytesMissing(Exception):
    """Storage holds fewer bytes than the row counts: the upload has failed. Becomes `UploadGone`."""


class ClientDisconnected(Exception):
    """The client went away in the middle of its body; nobody is left to answer."""
