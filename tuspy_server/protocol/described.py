"""How a stored file is described to whoever downloads it: names and types that do no harm.

Sources: RFC 6266 (Content-Disposition), RFC 8187 (filename*).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from tuspy_server.protocol.metadata import metadata_text

INLINE_TYPES: Final = frozenset(
    {
        "audio/aac",
        "audio/flac",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
        "video/mp4",
        "video/ogg",
        "video/webm",
    }
)
"""Types that run nothing in a browser. SVG, HTML, XML and PDF are not among them (fault X05)."""

NAME_BYTES: Final = 255
"""The longest file name that common file systems take."""

_TURNS_TEXT: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def described(upload_metadata: str | None) -> tuple[str, str]:
    """Content-Type and Content-Disposition for an upload with that metadata."""
    metadata = metadata_text(upload_metadata)
    declared = (metadata.get("filetype") or metadata.get("type") or "").partition(";")[0].strip().lower()
    inline = declared in INLINE_TYPES
    content_type = declared if inline else "application/octet-stream"
    if content_type == "text/plain":
        content_type = "text/plain; charset=utf-8"
    return content_type, content_disposition(metadata.get("filename") or metadata.get("name"), inline)


def content_disposition(filename: str | None, inline: bool) -> str:
    """RFC 6266: an ASCII `filename` for old clients, `filename*` where it says more. Nothing that a client sent gets
    into the header but letters, digits and marks that need no quoting (faults X02, X03)."""
    kind = "inline" if inline else "attachment"
    name = safe_filename(filename or "")
    if not name:
        return kind
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r"[^A-Za-z0-9 ._()+,=@-]", "_", ascii_name).strip(" .") or "download"
    if ascii_name == name:
        return f'{kind}; filename="{ascii_name}"'
    return f"{kind}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


def safe_filename(filename: str) -> str:
    """The last segment of a name, without controls and marks that turn the direction of text, cut to `NAME_BYTES`."""
    name = re.split(r"[/\\]", filename)[-1]
    name = "".join(char for char in _TURNS_TEXT.sub("", name) if unicodedata.category(char) not in ("Cc", "Cs", "Co"))
    return name.strip(" .").encode()[:NAME_BYTES].decode("utf-8", "ignore")
