"""Beyond the rows of the specification: what users suffer from."""

import asyncio
import random

from conformance.case import case
from conformance.cases.core_races import RACE_BYTES, race
from conformance.client import Tus
from conformance.expect import expect, expect_status, offset_of
from conformance.message import WireError

BREAKING_SECONDS = 15
"""How long lines break and races go on; a server that holds up whoever comes next would need minutes otherwise."""


@case("USER-RESUME-02")
async def a_line_that_breaks_at_random(tus: Tus) -> None:
    rng = random.Random(tus.target.options.seed)
    tus.note(f"--seed {tus.target.options.seed}")
    content = rng.randbytes(3_000_000)
    url = await tus.create(len(content))
    acknowledged = 0
    clock = asyncio.get_running_loop().time
    end = clock() + BREAKING_SECONDS
    for _ in range(60):
        if clock() > end:
            break
        offset = await tus.offset(url)
        expect(offset >= acknowledged, f"at least the {acknowledged} acknowledged bytes, got {offset}")
        if offset == len(content):
            break
        part = content[offset : offset + rng.choice((1, 1000, 70_000, 300_000, 500_000))]
        if rng.random() < 0.6:
            kept = rng.randrange(len(part) + 1)
            async with tus.open_patch(url, offset, len(part)) as connection:
                await connection.send(part[:kept])
                await asyncio.sleep(rng.choice((0, 0.01)))
                rng.choice((connection.reset, connection.close))()
            continue
        response = await tus.patch(url, offset, part)
        # A server may still be busy with the request that broke off.
        expect_status(response, 204, 409, 423)
        if response.status == 204:
            acknowledged = offset_of(response)
            expect(acknowledged == offset + len(part), f"Upload-Offset: {offset + len(part)}", response)
    await tus.finish(url, len(content), content)
    got = await tus.content(url)
    expect(got is None or got == content, "the exact content after many lost connections")


@case("USER-HEAD-01")
async def head_again_and_again_during_a_patch(tus: Tus) -> None:
    content = random.Random(1).randbytes(200_000)
    url = await tus.create(len(content))
    sent, before = 0, 0
    async with tus.open_patch(url, 0, len(content)) as connection:
        try:
            for start in range(0, len(content), 40_000):
                sent = start + 40_000
                await connection.send(content[start:sent])
                await asyncio.sleep(0.02)
                head = await tus.head(url)
                expect_status(head, 200, 204, 423)
                if head.status != 423:
                    offset = offset_of(head)
                    expect(before <= offset <= sent, f"an offset from {before} to {sent}, got {offset}", head)
                    before = offset
            expect_status(await tus.receive(connection), 204, 409, 423, 400, 500, 503)
        except WireError as error:
            tus.note(f"HEAD ends the running PATCH: {error}")
    offset = await tus.offset(url)
    expect(before <= offset <= sent, f"an offset from {before} to {sent}, got {offset}")
    await tus.finish(url, len(content), content)
    got = await tus.content(url)
    expect(got is None or got == content, "the exact content")


@case("USER-ZERO-01")
async def a_file_of_zero_bytes(tus: Tus) -> None:
    url = await tus.create(0)
    head = await tus.head(url)
    expect(offset_of(head) == 0 and head.get("Upload-Length") == "0", "an offset and a length of 0", head)
    response = await tus.patch(url, 0, b"")
    expect(response.status < 500, f"no 5xx for an empty PATCH, got {response.status}", response)
    expect(await tus.offset(url) == 0, "an offset of 0", response)
    got = await tus.content(url)
    expect(got in (None, b""), f"an empty content, got {got!r}")


@case("USER-SMALL-01", alone=True)
async def a_thousand_small_uploads(tus: Tus) -> None:
    count, rng = tus.target.options.small_uploads, random.Random(tus.target.options.seed)
    contents = [rng.randbytes(rng.randrange(1, 65)) for _ in range(count)]
    serves = True

    async def worker(mine: list[bytes]) -> None:
        nonlocal serves
        client = Tus(tus.target)
        try:
            for content in mine:
                url = await client.create_full(content)
                got = await client.content(url) if serves else None
                if got is None:
                    serves = False
                    expect(await client.offset(url) == len(content), f"Upload-Offset: {len(content)}")
                else:
                    expect(got == content, f"the {len(content)} bytes of this upload, not another's")
        finally:
            tus.exchanges[:] = client.exchanges[-2:]
            await client.close()

    workers = 8
    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(worker(contents[number::workers]))


@case("USER-LAST-01")
async def the_answer_to_the_last_byte_is_lost(tus: Tus) -> None:
    content = random.Random(2).randbytes(50_000)
    for cut in ("RST", "FIN"):
        url = await tus.create(len(content))
        async with tus.open_patch(url, 0, len(content)) as connection:
            await connection.send(content)
            connection.reset() if cut == "RST" else connection.close()
        offset = await tus.settled_offset(url, len(content), seconds=0.5)
        expect(offset <= len(content), f"an offset of at most {len(content)}, got {offset}")
        await tus.finish(url, len(content), content)
        expect(await tus.offset(url) == len(content), f"Upload-Offset: {len(content)}")
        got = await tus.content(url)
        expect(got is None or got == content, f"the exact content after a {cut} behind the last byte")


@case("USER-WRITERS-01")
async def two_clients_on_one_upload(tus: Tus) -> None:
    length = 400_000
    url = await tus.create(length)
    starts, acknowledged = {0}, 0
    clock = asyncio.get_running_loop().time
    end = clock() + BREAKING_SECONDS

    async def writer(letter: bytes, rng: random.Random) -> None:
        nonlocal acknowledged
        for _ in range(40):
            offset = await tus.offset(url)
            if offset >= length or clock() > end:
                return
            size = min(rng.randrange(20_000, 120_000), length - offset)
            starts.add(offset)
            try:
                response = await tus.patch(url, offset, letter * size)
            except WireError:
                continue
            if response.status == 204:
                acknowledged = max(acknowledged, offset + size)

    seed = tus.target.options.seed
    async with asyncio.TaskGroup() as group:
        for number, letter in enumerate((b"A", b"B")):
            group.create_task(writer(letter, random.Random(seed + number)))
    offset = await tus.offset(url)
    expect(offset >= acknowledged, f"at least the {acknowledged} acknowledged bytes, got {offset}")
    starts.add(offset)
    await tus.finish(url, length, b"C" * length)
    got = await tus.content(url)
    if got is not None:
        expect(len(got) == length, f"a content of {length} bytes, got {len(got)}")
        changes = {at for at in range(1, length) if got[at] != got[at - 1]}
        expect(changes <= starts, f"no change of bytes at {sorted(changes - starts)[:5]}, where no PATCH began")


@case("USER-WRITERS-02")
async def a_second_writer_comes_in_between(tus: Tus) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + BREAKING_SECONDS
    for lead in (0.01, 0.03):
        if clock() > end:
            break
        url = await tus.create(RACE_BYTES)
        await race(tus, url, [b"A" * RACE_BYTES, b"B" * RACE_BYTES], lead)
        offset = await tus.offset(url)
        expect(offset <= RACE_BYTES, f"an offset of at most {RACE_BYTES}, got {offset}")
        await tus.finish(url, RACE_BYTES, b"C" * RACE_BYTES)
        got = await tus.content(url)
        if got is not None:
            expect(len(got) == RACE_BYTES, f"a content of {RACE_BYTES} bytes, got {len(got)}")
            expect(len(set(got[:offset])) <= 1, "the bytes of one of the two PATCHes, got a mix")
