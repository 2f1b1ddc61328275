"""Keys of objects and of pieces. Nothing that a client sends gets into one (faults X01, X02): no file name, no path."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

MOST_KEY_BYTES: Final = 1024
"""S3's limit."""

TENANT: Final = "default"

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_KNOWN: Final = frozenset({"id", "date", "tenant"})
_SAFE: Final = re.compile(r"[A-Za-z0-9!_.*'()=/-]*")
_ID: Final = re.compile(r"[0-9a-f]{32}")
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
        example = self.object_key("0" * 32, datetime(2026, 1, 2, tzinfo=UTC))
        if any(segment in ("", ".", "..") for segment in example.split("/")):
            raise ValueError("a segment of the key would be empty, `.` or `..`")
        if example.startswith(f"{prefix}{_TEMPORARY}"):
            raise ValueError(f"keys of objects must not begin with {_TEMPORARY}, where the pieces are")
        if len(example) > MOST_KEY_BYTES or len(self.piece_key("0" * 32, "0" * 64, 10**9)) > MOST_KEY_BYTES:
            raise ValueError(f"keys would be longer than {MOST_KEY_BYTES} bytes")

    def object_key(self, upload_id: str, created_at: datetime) -> str:
        """Of a finished upload."""
        values = {"id": _checked(_ID, upload_id), "date": f"{created_at.astimezone(UTC):%Y/%m/%d}", "tenant": TENANT}
        return self._prefix + _PLACEHOLDER.sub(lambda match: values[match[1]], self._template)

    def pieces_prefix(self, upload_id: str) -> str:
        """Of all pieces of one upload, and of nothing else."""
        return f"{self._prefix}{_TEMPORARY}{_checked(_ID, upload_id)}/"

    def piece_key(self, upload_id: str, writer: str, number: int) -> str:
        """Of one piece; no two writers ever write the same."""
        return f"{self.pieces_prefix(upload_id)}{_checked(_WRITER, writer)}-{number}"

    def probe_key(self, name: str) -> str:
        """Of an object that readiness writes, reads and deletes."""
        return f"{self._prefix}{_TEMPORARY}probe-{_checked(_WRITER, name)}"


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("not an id of ours")
    return text
