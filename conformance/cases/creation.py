"""Extension creation: POST and the length of an upload."""

import json
from urllib.parse import urljoin, urlsplit

from conformance.case import Level, Skip, case
from conformance.client import Tus
from conformance.expect import expect, expect_4xx, expect_status, offset_of
from conformance.message import Malformed, Response


def nothing_created(response: Response) -> None:
    """Fail if a refusal names an upload."""
    expect(response.get("Location") is None, "no Location in a refusal", response)


@case("CREA-POST-01", unadvertised=True)
async def creation_is_advertised_if_it_works(tus: Tus) -> None:
    response = await tus.post({"Upload-Length": "5"})
    if response.status != 201:
        if tus.target.advertises("creation"):
            expect_status(response, 201, why="creation is advertised")
        raise Skip(f"POST creates nothing: status {response.status}")
    expect(tus.target.advertises("creation"), "Tus-Extension to name creation, as POST creates uploads", response)


@case("CREA-POST-02")
async def post_creates_an_empty_upload(tus: Tus) -> None:
    response = await tus.post({"Upload-Length": "100", "Upload-Metadata": None})
    expect_status(response, 201)
    head = await tus.head(tus.location(response))
    expect(offset_of(head) == 0, "Upload-Offset: 0", head)


@case("CREA-POST-03")
async def location_resolves_to_the_upload(tus: Tus) -> None:
    response = await tus.post({"Upload-Length": "5"})
    expect_status(response, 201)
    location = response.get("Location") or ""
    url = urljoin(tus.url, location)
    expect(urlsplit(url).scheme in {"http", "https"}, f"an http URL, got {location!r}", response)
    expect_status(await tus.patch(url, 0, b"hello"), 204, why=f"Location {location!r} resolves to {url}")


@case("CREA-POST-04")
async def a_zero_byte_upload_is_complete_at_once(tus: Tus) -> None:
    response = await tus.post({"Upload-Length": "0", "Upload-Metadata": None})
    expect_status(response, 201)
    head = await tus.head(tus.location(response))
    expect(offset_of(head) == 0, "Upload-Offset: 0", head)
    expect(head.get("Upload-Length") == "0", "Upload-Length: 0", head)


@case("CREA-POST-05")
async def post_without_a_length_is_400(tus: Tus) -> None:
    response = await tus.post()
    expect_4xx(response, "neither Upload-Length nor Upload-Defer-Length")
    nothing_created(response)


@case("CREA-POST-06")
async def a_malformed_length_is_400(tus: Tus) -> None:
    for length in ("-1", "abc", "1.5", "1e3", "0x10", "", "+10", "1_000"):
        response = await tus.post({"Upload-Length": length})
        expect_4xx(response, f"Upload-Length was {length!r}")
        nothing_created(response)


def _limit(tus: Tus) -> int:
    if tus.target.tus_max_size is None:
        raise Skip("Tus-Max-Size is not advertised")
    return tus.target.tus_max_size


@case("CREA-POST-07")
async def a_length_over_the_limit_is_413(tus: Tus) -> None:
    limit = _limit(tus)
    response = await tus.post({"Upload-Length": str(limit + 1)})
    expect_status(response, 413, why=f"Tus-Max-Size is {limit}")
    nothing_created(response)


@case("CREA-POST-08")
async def the_limit_itself_is_allowed(tus: Tus) -> None:
    limit = _limit(tus)
    response = await tus.post({"Upload-Length": str(limit)})
    expect_status(response, 201, why=f"Tus-Max-Size is {limit}")


@case("CREA-POST-09")
async def huge_lengths_do_not_wrap(tus: Tus) -> None:
    for length in (str(2**53 + 1), str(2**63 - 1), str(2**63), "9" * 30):
        response = await tus.post({"Upload-Length": length})
        expect_status(response, 201, 400, 413, why=f"Upload-Length was {length}")
        if response.status == 201:
            try:
                head = await tus.head(tus.location(response))
            except Malformed as error:
                # The parser allows no Content-Length of 30 digits, which HEAD may carry.
                tus.note(f"Upload-Length {length} not judged: {error}")
                continue
            got = head.get("Upload-Length")
            expect(got == length, f"Upload-Length: {length} as sent, got {got}", head)


@case("CREA-POST-10")
async def a_json_body_is_no_data(tus: Tus) -> None:
    body = json.dumps({"name": "x"}).encode()
    response = await tus.post({"Upload-Length": "100", "Content-Type": "application/json"}, body)
    expect_status(response, 201, 400, 415)
    if response.status == 201:
        offset = await tus.offset(tus.location(response))
        expect(offset == 0, f"an offset of 0, as the body is no upload data, got {offset}", response)


@case("CREA-POST-11")
async def post_on_an_upload_is_refused(tus: Tus) -> None:
    url = await tus.create(5)
    response = await tus.request("POST", url, {"Upload-Length": "7"})
    expect_status(response, 404, 405, 400, 403)
    head = await tus.head(url)
    expect(offset_of(head) == 0 and head.get("Upload-Length") == "5", "the upload unchanged", head, Level.MUST)
