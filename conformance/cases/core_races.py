"""Core protocol: requests that race, wait for 100 Continue, or lie about their framing."""

import asyncio

from conformance.case import Failure, Level, case
from conformance.cases.core_patch import unchanged
from conformance.cases.core_version import unknown_url
from conformance.client import Tus
from conformance.expect import expect, expect_status
from conformance.message import Response, WireError
from conformance.wire import Connection

RACE_BYTES = 200_000


async def race(tus: Tus, url: str, bodies: list[bytes], lead: float = 0.0) -> list[Response | None]:
    """Send PATCHes at offset 0 at once: first the heads, `lead` seconds apart, then each body in two halves.

    Returns:
        The responses in the order of the bodies; None where no response came.
    """
    start = asyncio.get_running_loop().time() + lead * len(bodies) + 0.03

    async def patch(body: bytes, delay: float) -> Response | None:
        await asyncio.sleep(delay)
        async with tus.open_patch(url, 0, len(body)) as connection:
            try:
                await asyncio.sleep(start - asyncio.get_running_loop().time())
                await connection.send(body[: len(body) // 2])
                await asyncio.sleep(0.05)
                await connection.send(body[len(body) // 2 :])
                return await tus.receive(connection)
            except WireError:
                return await _late_answer(connection)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(patch(body, lead * number)) for number, body in enumerate(bodies)]
    return [task.result() for task in tasks]


async def _late_answer(connection: Connection) -> Response | None:
    try:
        return await connection.receive(1)
    except WireError:
        return None


@case("CORE-PATCH-23")
async def one_of_two_racing_patches_wins(tus: Tus) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + 5
    for rounds in range(3):
        # A server that holds each loser for half a minute gets one round.
        if rounds and clock() > end:
            break
        url = await tus.create(RACE_BYTES)
        bodies = [b"A" * RACE_BYTES, b"B" * RACE_BYTES]
        answers = await race(tus, url, bodies)
        winners = [body for body, answer in zip(bodies, answers, strict=True) if answer and answer.status == 204]
        shown = next((answer for answer in answers if answer), None)
        expect(len(winners) <= 1, "at most one 204 for two PATCHes at the same offset", shown)
        for answer in answers:
            if answer and answer.status != 204:
                allowed = answer.status in {409, 423, 400} or answer.status >= 500
                expect(allowed, f"409, 423, 400, 5xx or a closed connection for the loser, got {answer.status}", answer)
        offset = await tus.offset(url)
        expect(offset <= RACE_BYTES, f"an offset of at most {RACE_BYTES}, got {offset}", shown)
        if winners:
            expect(offset == RACE_BYTES, f"the acknowledged {RACE_BYTES} bytes, got offset {offset}", shown)
        await tus.finish(url, RACE_BYTES, b"C" * RACE_BYTES)
        got = await tus.content(url)
        if got is not None:
            prefix = got[:offset]
            expect(len(got) == RACE_BYTES, f"a content of {RACE_BYTES} bytes, got {len(got)}", shown)
            expect(len(set(prefix)) <= 1, "the bytes of one PATCH alone, got a mix of both", shown)
            expect(not winners or got == winners[0], "the bytes of the PATCH that got 204", shown)


@case("CORE-PATCH-26")
async def an_early_409_is_readable(tus: Tus) -> None:
    url = await tus.create((50 << 20) + 5)
    async with tus.open_patch(url, 5, 50 << 20) as connection:
        writer = asyncio.ensure_future(connection.send(bytes(50 << 20)))
        try:
            response = await tus.receive(connection)
        except WireError as error:
            raise Failure(f"a readable 409 although the client keeps writing: {error}") from None
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        expect_status(response, 409)
    await unchanged(tus, url, 0, "409")
    expect_status(await tus.patch(url, 0, b"hello"), 204, why="the next request must be unaffected")


@case("CORE-PATCH-27")
async def a_valid_patch_is_continued(tus: Tus) -> None:
    url = await tus.create(5)
    async with tus.open_patch(url, 0, 5, {"Expect": "100-continue"}) as connection:
        first = await tus.receive(connection, interim=True)
        expect_status(first, 100, why="the client waits for it before it sends the body")
        await connection.send(b"hello")
        expect_status(await tus.receive(connection), 204)


@case("CORE-PATCH-28")
async def a_hopeless_patch_is_not_continued(tus: Tus) -> None:
    url = await tus.create(5)
    for where, offset, allowed in ((url, 3, (409,)), (unknown_url(tus), 0, (404, 410, 403))):
        async with tus.open_patch(where, offset, 5, {"Expect": "100-continue"}) as connection:
            response = await tus.receive(connection, interim=True)
            expect_status(response, *allowed, why="at once, with no 100 Continue first")
    await unchanged(tus, url, 0, "409")


@case("CORE-PATCH-30")
async def two_framings_smuggle_nothing(tus: Tus) -> None:
    url = await tus.create(50)
    smuggled = b"0\r\n\r\nDELETE / HTTP/1.1\r\nHost: x\r\n\r\n"
    connection = await tus.connect(url)
    framing = {"Content-Length": str(len(b"5\r\nhello\r\n" + smuggled)), "Transfer-Encoding": "chunked"}
    tus.send_head(connection, "PATCH", url, {**tus.patch_headers(0), **framing})
    await connection.send(b"5\r\nhello\r\n" + smuggled)
    try:
        response = await tus.receive(connection)
    except WireError as error:
        tus.note(f"the connection ended: {error}")
    else:
        expect_status(response, 400, 411, 501, 204)
        ended = not response.keeps_alive or await connection.wait_closed(2)
        expect(ended, "the connection to be closed after a request with two framings", response)
    # What is between the framings must not be taken for bytes of the upload.
    offset = await tus.offset(url)
    expect(offset in {0, 5}, f"an offset of 0 or 5, got {offset}", level=Level.PRACTICE)
