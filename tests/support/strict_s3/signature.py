"""AWS Signature Version 4, to check what clients sent and to sign what the layer sends on."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

from tests.support.strict_s3.errors import S3Error
from trial.gateways import Bucket

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
NOBODY: Final = S3Error(403, "AccessDenied", "Access Denied")


@dataclass(frozen=True, kw_only=True)
class _Signed:
    scope: str
    date: str
    names: Sequence[str]
    payload: str
    signature: str


def sign(account: Bucket, method: str, target: str, headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` and those that make the request ours; `headers` must hold `host`."""
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date[:8]}/{account.region}/s3/aws4_request"
    signed = {name.lower(): value for name, value in headers.items()}
    signed |= {"x-amz-date": date, "x-amz-content-sha256": UNSIGNED}
    names = sorted(signed)
    signature = _signature(account, method, target, signed, names, date, scope, UNSIGNED)
    credential = f"{account.access_key_id}/{scope}"
    return {
        **signed,
        "authorization": f"{ALGORITHM} Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signature}",
    }


def check(account: Bucket, method: str, target: str, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
    """Raises:
    S3Error: 403, not signed by this account; presigned URLs count too.
    """
    sent = _from_query(query) if "X-Amz-Signature" in query else _from_header(headers)
    key_id, _, scope = sent.scope.partition("/")
    if key_id != account.access_key_id:
        raise S3Error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    unsigned_target = _without_signature(target)
    expected = _signature(account, method, unsigned_target, headers, sent.names, sent.date, scope, sent.payload)
    if not hmac.compare_digest(expected, sent.signature):
        raise S3Error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match yours.")


def _from_header(headers: Mapping[str, str]) -> _Signed:
    algorithm, _, rest = headers.get("authorization", "").partition(" ")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    if algorithm != ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise NOBODY
    return _Signed(
        scope=fields["Credential"],
        date=headers.get("x-amz-date", ""),
        names=fields["SignedHeaders"].split(";"),
        payload=headers.get("x-amz-content-sha256", ""),
        signature=fields["Signature"],
    )


def _from_query(query: Mapping[str, str]) -> _Signed:
    try:
        return _Signed(
            scope=query["X-Amz-Credential"],
            date=query["X-Amz-Date"],
            names=query["X-Amz-SignedHeaders"].split(";"),
            payload=UNSIGNED,
            signature=query["X-Amz-Signature"],
        )
    except KeyError:
        raise NOBODY from None


def _without_signature(target: str) -> str:
    path, _, query = target.partition("?")
    kept = [field for field in query.split("&") if field and not field.startswith("X-Amz-Signature=")]
    return f"{path}?{'&'.join(kept)}"


def _signature(  # noqa: PLR0917  # as the specification has it
    account: Bucket,
    method: str,
    target: str,
    headers: Mapping[str, str],
    names: Sequence[str],
    date: str,
    scope: str,
    payload: str,
) -> str:
    path, _, query_text = target.partition("?")
    fields = [field.partition("=")[::2] for field in query_text.split("&") if field]
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(fields))
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
    canonical = "\n".join([method, quote(unquote(path), safe="/~"), query, lines, ";".join(names), payload])
    text = "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{account.secret_access_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _quoted(text: str) -> str:
    return quote(unquote(text.replace("+", "%20")), safe="~")
