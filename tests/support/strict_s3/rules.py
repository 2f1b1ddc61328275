"""What the layer insists on, and how the store behind it is made to differ from AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MEBIBYTE: Final = 1 << 20


@dataclass(kw_only=True)
class Rules:
    """As AWS by default; a test may change them while requests are under way."""

    minimum_part_bytes: int = 5 * MEBIBYTE
    """Of all parts but the last, at Complete."""

    minimum_ranged_source_bytes: int = 5 * MEBIBYTE
    """UploadPartCopy takes a range of larger objects only."""

    part_limit: int = 10_000
    page_items: int = 1_000
    """Of one answer of ListParts, ListMultipartUploads and ListObjectsV2, and keys of one DeleteObjects."""

    equal_parts: bool = False
    """R2: all parts but the last have one size, and the last is no larger (S11)."""

    refuses_sdk_checksums: bool = False
    """What SDKs add unasked, trailers and `x-amz-sdk-checksum-algorithm`, is not implemented (S16)."""

    refuses_checksums: bool = False
    """Nor are `x-amz-checksum-…` headers."""

    keeps_checksums: bool = True
    """False: checksums are neither compared nor given back, as with rclone."""

    keeps_metadata: bool = True
    """False: HeadObject gives no `x-amz-meta-…`, as rclone after a restart."""

    ignores_conditions: bool = False
    """If-Match and If-None-Match of writes have no effect, as with rclone (S19)."""

    ignores_part_etags: bool = False
    """Complete takes the last bytes that each part got, whatever ETag it is given."""

    etags_are_md5: bool = True
    """False: they say nothing, as with buckets that encrypt with their own keys, and parts cost half the time."""

    refuses_part_copies: bool = False
    """UploadPartCopy is not implemented."""

    replaces_parts: Literal["by_any", "by_same", "never"] = "by_any"
    """Whether a part's number takes bytes once more: rclone takes the same ones alone (S22)."""

    abort_spares_parts_in_flight: bool = True
    """A part under way at Abort is stored when it lands, and needs another Abort (S08)."""

    quota_bytes: int | None = None
    """Of objects and parts together (S18)."""

    quota_status: int = 507
    multipart_idle_seconds: float | None = None
    """Multiparts without a request for so long are gone (S10)."""

    latency_seconds: float = 0.0
    """Before each answer."""
