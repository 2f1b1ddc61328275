"""Extension termination."""

import asyncio

from conformance.case import Failure, case
from conformance.cases.core_version import unknown_url
from conformance.client import Tus
from conformance.expect import expect, expect_status
from conformance.message import Response, WireError


async def _gone(tus: Tus, url: str) -> None:
    for response in (await tus.head(url), await tus.patch(url, 0, b"hello"), await tus.delete(url)):
        expect_status(response, 404, 410, why="the upload was deleted")
        expect(response.get("Upload-Offset") is None, "no Upload-Offset of a deleted upload", response)
    served = await tus.request("GET", url, {"Tus-Resumable": None})
    expect(served.status != 200, f"no content of a deleted upload, got {served.status}", served)


@case("TERM-01")
async def delete_of_an_unfinished_upload_is_204(tus: Tus) -> None:
    url = await tus.create(10)
    await tus.patch(url, 0, b"hello")
    response = await tus.delete(url)
    expect_status(response, 204)
    expect(not response.body and response.get("Transfer-Encoding") is None, "no body in a 204 response", response)


@case("TERM-02")
async def a_deleted_upload_is_gone(tus: Tus) -> None:
    unfinished = await tus.create(10)
    expect_status(await tus.delete(unfinished), 204)
    await _gone(tus, unfinished)
    never = await tus.delete(unknown_url(tus))
    expect_status(never, 404, 410, why="the upload was never created")


@case("TERM-03")
async def delete_of_a_completed_upload_is_204(tus: Tus) -> None:
    url = await tus.create_full(b"hello")
    expect_status(await tus.delete(url), 204, why="a server may be configured to refuse by 400, as @tus/server can")
    await _gone(tus, url)


@case("TERM-04")
async def delete_ends_a_running_patch(tus: Tus) -> None:
    url = await tus.create(1000)
    answer: Response | None = None
    async with tus.open_patch(url, 0, 1000) as connection:
        await connection.send(b"x" * 400)
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(tus.lock_seconds):
                deleted = await tus.delete(url)
        except TimeoutError:
            raise Failure(f"an answer within {tus.lock_seconds:g} s to a DELETE beside a PATCH") from None
        expect_status(deleted, 204, 423)
        try:
            await connection.send(b"x" * 600)
            answer = await connection.receive(tus.lock_seconds)
        except WireError as error:
            tus.note(f"the PATCH ends so: {error}")
    if deleted.status == 204:
        if answer is not None:
            expect(answer.status >= 400, f"the PATCH of a deleted upload to fail, got {answer.status}", answer)
        expect_status(await tus.head(url), 404, 410, why="a deleted upload must not come back")
    else:
        tus.note("DELETE beside a PATCH answers 423")


@case("TERM-05")
async def delete_is_exactly_204(tus: Tus) -> None:
    response = await tus.delete(await tus.create(10))
    expect_status(response, 204, why="tus-js-client takes every other status for a failure")
