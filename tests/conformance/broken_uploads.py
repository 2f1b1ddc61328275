"""The uploads of the broken server, and the small parsers it needs."""

import binascii
import hashlib
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

MAX_SIZE = 52 << 20
DATA_TYPE = "application/offset+octet-stream"
ALGORITHMS = ("sha1", "md5", "sha256", "crc32")

On = Callable[[str], bool]


@dataclass
class Upload:
    """One upload; `length` is None while it is deferred, `expires_at` is in seconds since the epoch."""

    id: str
    length: int | None
    metadata: str | None = None
    concat: str | None = None
    parts: list[str] = field(default_factory=list)
    expires_at: float = 0.0
    data: bytearray = field(default_factory=bytearray)
    writing: bool = False
    claimed: int = 0
    stale: int = 0
    gone: bool = False

    @property
    def complete(self) -> bool:
        """Whether all bytes are there."""
        return self.length == len(self.data)

    def expired(self) -> bool:
        """Whether its time is over."""
        return time.time() > self.expires_at

    @property
    def upload_expires(self) -> str:
        """The value of Upload-Expires."""
        return formatdate(self.expires_at, usegmt=True)

    def describe(self, on: On) -> dict[str, str]:  # noqa: C901, PLR0912 -- one branch a fault
        """Return the header fields of a response to HEAD."""
        offset = len(self.data) + (1 if on("head-offset-plus-one") and self.data else 0)
        if (on("head-lies-during-patch") and self.writing) or (on("head-shows-unverified") and self.writing):
            offset = self.claimed
        if on("head-is-stale"):
            offset = self.stale
        headers = {"Upload-Offset": f"{offset}.0" if on("offset-as-float") else str(offset)}
        if on("completed-head-without-offset") and self.complete:
            del headers["Upload-Offset"]
        if not on("head-cacheable"):
            headers["Cache-Control"] = "no-store"
        if self.length is None:
            if not on("head-without-defer-length") and not (on("forgets-defer-length") and self.data):
                headers["Upload-Defer-Length"] = "1"
        elif not on("head-without-length"):
            headers["Upload-Length"] = str(int(float(self.length))) if on("length-as-float") else str(self.length)
        if on("completed-forgets-metadata") and self.complete:
            self.metadata = None
        if self.metadata is not None:
            headers["Upload-Metadata"] = self._echo(on)
        if self.concat is not None and not on("forgets-concat"):
            headers["Upload-Concat"] = self.concat
            if on("concat-echo-absolute") and self.concat != "partial":
                headers["Upload-Concat"] = self.concat.replace("/fault", "http://127.0.0.1/fault")
        if on("final-without-offset") and self.parts:
            del headers["Upload-Offset"]
        if on("partial-without-offset") and self.concat == "partial":
            del headers["Upload-Offset"]
        if not self.complete:
            headers["Upload-Expires"] = "2099-01-01T00:00:00Z" if on("head-expires-as-iso") else self.upload_expires
        return headers

    def _echo(self, on: On) -> str:
        text = self.metadata or ""
        if on("metadata-truncated"):
            return text[:1024]
        if on("metadata-reserialised"):
            pairs = metadata_pairs(text) or []
            return ",".join(f"{key} {b64encode(value).decode()}" for key, value in reversed(pairs))
        if on("metadata-as-text"):
            pairs = [(k, v.decode("utf-8", "replace").encode()) for k, v in metadata_pairs(text) or []]
            return ",".join(f"{key} {b64encode(value).decode()}" for key, value in pairs)
        return text


def digits(text: str) -> int | None:
    """Return a number written in ASCII digits, None for anything else."""
    return int(text) if text.isascii() and text.isdigit() else None


def metadata_pairs(text: str) -> list[tuple[str, bytes]] | None:
    """Return the pairs of an Upload-Metadata value, None if it is malformed."""
    pairs: list[tuple[str, bytes]] = []
    for member in text.split(","):
        key, _, coded = member.strip(" ").partition(" ")
        if not key or key in {known for known, _ in pairs}:
            return None
        try:
            pairs.append((key, b64decode(coded, validate=True)))
        except binascii.Error:
            return None
    return pairs


def digest(algorithm: str, data: bytes) -> bytes:
    """Return the digest of these bytes by one of ALGORITHMS."""
    if algorithm == "crc32":
        return zlib.crc32(data).to_bytes(4, "big")
    return hashlib.new(algorithm, data).digest()
