"""AWS Signature Version 4 for the few calls that are many: botocore's signer, without what these calls do not need.

botocore derives the signing key anew for every request and sorts and copies a request object; here the key is kept for
its day. The tests hold every signature against botocore's own.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

UNSIGNED: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one request."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A request as it will travel: encoded path, and a query that is encoded and sorted by name."""

    method: str
    host: str
    path: str
    query: str


class Signer:
    """Makes `Authorization` for one region."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._day = ""
        self._secret = ""
        self._key = b""

    def signed(
        self, target: Target, headers: Mapping[str, str], keys: Keys, payload_hash: str, now: float | None = None
    ) -> dict[str, str]:
        """All headers of the request: those given (lower case, no doubled ones), the host, and the signature's."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = moment[:8]
        complete = {**headers, "host": target.host, "x-amz-content-sha256": payload_hash, "x-amz-date": moment}
        if keys.session_token:
            complete["x-amz-security-token"] = keys.session_token
        names = sorted(complete)
        lines = "".join([f"{name}:{' '.join(complete[name].split())}\n" for name in names])
        signed_names = ";".join(names)
        request = f"{target.method}\n{target.path}\n{target.query}\n{lines}\n{signed_names}\n{payload_hash}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(keys.secret_access_key, day), text.encode(), "sha256").hex()
        complete["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        return complete

    def _signing_key(self, secret: str, day: str) -> bytes:
        if day != self._day or secret != self._secret:
            key = f"AWS4{secret}".encode()
            for step in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, step.encode(), "sha256")
            self._key, self._day, self._secret = key, day, secret
        return self._key


def sha256_of(views: Iterable[memoryview]) -> str:
    """The hash of a body for `signs_payload`."""
    digest = hashlib.sha256()
    for view in views:
        digest.update(view)
    return digest.hexdigest()
