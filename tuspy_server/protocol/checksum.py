"""`Upload-Checksum`: the algorithms, the header, and digests over a body that arrives in pieces.

Source: tus 1.0.0, Checksum. crc32 and crc32c are sent big-endian, as other tus servers and S3 do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import google_crc32c

from tuspy_server.protocol.errors import InvalidHeader, UnknownChecksumAlgorithm


class Digest(Protocol):
    """What hashlib's objects do, as far as it is needed here."""

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """The checksum of all bytes so far."""
        ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Crc32c:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        # The library takes only objects that own their bytes.
        self._value = google_crc32c.extend(self._value, bytes(data))

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class _Algorithm:
    digest_bytes: int
    start: Callable[[], Digest]


_ALGORITHMS: Final[Mapping[str, _Algorithm]] = {
    # The Server MUST support at least the SHA1 checksum algorithm identified by sha1.
    "sha1": _Algorithm(20, lambda: hashlib.sha1(usedforsecurity=False)),
    "sha256": _Algorithm(32, hashlib.sha256),
    "sha512": _Algorithm(64, hashlib.sha512),
    "md5": _Algorithm(16, lambda: hashlib.md5(usedforsecurity=False)),
    "crc32": _Algorithm(4, _Crc32),
    "crc32c": _Algorithm(4, _Crc32c),
}

CHECKSUM_ALGORITHMS: Final = tuple(_ALGORITHMS)
"""Names for `Tus-Checksum-Algorithm`, in ASCII without upper case."""


Trailers = Sequence[tuple[bytes, bytes]]
"""Trailer fields of a body that has ended: lower-case names with values, in the order sent."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """A parsed `Upload-Checksum`."""

    algorithm: str
    digest: bytes

    def start(self) -> Digest:
        """A fresh digest of this algorithm."""
        return _ALGORITHMS[self.algorithm].start()

    def holds(self, digest: Digest, trailers: Trailers) -> bool:
        """Whether the body that `digest` has seen is the one that the header names; trailers cannot change that."""
        return self.matches(digest.digest())

    def matches(self, computed: bytes) -> bool:
        """Whether `computed` is the digest that the client sent."""
        return hmac.compare_digest(self.digest, computed)

    def named(self, trailers: Trailers) -> Checksum:
        """This one."""
        return self

    def __str__(self) -> str:
        return f"{self.algorithm} {base64.b64encode(self.digest).decode()}"


class _EveryDigest:
    """All algorithms at once: which one the trailer will name is known only at its end."""

    def __init__(self) -> None:
        self._digests = {name: algorithm.start() for name, algorithm in _ALGORITHMS.items()}

    def update(self, data: memoryview, /) -> None:
        for digest in self._digests.values():
            digest.update(data)

    def digest(self) -> bytes:
        return self.named("sha1")

    def named(self, algorithm: str) -> bytes:
        return self._digests[algorithm].digest()


@dataclass(frozen=True, slots=True)
class TrailerChecksum:
    """An `Upload-Checksum` that is announced to come behind the body (tus 1.0.0, Checksum: checksum-trailer)."""

    def start(self) -> Digest:
        """A fresh digest of every algorithm."""
        return _EveryDigest()

    def holds(self, digest: Digest, trailers: Trailers) -> bool:
        """Whether the body is the one that its trailer names.

        Raises:
            InvalidHeader: 400, the trailer is missing, comes twice with different values, or is malformed.
            UnknownChecksumAlgorithm: 400.
        """
        checksum = self.named(trailers)
        return isinstance(digest, _EveryDigest) and checksum.matches(digest.named(checksum.algorithm))

    def named(self, trailers: Trailers) -> Checksum:
        """The one that the trailer names. Raises as `holds`."""
        values = {value for name, value in trailers if name == b"upload-checksum"}
        if len(values) != 1:
            raise InvalidHeader("Upload-Checksum", "is announced as a trailer and must come once")
        return parse_checksum(values.pop().decode("latin-1"))


def parse_checksum(text: str) -> Checksum:
    """Read `<algorithm> <base64 digest>`.

    Raises:
        UnknownChecksumAlgorithm: 400. InvalidHeader: 400, no space, not base64, or a digest of the wrong length.
    """
    algorithm, space, encoded = text.partition(" ")
    if not space:
        raise InvalidHeader("Upload-Checksum", "must be an algorithm, a space and a base64 digest")
    known = _ALGORITHMS.get(algorithm)
    if known is None:
        raise UnknownChecksumAlgorithm
    try:
        digest = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidHeader("Upload-Checksum", "the digest is not base64 with padding") from error
    if len(digest) != known.digest_bytes:
        raise InvalidHeader("Upload-Checksum", "the digest has the wrong length for its algorithm")
    return Checksum(algorithm, digest)
