"""What cases ask of responses; each of these raises `Failure` if the server does otherwise."""

import re

from conformance.case import Failure, Level
from conformance.message import Response

DIGITS = re.compile(r"[0-9]+")


def offset_of(response: Response) -> int:
    """Return Upload-Offset of a successful response, in bytes; anything else is a failure."""
    value = response.get("Upload-Offset")
    if not 200 <= response.status < 300:
        raise Failure(f"a 2xx response with Upload-Offset, got {response.status}", response)
    if value is None or not DIGITS.fullmatch(value):
        raise Failure(f"Upload-Offset in digits, got {value!r}", response)
    return int(value)


def expect_status(response: Response, *allowed: int, why: str = "", level: Level | None = None) -> None:
    """Fail unless the status is one of the allowed ones."""
    if response.status not in allowed:
        wanted = " or ".join(str(status) for status in allowed)
        raise Failure(f"status {wanted}, got {response.status}" + (f" ({why})" if why else ""), response, level)


def expect_4xx(response: Response, why: str = "") -> None:
    """Fail unless the status is a client error."""
    if not 400 <= response.status < 500:
        raise Failure(f"a 4xx status, got {response.status}" + (f" ({why})" if why else ""), response)


def expect(holds: object, expected: str, response: Response | None = None, level: Level | None = None) -> None:
    """Fail with this text unless the condition holds, as in an `assert`."""
    if not holds:
        raise Failure(expected, response, level)


def no_5xx(response: Response, *tolerated: int) -> None:
    """Fail if the server broke over a request that merely was wrong or odd."""
    if response.status >= 500 and response.status not in tolerated:
        raise Failure(f"no 5xx status, got {response.status}", response)
