"""Core protocol: PATCH and the checks on its header fields."""

import gzip
import random

from conformance.case import Level, case
from conformance.cases.core_version import unknown_url
from conformance.client import OFFSET_OCTET_STREAM, Tus
from conformance.expect import expect, expect_4xx, expect_status, no_5xx, offset_of


async def unchanged(tus: Tus, url: str, offset: int, why: str) -> None:
    """Fail unless HEAD still reports this offset."""
    got = await tus.offset(url)
    expect(got == offset, f"the offset {offset} unchanged after {why}, got {got}")


@case("CORE-PATCH-01")
async def patch_appends(tus: Tus) -> None:
    url = await tus.create(11)
    connection = await tus.connect(url)
    offset = 0
    for part in (b"hello", b" world"):
        tus.send_head(connection, "PATCH", url, {**tus.patch_headers(offset), "Content-Length": str(len(part))})
        await connection.send(part)
        response = await tus.receive(connection)
        offset += len(part)
        expect_status(response, 204)
        expect(offset_of(response) == offset, f"Upload-Offset: {offset}", response)
        expect(not connection.unread, "no body in a 204 response", response)
        length = response.get("Content-Length")
        framed = response.get("Transfer-Encoding") is not None or length not in {None, "0"}
        expect(not framed, "no body framing in a 204 response", response)
        expect(await tus.offset(url) == offset, f"HEAD to agree on the offset {offset}", response)
        if not response.keeps_alive or connection.ended:
            tus.note("the server closes the connection after a PATCH")
            connection = await tus.connect(url)
        # RFC 9110 8.6 forbids it in a 204, but no client stumbles over a zero.
        expect(length is None, "no Content-Length in a 204 response", response, Level.PRACTICE)


@case("CORE-PATCH-02")
async def patch_at_a_wrong_offset_is_409(tus: Tus) -> None:
    content = b"0123456789"
    url = await tus.create(len(content))
    expect_status(await tus.patch(url, 0, content[:5]), 204)
    for wrong in (4, 0, 6):
        expect_status(await tus.patch(url, wrong, b"xx"), 409, why=f"the offset is 5, the request says {wrong}")
        await unchanged(tus, url, 5, "409")
    await tus.finish(url, len(content), content)
    got = await tus.content(url)
    expect(got in (None, content), f"the content {content!r}, got {got!r}")


@case("CORE-PATCH-03")
async def another_content_type_is_415(tus: Tus) -> None:
    url = await tus.create(5)
    for content_type in ("application/octet-stream", None):
        response = await tus.patch(url, 0, b"hello", {"Content-Type": content_type})
        await unchanged(tus, url, 0, f"a PATCH with Content-Type {content_type}")
        expect_status(response, 415, why=f"Content-Type was {content_type}")


@case("CORE-PATCH-04")
async def media_types_ignore_case(tus: Tus) -> None:
    for content_type in ("Application/Offset+Octet-Stream", f"{OFFSET_OCTET_STREAM}; charset=utf-8"):
        url = await tus.create(5)
        response = await tus.patch(url, 0, b"hello", {"Content-Type": content_type})
        expect_status(response, 204, 415, 400)
        await unchanged(tus, url, 5 if response.status == 204 else 0, f"a status of {response.status}")
        if response.status != 204:
            tus.note(f"Content-Type: {content_type} answers {response.status}, 204 is recommended")


@case("CORE-PATCH-05")
async def patch_of_an_unknown_upload_is_404(tus: Tus) -> None:
    expect_status(await tus.patch(unknown_url(tus), 0, b"hello"), 404, 410, 403)


@case("CORE-PATCH-06")
async def patch_without_offset_is_400(tus: Tus) -> None:
    url = await tus.create(5)
    response = await tus.patch(url, 0, b"hello", {"Upload-Offset": None})
    expect_status(response, 400, 403, 409, 412)
    await unchanged(tus, url, 0, "a PATCH without Upload-Offset")
    if response.status != 400:
        tus.note(f"answers {response.status}, 400 is recommended")


@case("CORE-PATCH-07")
async def a_malformed_offset_is_refused(tus: Tus) -> None:
    url = await tus.create(5)
    for offset in ("-1", "abc", "1.5", "1e3", "0x10", ""):
        response = await tus.patch(url, offset, b"hello")
        expect_4xx(response, f"Upload-Offset was {offset!r}")
        await unchanged(tus, url, 0, f"Upload-Offset {offset!r}")


@case("CORE-PATCH-08")
async def a_strange_offset_is_refused(tus: Tus) -> None:
    url = await tus.create(50)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    # The fullwidth digit five goes out as its UTF-8 bytes.
    for offset in ("+5", "1_0", "\uff15".encode().decode("latin-1"), str(2**63), "9" * 30):
        response = await tus.patch(url, offset, b"world")
        expect_status(response, 400, 409, why=f"Upload-Offset was {offset!r}")
        await unchanged(tus, url, 5, f"Upload-Offset {offset!r}")


@case("CORE-PATCH-09")
async def differing_duplicates_are_refused(tus: Tus) -> None:
    valid = [("Tus-Resumable", "1.0.0"), ("Content-Type", OFFSET_OCTET_STREAM), ("Upload-Offset", "0")]
    doubled = [("Upload-Offset", "3"), ("Tus-Resumable", "0.2.2")]
    if tus.target.advertises("checksum"):
        valid.append(("Upload-Checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="))
        doubled.append(("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
    for name, second in doubled:
        for flip in (False, True):
            url = await tus.create(5)
            first = dict(valid)[name]
            fields = [field for field in valid if field[0] != name]
            fields += [(name, second), (name, first)] if flip else [(name, first), (name, second)]
            response = await tus.request("PATCH", url, fields, b"hello")
            expect_status(response, 400, 409, 412, 460, why=f"two differing lines of {name}")
            await unchanged(tus, url, 0, f"two lines of {name}")
    lengths = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "5"), ("Upload-Length", "6")]
    expect_status(await tus.post(lengths), 400, 409, 412, 460, why="two differing lines of Upload-Length")


@case("CORE-PATCH-10")
async def an_empty_patch_changes_nothing(tus: Tus) -> None:
    url = await tus.create(10)
    for offset, data in ((0, b""), (0, b"hello"), (5, b"")):
        response = await tus.patch(url, offset, data)
        expect_status(response, 204)
        expect(offset_of(response) == offset + len(data), f"Upload-Offset: {offset + len(data)}", response)
    await unchanged(tus, url, 5, "an empty PATCH")


@case("CORE-PATCH-11")
async def a_completed_upload_stays_as_it_is(tus: Tus) -> None:
    url = await tus.create_full(b"hello")
    empty = await tus.patch(url, 5, b"")
    expect_status(empty, 204, why="an empty PATCH at the end of a completed upload")
    expect(offset_of(empty) == 5, "Upload-Offset: 5", empty)
    more = await tus.patch(url, 5, b"!")
    expect_status(more, 413, 400, 403, 409, 204)
    await unchanged(tus, url, 5, "a PATCH beyond the end")
    got = await tus.content(url)
    expect(got in (None, b"hello"), f"the content unchanged, got {got!r}", more)


@case("CORE-PATCH-12")
async def a_body_beyond_the_length_is_413(tus: Tus) -> None:
    url = await tus.create(10)
    response = await tus.patch(url, 0, b"0123456789x")
    offset = await tus.offset(url)
    expect(offset <= 10, f"an offset of at most the length of 10, got {offset}", response)
    expect_status(response, 413, 400)
    expect(offset == 0, f"nothing stored of a refused body, got offset {offset}", response)


@case("CORE-PATCH-13")
async def a_chunked_body_beyond_the_length_is_cut(tus: Tus) -> None:
    url = await tus.create(100_000)
    async with tus.open_patch(url, 0, None) as connection:
        await connection.send_chunk(b"a" * 100_000)
        await connection.send_chunk(b"b" * 100_000)
        await connection.end_chunks()
        try:
            response = await tus.receive(connection)
        except Exception as error:
            tus.note(f"the connection ended: {error}")
        else:
            expect_status(response, 413, 400)
    offset = await tus.offset(url)
    expect(offset <= 100_000, f"an offset of at most the length of 100000, got {offset}")
    await tus.finish(url, 100_000, b"a" * 100_000)
    got = await tus.content(url)
    expect(got is None or got == b"a" * 100_000, "none of the surplus bytes in the content")


@case("CORE-PATCH-14")
async def a_chunked_body_is_accepted(tus: Tus) -> None:
    url = await tus.create(11)
    async with tus.open_patch(url, 0, None) as connection:
        for part in (b"hel", b"lo ", b"world"):
            await connection.send_chunk(part)
        await connection.end_chunks()
        response = await tus.receive(connection)
    expect_status(response, 204)
    expect(offset_of(response) == 11, "an offset advanced by the 11 decoded bytes", response)
    got = await tus.content(url)
    expect(got in (None, b"hello world"), f"the decoded bytes as content, got {got!r}", response)


@case("CORE-PATCH-15")
async def many_patches_make_one_content(tus: Tus) -> None:
    rng = random.Random(tus.target.options.seed)
    for sizes in ([1, 997, 65_537, 3, 40_001], [1] * 100):
        content = rng.randbytes(sum(sizes))
        url = await tus.create(len(content))
        offset = 0
        for size in sizes:
            expect_status(await tus.patch(url, offset, content[offset : offset + size]), 204)
            offset += size
        await unchanged(tus, url, len(content), "the last PATCH")
        got = await tus.content(url)
        expect(got is None or got == content, f"the exact concatenation of {len(sizes)} PATCHes")


@case("CORE-PATCH-16")
async def one_patch_may_carry_the_whole_file(tus: Tus) -> None:
    content = random.Random(16).randbytes(16 << 20)
    url = await tus.create(len(content))
    response = await tus.patch(url, 0, content)
    expect_status(response, 204)
    expect(offset_of(response) == len(content), f"Upload-Offset: {len(content)}", response)
    got = await tus.content(url)
    expect(got is None or got == content, "the bytes that were sent")


@case("CORE-PATCH-25")
async def an_offset_in_an_error_is_the_true_one(tus: Tus) -> None:
    url = await tus.create(10)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    for response in (
        await tus.patch(url, 7, b"x"),
        await tus.patch(url, 5, b"x", {"Content-Type": "text/plain"}),
        await tus.patch(url, 5, b"x" * 20),
        await tus.patch(url, "abc", b"x"),
    ):
        claimed = response.get("Upload-Offset")
        truth = str(await tus.offset(url))
        if response.status >= 400:
            expect(claimed in (None, truth), f"no Upload-Offset but the true {truth}, got {claimed}", response)


@case("CORE-PATCH-29")
async def a_content_coding_is_stored_or_refused(tus: Tus) -> None:
    coded = gzip.compress(b"hello" * 100)
    url = await tus.create(len(coded))
    response = await tus.patch(url, 0, coded, {"Content-Encoding": "gzip"})
    no_5xx(response)
    expect_status(response, 204, 415)
    await unchanged(tus, url, len(coded) if response.status == 204 else 0, f"a status of {response.status}")
