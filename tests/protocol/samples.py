"""Heads, policies and uploads for the tables of this folder: sound by default, each test states what it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, ParamSpec, TypeVar

from hypothesis import strategies as st

from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.core import BODY_TYPE
from tuspy_server.protocol.errors import TusError
from tuspy_server.protocol.fields import RequestHead
from tuspy_server.protocol.policy import Policy

P = ParamSpec("P")
R = TypeVar("R")

NOW: Final = datetime(2026, 3, 5, 12, 0, 0, 250_000, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)

NOT_INTEGERS: Final = (
    "", " ", "-1", "+5", "1_0", "1.5", "1e3", "0x10", "abc", "1,1", "1 1", "\u0661", "\uff15", "\u00b2", "1\n", "\x001",
    "9223372036854775808", "9" * 30, "0" * 20,
)  # fmt: skip
"""What Python's int(), Go's ParseInt or C's strtol would take for a number, or make another one of (CORE-PATCH-08)."""

FIELD_TEXT: Final = st.text(alphabet=st.characters(max_codepoint=255), max_size=80)
"""Any field value as it can arrive: bytes, read as latin-1."""


def outcome(decide: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | TusError:
    """What a decision comes to: its result, or the answer that it raises; any other exception is a defect."""
    try:
        return decide(*args, **kwargs)
    except TusError as error:
        return error


def head(method: str = "POST", fields: dict[str, str] | None = None, /, **lines: str) -> RequestHead:
    """A request's head: `Upload_Length="5"` is the field `Upload-Length: 5`."""
    named = {name.replace("_", "-"): value for name, value in lines.items()} | (fields or {})
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in named.items()]
    return RequestHead.from_raw(method, raw, 1 << 20)


def patch_head(**lines: str) -> RequestHead:
    """A sound PATCH of five bytes at offset 0; an empty value takes a field away."""
    sound = {"Content_Type": BODY_TYPE, "Upload_Offset": "0", "Content_Length": "5"} | lines
    return head("PATCH", **{name: value for name, value in sound.items() if value})


def policy(**changes: Any) -> Policy:
    """Limits that no test meets by accident."""
    sound = Policy(
        tus_max_size=None,
        max_header_bytes=32_768,
        max_metadata_bytes=8192,
        checksum_max_bytes=64 << 20,
        expiration=True,
    )
    return replace(sound, **changes)


def upload(**changes: Any) -> Upload:
    """An upload of ten bytes that has five and expires in an hour."""
    sound = Upload(
        id="0123456789abcdef" * 2,
        status=UploadStatus.UPLOADING,
        upload_offset=5,
        upload_length=10,
        upload_metadata=None,
        writer=None,
        created_at=NOW - HOUR,
        expires_at=NOW + HOUR,
        ended_at=None,
        as_of=NOW,
    )
    return replace(sound, **changes)


def finished(**changes: Any) -> Upload:
    """The same upload, complete."""
    done: dict[str, Any] = {"status": UploadStatus.FINISHED, "upload_offset": 10, "expires_at": None, "ended_at": NOW}
    return upload(**(done | changes))


GONE_UPLOADS: Final = (
    upload(status=UploadStatus.TERMINATED, ended_at=NOW),
    upload(status=UploadStatus.EXPIRED, ended_at=NOW),
    upload(status=UploadStatus.FAILED, ended_at=NOW),
    upload(expires_at=NOW),  # overdue, and not yet swept
)
"""Every way in which an upload can be gone."""
