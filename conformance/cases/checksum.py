"""Extension checksum."""

import asyncio
import hashlib
import random
from base64 import b64encode

from conformance.case import Level, case
from conformance.cases.core_patch import unchanged
from conformance.checksums import digests
from conformance.client import Tus
from conformance.expect import expect, expect_4xx, expect_status, offset_of
from conformance.message import Response


def upload_checksum(data: bytes, algorithm: str = "sha1") -> dict[str, str]:
    """Return the Upload-Checksum header of these bytes, for an algorithm that hashlib knows."""
    return {"Upload-Checksum": f"{algorithm} {b64encode(hashlib.new(algorithm, data).digest()).decode()}"}


def _rejected(response: Response) -> None:
    expect(response.status >= 400, f"an error for a wrong checksum, got {response.status}", response)
    # The number is only a MAY in the text; that the bytes are discarded is the MUST.
    expect_status(response, 460, level=Level.MAY)


@case("CSUM-01")
async def algorithms_are_advertised(tus: Tus) -> None:
    response = await tus.request("OPTIONS", tus.url)
    names = response.members("Tus-Checksum-Algorithm")
    expect("sha1" in names, f"sha1 in Tus-Checksum-Algorithm, got {names}", response)
    expect(all(name and name.isascii() and name == name.lower() for name in names), "lower case ASCII names", response)


@case("CSUM-02")
async def a_right_checksum_is_accepted(tus: Tus) -> None:
    url = await tus.create(10)
    expect_status(await tus.patch(url, 0, b"hello", upload_checksum(b"hello")), 204)
    await unchanged(tus, url, 5, "a PATCH of 5 bytes with a right checksum")


@case("CSUM-03")
async def a_wrong_checksum_is_460(tus: Tus) -> None:
    url = await tus.create(10)
    response = await tus.patch(url, 0, b"hello", upload_checksum(b"other"))
    await unchanged(tus, url, 0, "a wrong checksum")
    expect(response.get("Tus-Resumable") == "1.0.0", "Tus-Resumable: 1.0.0", response)
    _rejected(response)


@case("CSUM-04")
async def rejected_bytes_leave_no_trace(tus: Tus) -> None:
    url = await tus.create(10)
    await tus.patch(url, 0, b"XXXXX", upload_checksum(b"hello"))
    expect_status(await tus.patch(url, 0, b"hello", upload_checksum(b"hello")), 204)
    await tus.patch(url, 5, b"YYYYY", upload_checksum(b"world"))
    expect_status(await tus.patch(url, 5, b"world"), 204)
    await unchanged(tus, url, 10, "the last PATCH")
    got = await tus.content(url)
    expect(got in (None, b"helloworld"), f"none of the rejected bytes in the content, got {got!r}")


@case("CSUM-05")
async def an_unlisted_algorithm_is_400(tus: Tus) -> None:
    url = await tus.create(10)
    response = await tus.patch(url, 0, b"hello", {"Upload-Checksum": "foo AAAA"})
    await unchanged(tus, url, 0, "an unknown algorithm")
    expect_4xx(response, "the algorithm was foo")
    expect_status(response, 400, level=Level.MAY)


@case("CSUM-06")
async def every_advertised_algorithm_works(tus: Tus) -> None:
    for algorithm in tus.target.checksum_algorithms:
        right, wrong = digests(algorithm, b"hello"), digests(algorithm, b"other")
        if not right:
            tus.note(f"{algorithm} not judged: the suite does not know it")
            continue
        url = await tus.create(5)
        _rejected(await tus.patch(url, 0, b"hello", {"Upload-Checksum": f"{algorithm} {wrong[0]}"}))
        await unchanged(tus, url, 0, f"a wrong {algorithm}")
        answers = [await tus.patch(url, 0, b"hello", {"Upload-Checksum": f"{algorithm} {digest}"}) for digest in right]
        accepted = [answer for answer in answers if answer.status == 204]
        expect(accepted, f"204, as the {algorithm} was right, got {answers[0].status}", answers[0])
        await unchanged(tus, url, 5, f"a right {algorithm}")


@case("CSUM-07")
async def a_malformed_checksum_is_400(tus: Tus) -> None:
    right = b64encode(hashlib.sha1(b"hello").digest()).decode()
    for value, allowed in (
        (f"sha1{right}", (400,)),
        ("sha1 !!!!", (400, 460)),
        ("sha1 AAAA", (400, 460)),
        ("", (400,)),
        (f"SHA1 {right}", (400, 204)),
    ):
        url = await tus.create(5)
        response = await tus.patch(url, 0, b"hello", {"Upload-Checksum": value})
        await unchanged(tus, url, 5 if response.status == 204 else 0, f"Upload-Checksum {value!r}")
        expect_status(response, *allowed, why=f"Upload-Checksum was {value!r}")


@case("CSUM-08")
async def unverified_bytes_are_dropped(tus: Tus) -> None:
    content = b"hello world" * 100
    url = await tus.create(len(content))
    async with tus.open_patch(url, 0, len(content), upload_checksum(content)) as connection:
        await connection.send(content[:600])
        await asyncio.sleep(0.1)
        connection.close()
        # The server may notice the lost connection late, so it is asked for a while; no answer may count the bytes.
        offset = await tus.settled_offset(url, 1, seconds=0.5)
    expect(offset == 0, f"the offset before the request, as its bytes were never verified, got {offset}")


@case("CSUM-09")
async def an_empty_patch_has_a_checksum_too(tus: Tus) -> None:
    url = await tus.create(5)
    expect_status(await tus.patch(url, 0, b"", upload_checksum(b"")), 204)
    _rejected(await tus.patch(url, 0, b"", upload_checksum(b"other")))
    await unchanged(tus, url, 0, "two empty PATCHes")


@case("CSUM-10")
async def the_last_chunk_is_verified_too(tus: Tus) -> None:
    url = await tus.create(10)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    wrong = await tus.patch(url, 5, b"wrong", upload_checksum(b"world"))
    await unchanged(tus, url, 5, "a wrong checksum of the last chunk")
    expect_status(await tus.patch(url, 3, b"world", upload_checksum(b"world")), 409)
    await unchanged(tus, url, 5, "409")
    expect_status(await tus.patch(url, 5, b"world", upload_checksum(b"world")), 204)
    await unchanged(tus, url, 10, "the retry")
    _rejected(wrong)


@case("CSUM-11")
async def many_rejected_megabytes_leave_no_trace(tus: Tus) -> None:
    content = random.Random(11).randbytes(12 << 20)
    url = await tus.create(len(content))
    wrong = await tus.patch(url, 0, content[::-1], upload_checksum(content))
    await unchanged(tus, url, 0, "a wrong checksum of 12 MiB")
    response = await tus.patch(url, 0, content, upload_checksum(content))
    expect_status(response, 204)
    expect(offset_of(response) == len(content), f"Upload-Offset: {len(content)}", response)
    got = await tus.content(url)
    expect(got is None or got == content, "the bytes of the retry")
    _rejected(wrong)


@case("CSUM-12")
async def head_reports_no_unverified_bytes(tus: Tus) -> None:
    content = b"hello world" * 100
    url = await tus.create(len(content))
    async with tus.open_patch(url, 0, len(content), upload_checksum(content)) as connection:
        await connection.send(content[:600])
        await asyncio.sleep(0.1)
        head = await tus.head(url)
        if head.status != 423:
            expect(offset_of(head) == 0, "423 or the offset before the PATCH", head)
