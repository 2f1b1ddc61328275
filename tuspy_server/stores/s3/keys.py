"""Keys of objects and of pieces. Nothing that a client sends gets into one (faults X01, X02): no file name, no path."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

from tuspy_server.model import UPLOAD_ID

MOST_KEY_BYTES: Final = 1024
"""S3's limit."""

TENANT: Final = "default"
"""Where nobody says whose an upload is."""

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_KNOWN: Final = frozenset({"id", "date", "tenant"})
_SAFE: Final = re.compile(r"[A-Za-z0-9!_.*'()=/-]*")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9!_.*'()=-]{1,64}")
_WRITER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEMPORARY: Final = "tmp/"


class Keys:
    """All keys of one server in its bucket; it touches none that does not begin with its prefix.

    Args:
        template: of the keys of objects: `{id}` of the upload, which must be there, so that no two uploads ever have
            the same key; `{date}` of its creation in UTC, as `2026/01/31`; `{tenant}`.
        prefix: of all keys; to be like a folder it ends in a slash.

    Raises:
        ValueError: a template or prefix that could lead out of the prefix, among the pieces, or to a key of more than
            1,024 bytes.
    """

    def __init__(self, template: str = "{id}", prefix: str = "") -> None:
        unknown = set(_PLACEHOLDER.findall(template)) - _KNOWN
        if unknown:
            raise ValueError(f"the key template has placeholders that do not exist: {sorted(unknown)}")
        if "{id}" not in template:
            raise ValueError("the key template needs {id}")
        for text in (prefix, _PLACEHOLDER.sub("", template)):
            if not _SAFE.fullmatch(text):
                raise ValueError("prefix and key template hold letters, digits and !_.*'()=/- alone")
        self._template = template
        self._prefix = prefix
        self.object_key("0" * 64, datetime(2026, 1, 2, tzinfo=UTC), "0" * 64)
        if len(self.piece_key("0" * 64, "0" * 64, 10**9)) > MOST_KEY_BYTES:
            raise ValueError(f"keys would be longer than {MOST_KEY_BYTES} bytes")

    def object_key(self, upload_id: str, created_at: datetime, tenant: str | None = None) -> str:
        """Of a finished upload. Of a tenant whose name is no safe segment, its digest is in it.

        Raises:
            ValueError: the id, which a hook has chosen, makes it a key among the pieces.
        """
        values = {
            "id": _checked(UPLOAD_ID, upload_id),
            "date": f"{created_at.astimezone(UTC):%Y/%m/%d}",
            "tenant": _segment(tenant or TENANT),
        }
        return self._inside(_PLACEHOLDER.sub(lambda match: values[match[1]], self._template))

    def chosen_key(self, key: str) -> str:
        """Of an upload whose key a hook has chosen; `key` goes below the prefix.

        Raises:
            ValueError: it could lead out of the prefix, among the pieces, or is too long.
        """
        if not _SAFE.fullmatch(key):
            raise ValueError("a key holds letters, digits and !_.*'()=/- alone")
        return self._inside(key)

    def _inside(self, key: str) -> str:
        whole = self._prefix + key
        if any(segment in ("", ".", "..") for segment in whole.split("/")):
            raise ValueError("a segment of the key would be empty, `.` or `..`")
        if key.startswith(_TEMPORARY):
            raise ValueError(f"keys of objects must not begin with {_TEMPORARY}, where the pieces are")
        if len(whole) > MOST_KEY_BYTES:
            raise ValueError(f"keys would be longer than {MOST_KEY_BYTES} bytes")
        return whole

    def pieces_prefix(self, upload_id: str) -> str:
        """Of all pieces of one upload, and of nothing else."""
        return f"{self._prefix}{_TEMPORARY}{_checked(UPLOAD_ID, upload_id)}/"

    def piece_key(self, upload_id: str, writer: str, number: int) -> str:
        """Of one piece; no two writers ever write the same."""
        return f"{self.pieces_prefix(upload_id)}{_checked(_WRITER, writer)}-{number}"

    def probes_prefix(self) -> str:
        """Of all that probes write, and of nothing else."""
        return f"{self._prefix}{_TEMPORARY}probe/"


def _segment(tenant: str) -> str:
    if _SEGMENT.fullmatch(tenant) and tenant not in (".", "..", "tmp"):
        return tenant
    return f"tenant-{hashlib.sha256(tenant.encode()).hexdigest()[:32]}"


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("not an id of ours")
    return text
