"""What a store can and cannot do: found out by trying, at the start and by `tuspy-server check`.

S3 is what each store makes of it, and a header that it does not know it mostly ignores. So nothing is believed that has
not been seen to work and, where it is a safeguard, seen to refuse.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.errors import AccessDenied, QuotaExceeded, S3Error
from tuspy_server.stores.s3.probing import Facts, Prober
from tuspy_server.stores.s3.values import Lifecycle

Severity = Literal["error", "warning", "note"]
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell the operator: an `error` keeps the server from storing uploads; with a `warning` it stores them
    with less protection or at a higher cost; a `note` is good to know."""

    severity: Severity
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What was seen. All false where the store could not be used at all: then there is an `error` among the findings.

    Attributes:
        stores: objects and multipart uploads can be written, read back, listed and deleted.
        accepts_crc32c: `x-amz-checksum-crc32c` is taken; the client's `sends_crc32c` is to be set to it where
            `checksums` is `auto` (fault S16).
        verifies_crc32c: a wrong one is refused (fault S14).
        obeys_if_none_match: a second put on a key is refused (fault S19).
        copies_parts: UploadPartCopy.
        replaces_parts: a part's number can be given other bytes (fault S22).
        checks_etags: Complete refuses a part of another ETag.
        lists_multiparts: ListMultipartUploads, by prefix.
        keeps_metadata: an object's own metadata comes back.
        lifecycle: None where it cannot be read.
    """

    stores: bool
    accepts_crc32c: bool
    verifies_crc32c: bool
    obeys_if_none_match: bool
    copies_parts: bool
    replaces_parts: bool
    checks_etags: bool
    lists_multiparts: bool
    keeps_metadata: bool
    lifecycle: Lifecycle | None
    findings: tuple[Finding, ...]


async def probe(bucket: Bucket, prefix: str = "tmp/probe/") -> Capabilities:
    """Try the store out with some 5 MiB under `prefix`, which is for probes alone, and take everything away again, also
    after a failure; and what earlier probes that were killed have left.

    Never raises `S3Error`: what went wrong is a finding. `bucket.sends_crc32c` is afterwards as it was.
    """
    sent = bucket.sends_crc32c
    prober = Prober(bucket, prefix)
    findings: list[Finding] = []
    try:
        await prober.run()
    except S3Error as error:
        findings.append(Finding("error", _trouble(prober.doing, error)))
    finally:
        left = await prober.clean()
        bucket.sends_crc32c = sent
    if left is not None:
        findings.append(Finding("error", _trouble("delete what it wrote", left)))
    facts = prober.facts
    lifecycle: Lifecycle | None = None
    if not findings:
        with suppress(S3Error):
            lifecycle = await bucket.lifecycle()
        findings = _judged(facts, lifecycle, sent=sent)
    return Capabilities(
        stores=not any(finding.severity == "error" for finding in findings),
        accepts_crc32c=facts.accepts_crc32c,
        verifies_crc32c=facts.verifies_crc32c,
        obeys_if_none_match=facts.obeys_if_none_match,
        copies_parts=facts.copies_parts,
        replaces_parts=facts.replaces_parts,
        checks_etags=facts.checks_etags,
        lists_multiparts=facts.lists_multiparts,
        keeps_metadata=facts.keeps_metadata,
        lifecycle=lifecycle,
        findings=tuple(findings),
    )


def with_expiry(capabilities: Capabilities, longest_seconds: float | None) -> Capabilities:
    """The same, held against the longest life of an unfinished upload, None for no end (fault S10)."""
    days = capabilities.lifecycle.abort_days if capabilities.lifecycle is not None else None
    if days is None or (longest_seconds is not None and longest_seconds < days * _DAY_SECONDS):
        return capabilities
    life = "without end" if longest_seconds is None else f"{longest_seconds / _DAY_SECONDS:g} days"
    sentence = (
        f"The bucket's lifecycle aborts unfinished multipart uploads after {days} days, but uploads here may live "
        f"{life}: acknowledged bytes "
        "would be lost. Let them expire earlier, or change the rule."
    )
    return replace(capabilities, stores=False, findings=(*capabilities.findings, Finding("error", sentence)))


def _trouble(doing: str, error: S3Error) -> str:
    reason = f"{error.operation} answered {error.code}" + (f" ({error.status})" if error.status else "")
    if isinstance(error, AccessDenied):
        return f"The bucket's keys or policies do not let the server {doing}: {reason}."
    if isinstance(error, QuotaExceeded):
        return f"The bucket is full, so the server could not {doing}: {reason}."
    return f"The server could not {doing}: {reason}."


def _judged(facts: Facts, lifecycle: Lifecycle | None, *, sent: bool) -> list[Finding]:
    found: list[tuple[bool, Severity, str]] = [
        (
            not facts.checks_etags,
            "warning",
            "The store ignores ETags at CompleteMultipartUpload: a late part of a fenced writer is not noticed.",
        ),
        (
            not facts.obeys_if_none_match,
            "warning",
            "The store ignores If-None-Match: objects get keys of their own, and keys chosen by hooks are refused.",
        ),
        (
            sent and not facts.accepts_crc32c,
            "warning",
            "The store refuses CRC32C checksums: bytes that change on their way are not noticed.",
        ),
        (
            sent and facts.accepts_crc32c and not facts.verifies_crc32c,
            "warning",
            "The store does not verify the CRC32C checksums it takes: bytes changed on their way are not noticed.",
        ),
        (
            not facts.copies_parts,
            "note",
            "The store has no UploadPartCopy: pieces are read back and sent again where a copy would do.",
        ),
        (
            not facts.replaces_parts,
            "note",
            "The store refuses to replace a part by other bytes; the server never needs to.",
        ),
        (
            not facts.lists_multiparts,
            "warning",
            "The store does not list multipart uploads: some that were interrupted may be left behind.",
        ),
        (
            not facts.keeps_metadata,
            "warning",
            "The store loses objects' metadata: an answer that was lost cannot be settled by it.",
        ),
        (
            lifecycle is None,
            "note",
            "The bucket's lifecycle rules cannot be read: make sure that none aborts unfinished uploads too early.",
        ),
        (
            lifecycle is not None and lifecycle.abort_days is None,
            "note",
            "No lifecycle rule aborts unfinished multipart uploads: one, later than the expiry, is a good safety net.",
        ),
    ]
    return [Finding(severity, sentence) for holds, severity, sentence in found if holds]
