"""What goes into calls of the S3 client, and what comes out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import quote, unquote

AddressingStyle = Literal["auto", "path", "virtual"]
Checksums = Literal["auto", "crc32c", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """Where the bucket is and how patiently it is called.

    Attributes:
        endpoint_url: None for AWS.
        region: None: from the environment or the profile.
        call_seconds: deadline of one call with its repetitions, its waiting for a slot included.
        attempt_seconds: deadline of one attempt; of one block where an object is read.
        complete_seconds: deadline of CompleteMultipartUpload, which stores answer after minutes when the object is
            large.
        most_attempts: of one call.
        slots: calls at once.
        checksums: CRC32C with every part: always, never, or unless the store is seen to refuse it (fault S16).
        signs_payload: SHA-256 over every body, for a store that refuses `UNSIGNED-PAYLOAD`; a pass over all bytes.
        access_key_id: with `secret_access_key`, instead of the usual chain (environment, profile, instance, container).
    """

    bucket: str
    endpoint_url: str | None = None
    region: str | None = None
    addressing_style: AddressingStyle = "auto"
    call_seconds: float = 60.0
    attempt_seconds: float = 20.0
    complete_seconds: float = 300.0
    most_attempts: int = 5
    slots: int = 32
    checksums: Checksums = "auto"
    signs_payload: bool = False
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


METADATA_BYTES: Final = 2048
"""S3's limit for the names and values of an object's own metadata, together."""

# What a value may hold as it is. `%` and the space are not in it: the encoding stays reversible, and no gateway's way
# with leading or doubled spaces can change a value or break the signature.
_IN_VALUES: Final = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

# Gateways lose other names, or refuse their signature.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


def metadata_that_fits(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs, in their order, up to S3's limit of 2 KB. Names become lower case, as S3 makes them. Left out is what
    does not fit, and a name with anything but letters, digits, `.`, `_` and `-`, which no gateway keeps."""
    chosen: dict[str, str] = {}
    room = METADATA_BYTES
    for name, value in pairs:
        small = name.lower()
        needed = _header_bytes(small, value)
        if needed <= room and _NAME.fullmatch(small) and small not in chosen:
            chosen[small] = value
            room -= needed
    return chosen


def _header_bytes(name: str, value: str) -> int:
    return len(name) + len(quote(value, safe=_IN_VALUES))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHeaders:
    """The headers that an object keeps.

    Values of metadata may be any text. In `x-amz-meta-…` headers everything but printable ASCII, and the space and `%`
    too, is percent-encoded as UTF-8; `ObjectFacts.metadata` is decoded again.

    Attributes:
        metadata: at most 2 KB as encoded, with plain names in lower case: what `metadata_that_fits` gives.

    Raises:
        ValueError: other metadata, or a header with line breaks or anything but printable ASCII.
    """

    content_type: str | None = None
    content_disposition: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in (self.content_type, self.content_disposition):
            if value is not None and not (value.isascii() and value.isprintable()):
                raise ValueError("a header must be printable ASCII")
        if sum(_header_bytes(name, value) for name, value in self.metadata.items()) > METADATA_BYTES:
            raise ValueError("more than 2 KB of metadata")
        if not all(map(_NAME.fullmatch, self.metadata)):
            raise ValueError("a name of metadata has other characters than a-z, 0-9, '.', '_' and '-'")

    def encoded_metadata(self) -> dict[str, str]:
        """Names and values as they travel, without the `x-amz-meta-`."""
        return {name: quote(value, safe=_IN_VALUES) for name, value in self.metadata.items()}


def decoded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The inverse of `ObjectHeaders.encoded_metadata`."""
    return {name.lower(): unquote(value) for name, value in metadata.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """What HeadObject tells; `etag` has no quotes, `crc32c` is None where the store keeps none or one of parts only."""

    length: int
    etag: str
    metadata: Mapping[str, str]
    crc32c: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedPart:
    """A part as Complete names it. `crc32c` is sent only where checksums are."""

    part_number: int
    etag: str
    crc32c: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPart:
    """A part as the store lists it."""

    part_number: int
    etag: str
    size_bytes: int
    crc32c: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """What the bucket's rules do by themselves; `abort_days`: after how many days the store aborts an unfinished
    multipart upload, None for never."""

    abort_days: int | None


@dataclass(slots=True)
class Doubt:
    """Given to a call that writes: whether one of its attempts may land yet, even though a later one succeeded (faults
    S07, S08): then cleaning up must look again after the storage's deadline."""

    remains: bool = False
