"""Extension checksum-trailer, and trailers that must do nothing."""

from conformance.case import Level, Skip, case
from conformance.cases.checksum import upload_checksum
from conformance.cases.core_patch import unchanged
from conformance.client import Tus
from conformance.expect import expect, expect_4xx, expect_status
from conformance.message import Fields, Response, chunk, last_chunk


async def _patch(
    tus: Tus, url: str, body: bytes, trailers: Fields, headers: dict[str, str | None] | None = None
) -> Response:
    # One write: some servers read the trailer section together with the head and merge them.
    connection = await tus.connect(url)
    fields = {**tus.patch_headers(0, headers), "Transfer-Encoding": "chunked"}
    tus.send_head(connection, "PATCH", url, fields, chunk(body) + last_chunk(trailers))
    response = await tus.receive(connection)
    if response.keeps_alive and not connection.ended:
        tus.send_head(connection, "OPTIONS", url)
        expect((await tus.receive(connection)).status < 500, "the connection to stay in sync", response)
    return response


async def _needs_chunked(tus: Tus) -> None:
    response = await _patch(tus, await tus.create(10), b"hello", ())
    if response.status != 204:
        raise Skip(f"the server refuses chunked bodies by {response.status}, which CORE-PATCH-14 judges")


ANNOUNCED: dict[str, str | None] = {"Trailer": "Upload-Checksum"}
WRONG = tuple(upload_checksum(b"other").items())


@case("TRLR-01", unadvertised=True)
async def checksum_is_advertised_as_well(tus: Tus) -> None:
    tus.needs("checksum-trailer")
    expect(tus.target.advertises("checksum"), "checksum beside checksum-trailer in Tus-Extension")
    expect(bool(tus.target.checksum_algorithms), "a Tus-Checksum-Algorithm header")


@case("TRLR-02")
async def a_right_trailer_is_accepted(tus: Tus) -> None:
    url = await tus.create(10)
    expect_status(await _patch(tus, url, b"hello", tuple(upload_checksum(b"hello").items()), ANNOUNCED), 204)
    await unchanged(tus, url, 5, "a PATCH of 5 bytes with a right checksum trailer")


@case("TRLR-03")
async def a_wrong_trailer_is_460(tus: Tus) -> None:
    url = await tus.create(10)
    wrong = await _patch(tus, url, b"hello", WRONG, ANNOUNCED)
    await unchanged(tus, url, 0, "a wrong checksum in the trailer")
    unlisted = await _patch(tus, url, b"hello", (("Upload-Checksum", "foo AAAA"),), ANNOUNCED)
    await unchanged(tus, url, 0, "an unlisted algorithm in the trailer")
    expect_4xx(wrong, "a wrong checksum in the trailer")
    expect_4xx(unlisted, "an unlisted algorithm in the trailer")
    # The numbers are only a MAY in the text; that the bytes are discarded is the MUST.
    expect_status(wrong, 460, level=Level.MAY)
    expect_status(unlisted, 400, level=Level.MAY)


@case("TRLR-04", unadvertised=True)
async def other_trailers_do_nothing(tus: Tus) -> None:
    await _needs_chunked(tus)
    for trailer in (
        ("Upload-Offset", "3"),
        ("Upload-Length", "7"),
        ("Authorization", "Bearer x"),
        ("X-HTTP-Method-Override", "DELETE"),
    ):
        url = await tus.create(10)
        response = await _patch(tus, url, b"hello", (trailer,))
        expect_status(response, 204, why=f"the trailer {trailer[0]} must have no effect")
        await unchanged(tus, url, 5, f"a trailer {trailer[0]}")


@case("TRLR-05", unadvertised=True)
async def odd_trailers_do_not_break_parsing(tus: Tus) -> None:
    await _needs_chunked(tus)
    url = await tus.create(10)
    if not tus.target.advertises("checksum-trailer"):
        response = await _patch(tus, url, b"hello", WRONG, ANNOUNCED)
        expect(response.status in {204, 501} or 400 <= response.status < 500, "204, or a refusal", response)
        await unchanged(tus, url, 5 if response.status == 204 else 0, f"a status of {response.status}")
        return
    missing = await _patch(tus, url, b"hello", (), ANNOUNCED)
    expect_status(missing, 204, 400, 460, 501, why="the announced trailer is missing")
    url = await tus.create(10)
    contradicting = await _patch(tus, url, b"hello", WRONG, {**ANNOUNCED, **upload_checksum(b"hello")})
    expect_status(contradicting, 204, 400, 460, 501, why="the trailer contradicts the header")
