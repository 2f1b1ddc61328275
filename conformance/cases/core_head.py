"""Core protocol: HEAD."""

import asyncio

from conformance.case import Level, case
from conformance.cases.core_version import unknown_url
from conformance.client import Tus
from conformance.expect import DIGITS, expect, expect_status, offset_of
from conformance.message import Malformed


@case("CORE-HEAD-01")
async def head_reports_the_offset(tus: Tus) -> None:
    url = await tus.create(11, {"Upload-Metadata": None})
    first = await tus.head(url)
    expect(offset_of(first) == 0, "Upload-Offset: 0 of a new upload", first)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    second = await tus.head(url)
    expect(offset_of(second) == 5, "Upload-Offset: 5 after a PATCH of 5 bytes", second)
    expect_status(second, 200, 204, level=Level.SHOULD)


@case("CORE-HEAD-02")
async def head_of_a_completed_upload(tus: Tus) -> None:
    response = await tus.head(await tus.create_full(b"hello"))
    expect(offset_of(response) == 5, "Upload-Offset equal to the length of 5", response)


@case("CORE-HEAD-03")
async def head_reports_the_length(tus: Tus) -> None:
    response = await tus.head(await tus.create(11))
    expect(response.get("Upload-Length") == "11", "Upload-Length: 11", response)
    expect(response.get("Upload-Defer-Length") is None, "no Upload-Defer-Length: the length is known", response)


@case("CORE-HEAD-04")
async def head_must_not_be_cached(tus: Tus) -> None:
    response = await tus.head(await tus.create(11))
    directives = [directive.lower() for directive in response.members("Cache-Control")]
    expect("no-store" in directives, "Cache-Control: no-store", response)


@case("CORE-HEAD-05")
async def head_of_an_unknown_upload(tus: Tus) -> None:
    response = await tus.head(unknown_url(tus))
    expect_status(response, 404, 410, 403)
    expect(response.get("Upload-Offset") is None, "no Upload-Offset for an unknown upload", response)
    if "no-store" not in (response.get("Cache-Control") or ""):
        tus.note(f"a HEAD response of {response.status} without Cache-Control: no-store may be cached")


@case("CORE-HEAD-06")
async def head_has_no_body_on_the_wire(tus: Tus) -> None:
    url = await tus.create(11)
    for where, headers in ((url, {}), (unknown_url(tus), {}), (url, {"Tus-Resumable": "9.9.9"})):
        connection = await tus.connect(where)
        tus.send_head(connection, "HEAD", where, headers)
        response = await tus.receive(connection)
        expect(not connection.unread, "no body after the head of the response to HEAD", response)
        if not response.keeps_alive or connection.ended:
            continue
        tus.send_head(connection, "HEAD", url)
        try:
            expect(offset_of(await tus.receive(connection)) == 0, "a second response on the connection", response)
        except Malformed as error:
            expect(False, f"no body after the head of the response to HEAD: {error}", response)


@case("CORE-HEAD-07")
async def offsets_and_lengths_are_digits(tus: Tus) -> None:
    url = await tus.create(11)
    await tus.patch(url, 0, b"hello")
    response = await tus.head(url)
    for name in ("Upload-Offset", "Upload-Length"):
        value = response.get(name)
        expect(value is not None and bool(DIGITS.fullmatch(value)), f"{name} in digits, got {value!r}", response)


@case("CORE-HEAD-08")
async def a_reported_offset_is_usable_at_once(tus: Tus) -> None:
    content = bytes(range(10)) * 10
    url = await tus.create(len(content))
    for _ in range(5):
        offset = await tus.offset(url)
        response = await tus.patch(url, offset, content[offset : offset + 20])
        expect_status(response, 204, why=f"HEAD had just reported the offset {offset}")


@case("CORE-HEAD-09")
async def head_during_a_patch_tells_the_truth(tus: Tus) -> None:
    url = await tus.create(300_000)
    async with tus.open_patch(url, 0, 300_000) as connection:
        await connection.send(b"x" * 100_000)
        await asyncio.sleep(0.1)
        before = 0
        async with asyncio.timeout(tus.lock_seconds):
            for _ in range(2):
                response = await tus.head(url)
                expect_status(response, 200, 204, 423)
                if response.status != 423:
                    offset = offset_of(response)
                    expect(offset <= 100_000, f"an offset of at most the 100000 bytes sent, got {offset}", response)
                    expect(offset >= before, f"no offset below {before}, which HEAD had reported", response)
                    before = offset
        connection.close()
    after = await tus.offset(url)
    expect(before <= after <= 100_000, f"an offset from {before} to 100000 after the PATCH ended, got {after}")


@case("CORE-HEAD-10")
async def head_under_contention_waits_or_is_423(tus: Tus) -> None:
    url = await tus.create(1000)
    async with tus.open_patch(url, 0, 1000) as connection:
        await connection.send(b"x" * 10)
        await asyncio.sleep(0.05)
        async with asyncio.TaskGroup() as group:
            heads = [group.create_task(tus.head(url)) for _ in range(5)]
        for head in heads:
            response = head.result()
            expect(
                200 <= response.status < 300 or response.status == 423,
                f"2xx or 423 while another request holds the upload, got {response.status}",
                response,
            )
