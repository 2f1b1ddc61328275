"""`protocol/checksum.py`: the header's grammar, and each algorithm against digests that others computed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import FIELD_TEXT, outcome
from tuspy_server.protocol.checksum import CHECKSUM_ALGORITHMS, Checksum, parse_checksum
from tuspy_server.protocol.errors import InvalidHeader, TusError, UnknownChecksumAlgorithm

# Of "123456789", the check value of every catalogue of CRCs, and by sha1sum, sha256sum, sha512sum and md5sum.
KNOWN = {
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "sha512": "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a"
    "d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "crc32": "cbf43926",
    "crc32c": "e3069283",
}


def encoded(algorithm: str, digest: bytes) -> str:
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def test_sha1_is_offered_and_names_have_no_upper_case() -> None:
    """CSUM-01."""
    assert "sha1" in CHECKSUM_ALGORITHMS
    assert set(KNOWN) == set(CHECKSUM_ALGORITHMS)
    assert all(name.isascii() and name == name.lower() for name in CHECKSUM_ALGORITHMS)


@pytest.mark.parametrize("algorithm", KNOWN)
def test_right_digests_match_and_wrong_ones_do_not(algorithm: str) -> None:
    """CSUM-02, CSUM-03, CSUM-06: over a body that arrives in pieces."""
    right = bytes.fromhex(KNOWN[algorithm])
    digest = parse_checksum(encoded(algorithm, right)).start()
    for piece in (b"123", b"", b"456789"):
        digest.update(memoryview(bytearray(piece)))
    assert digest.digest() == right
    assert Checksum(algorithm, right).matches(digest.digest())
    assert not Checksum(algorithm, bytes(len(right))).matches(digest.digest())


@pytest.mark.parametrize("algorithm", KNOWN)
def test_the_empty_body_has_a_digest(algorithm: str) -> None:
    """CSUM-09."""
    digest = Checksum(algorithm, b"").start()
    before = digest.digest()
    digest.update(memoryview(b""))
    assert digest.digest() == before


SHA1 = base64.b64encode(bytes.fromhex(KNOWN["sha1"])).decode()


@pytest.mark.parametrize("text", ["foo AAAA", f"SHA1 {SHA1}", f" {SHA1}", f"sha-1 {SHA1}", f"\xe9 {SHA1}"], ids=ascii)
def test_an_unknown_algorithm_is_400(text: str) -> None:
    """CSUM-05, CSUM-07: the name's case counts."""
    with pytest.raises(UnknownChecksumAlgorithm) as caught:
        parse_checksum(text)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be an algorithm, a space and a base64 digest"),
        ("sha1", "must be an algorithm, a space and a base64 digest"),
        (f"sha1:{SHA1}", "must be an algorithm, a space and a base64 digest"),
        ("sha1 ", "the digest has the wrong length for its algorithm"),
        ("sha1 AAAA", "the digest has the wrong length for its algorithm"),
        (f"md5 {SHA1}", "the digest has the wrong length for its algorithm"),
        ("sha1 !!!", "the digest is not base64 with padding"),
        (f"sha1 {SHA1[:-1]}", "the digest is not base64 with padding"),
        (f"sha1  {SHA1}", "the digest is not base64 with padding"),
        (f"sha1 {SHA1},{SHA1}", "the digest is not base64 with padding"),
        (f"sha1 \xff{SHA1}", "the digest is not base64 with padding"),
    ],
)
def test_what_breaks_the_grammar_is_400(text: str, reason: str) -> None:
    """CSUM-07."""
    with pytest.raises(InvalidHeader) as caught:
        parse_checksum(text)
    assert (caught.value.status, str(caught.value)) == (400, f"Upload-Checksum: {reason}")


@given(FIELD_TEXT | st.builds("{} {}".format, st.sampled_from(CHECKSUM_ALGORITHMS), FIELD_TEXT))
def test_any_text_is_a_checksum_or_a_400_that_does_not_repeat_it(text: str) -> None:
    """I11, X19."""
    checksum = outcome(parse_checksum, text)
    if isinstance(checksum, TusError):
        assert checksum.status == 400
        assert str(checksum).removeprefix("Upload-Checksum: ") in {
            "must be an algorithm, a space and a base64 digest",
            "unknown algorithm; see Tus-Checksum-Algorithm",
            "the digest is not base64 with padding",
            "the digest has the wrong length for its algorithm",
        }
    else:
        assert len(checksum.start().digest()) == len(checksum.digest)
