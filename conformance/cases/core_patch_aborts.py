"""Core protocol: what is left after a request that broke off."""

import asyncio
import random

from conformance.case import Failure, Level, Skip, case
from conformance.client import Tus
from conformance.expect import expect, expect_status
from conformance.message import Closed, Malformed

SIX_MIB = 6 << 20


@case("CORE-PATCH-17")
async def bytes_before_a_fin_are_kept(tus: Tus) -> None:
    url = await tus.create(1000)
    async with tus.open_patch(url, 0, 1000) as connection:
        await connection.send(b"x" * 400)
        await asyncio.sleep(0.2)
        connection.close()
        offset = await tus.settled_offset(url, 400)
    expect(offset <= 400, f"an offset of at most the 400 bytes sent, got {offset}", level=Level.MUST)
    expect(offset == 400, f"the 400 bytes that arrived to be kept, got offset {offset}")


@case("CORE-PATCH-18")
async def megabytes_before_a_fin_are_kept(tus: Tus) -> None:
    url = await tus.create(20 << 20)
    async with tus.open_patch(url, 0, 20 << 20) as connection:
        await connection.send(random.Random(18).randbytes(SIX_MIB + 1))
        await asyncio.sleep(0.2)
        connection.close()
        offset = await tus.settled_offset(url, SIX_MIB + 1)
    expect(offset <= SIX_MIB + 1, f"an offset of at most the {SIX_MIB + 1} bytes sent, got {offset}", level=Level.MUST)
    expect(offset >= 5 << 20, f"at least 5 MiB of the {SIX_MIB + 1} bytes sent to be kept, got {offset}")
    if offset <= SIX_MIB:
        tus.note(f"kept {offset} of {SIX_MIB + 1} bytes sent")


async def _resume_after(tus: Tus, cut: str, level: Level | None = None) -> None:
    content = random.Random(19).randbytes(300_000)
    url = await tus.create(len(content))
    async with tus.open_patch(url, 0, len(content)) as connection:
        await connection.send(content[:120_000])
        await asyncio.sleep(0.05)
        connection.reset() if cut == "RST" else connection.close()
        # The row allows a lock of 30 s; `offset` waits that long while HEAD answers 423.
        offset = await tus.offset(url)
    expect(offset <= 120_000, f"an offset of at most the 120000 bytes sent, got {offset}", level=level)
    async with asyncio.timeout(tus.lock_seconds):
        while True:
            offset = await tus.offset(url)
            response = await tus.patch(url, offset, content[offset:])
            if response.status not in {409, 423}:
                break
            await asyncio.sleep(0.05)
    expect_status(response, 204, why=f"HEAD had reported {offset} after a {cut}")
    got = await tus.content(url)
    expect(got is None or got == content, f"the exact content after a {cut} and a resumption", response)


@case("CORE-PATCH-19")
async def a_reset_leaves_a_true_offset(tus: Tus) -> None:
    url = await tus.create(1000)
    async with tus.open_patch(url, 0, 1000) as connection:
        await connection.send(b"x" * 400)
        await asyncio.sleep(0.05)
        connection.reset()
        offset = await tus.settled_offset(url, 400, seconds=0.5)
    expect(0 <= offset <= 400, f"an offset of at most the 400 bytes sent, got {offset}")


@case("CORE-PATCH-20")
async def an_aborted_upload_can_be_resumed(tus: Tus) -> None:
    for cut in ("RST", "FIN"):
        await _resume_after(tus, cut)


@case("CORE-PATCH-21")
async def a_cut_body_is_never_taken_for_whole(tus: Tus) -> None:
    async def judge(url: str, expected: int) -> None:
        offset = await tus.settled_offset(url, expected)
        expect(offset <= expected, f"an offset of at most the {expected} bytes sent, got {offset}", level=Level.MUST)
        expect(offset == expected, f"the {expected} bytes that arrived to be kept, got offset {offset}")

    url = await tus.create(1000)
    async with tus.open_patch(url, 0, 1000) as connection:
        await connection.send(b"x" * 400)
        await asyncio.sleep(0.2)
        if not connection.transport.can_write_eof():
            raise Skip("TLS has no half-close")
        connection.half_close()
        await judge(url, 400)
    url = await tus.create(1000)
    async with tus.open_patch(url, 0, None) as connection:
        await connection.send_chunk(b"x" * 300)
        await asyncio.sleep(0.2)
        connection.close()
        await judge(url, 300)


@case("CORE-PATCH-22")
async def a_stalled_body_times_out(tus: Tus) -> None:
    limit = tus.target.options.read_timeout_seconds
    if limit is None:
        raise Skip("give --read-timeout-seconds if the server has a read timeout")
    url = await tus.create(1000)
    async with tus.open_patch(url, 0, 1000) as connection:
        await connection.send(b"x" * 100)
        ended = await connection.wait_closed(limit + 10)
        expect(ended, f"the server to end a stalled connection within {limit + 10:g} s")
        offset = await tus.settled_offset(url, 100)
    expect(offset == 100, f"the 100 bytes that arrived to be kept, got offset {offset}")


@case("CORE-PATCH-24")
async def a_stalled_patch_does_not_hold_the_upload(tus: Tus) -> None:
    content = b"abcdefghij" * 100
    url = await tus.create(len(content))
    async with tus.open_patch(url, 0, len(content)) as connection:
        await connection.send(content[:300])
        await asyncio.sleep(0.2)
        try:
            async with asyncio.timeout(tus.lock_seconds):
                head = await tus.head(url)
                expect_status(head, 200, 204, 423, why="HEAD beside a stalled PATCH")
                offset = 0 if head.status == 423 else int(head.get("Upload-Offset") or 0)
                second = await tus.patch(url, offset, content[offset:])
        except TimeoutError:
            raise Failure(f"an answer within {tus.lock_seconds:g} s while another PATCH is stalled") from None
        expect_status(second, 204, 423, 409, why="a second PATCH beside a stalled one")
        connection.close()
        if second.status == 204:
            got = await tus.content(url)
            expect(got is None or got == content, "the prefix of the first and the bytes of the second PATCH", second)
        else:
            offset = await tus.settled_offset(url, 300)
            expect(offset == 300, f"the 300 bytes of the first PATCH to be kept, got offset {offset}", second)


async def _offset_after_restart(tus: Tus, url: str) -> int:
    async with asyncio.timeout(tus.lock_seconds):
        while True:
            try:
                return await tus.offset(url)
            except (Closed, Malformed):
                await asyncio.sleep(0.1)


@case("CORE-PATCH-31")
async def acknowledged_bytes_survive_a_kill(tus: Tus) -> None:
    command = tus.target.options.restart_command
    if command is None:
        raise Skip("give --restart-command, which must kill the server by -9 and start it again")
    url = await tus.create(10)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    process = await asyncio.create_subprocess_shell(command)
    expect(await process.wait() == 0, f"the restart command to end with 0, got {process.returncode}")
    offset = await _offset_after_restart(tus, url)
    expect(offset >= 5, f"at least the 5 acknowledged bytes after the restart, got {offset}")


@case("CORE-PATCH-32")
async def a_storage_fault_is_5xx(_tus: Tus) -> None:
    raise Skip("no HTTP client can make the server's storage fail")
