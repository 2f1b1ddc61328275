"""Header fields: the request head, and strict readers for single values.

Sources: tus 1.0.0, Core Protocol, Headers; RFC 9110 5.1 (names ignore case, white space around a value is not part of
it), 5.3 (a field that is not a list must not appear twice).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from tuspy_server.protocol.errors import HeadersTooLarge, InvalidHeader

MAX_INTEGER: Final = 2**63 - 1
"""The largest offset or length, in bytes: what a signed 64-bit column holds."""

_INTEGER: Final = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The text of a request's head.

    Attributes:
        method: as sent, before any override.
        fields: names in lower case, with the stripped values in the order sent.
    """

    method: str
    fields: dict[str, tuple[str, ...]]

    @classmethod
    def from_raw(cls, method: str, headers: Iterable[tuple[bytes, bytes]], max_header_bytes: int) -> RequestHead:
        """Read ASGI headers.

        Raises:
            HeadersTooLarge: 431, names and values together are more than `max_header_bytes`.
        """
        fields: dict[str, list[str]] = {}
        total_bytes = 0
        for raw_name, raw_value in headers:
            total_bytes += len(raw_name) + len(raw_value)
            if total_bytes > max_header_bytes:
                raise HeadersTooLarge(f"the request's headers pass {max_header_bytes} bytes")
            name = raw_name.decode("latin-1").lower()
            fields.setdefault(name, []).append(raw_value.decode("latin-1").strip(" \t"))
        return cls(method, {name: tuple(values) for name, values in fields.items()})

    def one(self, name: str) -> str | None:
        """The value of a field that must not be a list; None if it was not sent.

        Raises:
            InvalidHeader: 400, two lines differ: taking either one would be a guess.
        """
        values = self.fields.get(name.lower())
        if values is None:
            return None
        if any(value != values[0] for value in values):
            raise InvalidHeader(name, "sent twice with different values")
        return values[0]

    def every(self, name: str) -> str | None:
        """The value of a field that is a list, which may be on several lines (RFC 9110 5.3); None if not sent."""
        values = self.fields.get(name.lower())
        return None if values is None else ",".join(values)

    def integer(self, name: str) -> int | None:
        """A non-negative integer of at most 19 ASCII digits, within 64 bits; None if it was not sent.

        Raises:
            InvalidHeader: 400, anything else: signs, points, exponents, separators, other scripts' digits.
        """
        text = self.one(name)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text) or int(text) > MAX_INTEGER:
            raise InvalidHeader(name, "must be a non-negative integer below 2^63, in digits")
        return int(text)

    def announces_trailer(self, name: str) -> bool:
        """Whether a chunked body's `Trailer` field names it (RFC 9110 6.6.2)."""
        named = ",".join(self.fields.get("trailer", ())).lower().split(",")
        return self.body_bytes is None and name in (item.strip(" \t") for item in named)

    def media_type(self) -> str | None:
        """`Content-Type` without parameters, in lower case (RFC 9110 8.3.1: media types ignore case)."""
        text = self.one("Content-Type")
        return None if text is None else text.partition(";")[0].strip(" \t").lower()

    @property
    def body_bytes(self) -> int | None:
        """`Content-Length`; None where the body is chunked. Without either there is no body: 0 (RFC 9112 6.3)."""
        if "transfer-encoding" in self.fields:
            return None
        return self.integer("Content-Length") or 0


def http_date(instant: datetime) -> str:
    """IMF-fixdate, as `Upload-Expires` wants it (RFC 9110 5.6.7). Fractions of a second are cut, never rounded up."""
    return format_datetime(instant.astimezone(UTC).replace(microsecond=0), usegmt=True)
