"""The IETF draft, Resumable Uploads for HTTP: the first cases; rows without one are skipped.

They run only where `Target.rufh_version` says that the server answered to the draft.
"""

from conformance.case import Failure, case
from conformance.client import Tus
from conformance.expect import expect, expect_status
from conformance.message import Response

PARTIAL_UPLOAD = "application/partial-upload"


async def _request(
    tus: Tus, method: str, url: str, headers: dict[str, str | None] | None = None, body: bytes | None = None
) -> Response:
    draft = {"Tus-Resumable": None, "Upload-Draft-Interop-Version": tus.target.rufh_version}
    return await tus.request(method, url, {**draft, **(headers or {})}, body)


async def _create(tus: Tus, body: bytes = b"", headers: dict[str, str | None] | None = None) -> tuple[str, Response]:
    response = await _request(tus, "POST", tus.url, {"Upload-Complete": "?0", **(headers or {})}, body)
    if not 200 <= response.status < 300:
        raise Failure(f"2xx for a creation, got {response.status}", response)
    return tus.location(response), response


async def _append(tus: Tus, url: str, offset: int | str, body: bytes, complete: str) -> Response:
    headers = {"Content-Type": PARTIAL_UPLOAD, "Upload-Offset": str(offset), "Upload-Complete": complete}
    return await _request(tus, "PATCH", url, {**headers}, body)


async def _offset(tus: Tus, url: str) -> tuple[int, Response]:
    response = await _request(tus, "HEAD", url)
    value = response.get("Upload-Offset")
    if not 200 <= response.status < 300 or value is None or not value.isdigit():
        raise Failure(f"2xx with Upload-Offset, got {response.status} with {value!r}", response)
    return int(value), response


async def _at(tus: Tus, url: str, offset: int) -> Response:
    got, response = await _offset(tus, url)
    expect(got == offset, f"Upload-Offset: {offset}, got {got}", response)
    return response


@case("RUFH-VER-02")
async def no_104_for_an_unknown_version(tus: Tus) -> None:
    for version in (None, "99", "abc"):
        headers = {"Upload-Draft-Interop-Version": version, "Upload-Complete": "?0"}
        response = await _request(tus, "POST", tus.url, headers, b"hello")
        expect(all(interim.status != 104 for interim in response.interim), "no 104 response", response)
        expect(response.status < 500, f"no 5xx, got {response.status}", response)


@case("RUFH-FIELD-02")
async def an_offset_that_is_no_integer_is_refused(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    for offset in ("-1", "1.5", '"5"', "abc"):
        response = await _append(tus, url, offset, b"x", "?0")
        expect_status(response, 400, 409, why=f"Upload-Offset was {offset}")
        await _at(tus, url, 5)


@case("RUFH-FIELD-07")
async def upload_complete_is_a_boolean(tus: Tus) -> None:
    url, created = await _create(tus, b"hello")
    for response in (created, await _request(tus, "HEAD", url), await _append(tus, url, 5, b"x", "?1")):
        value = response.get("Upload-Complete")
        expect(value in {None, "?0", "?1"}, f"Upload-Complete of ?0 or ?1, got {value}", response)


@case("RUFH-CREA-03")
async def creation_of_a_part(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    await _at(tus, url, 5)


@case("RUFH-CREA-06")
async def careful_creation(tus: Tus) -> None:
    url, _ = await _create(tus)
    await _at(tus, url, 0)


@case("RUFH-CREA-08")
async def a_length_that_contradicts_the_body_is_refused(tus: Tus) -> None:
    response = await _request(tus, "POST", tus.url, {"Upload-Complete": "?1", "Upload-Length": "9"}, b"hello")
    expect(400 <= response.status < 500, f"a 4xx status, got {response.status}", response)


@case("RUFH-CREA-09")
async def the_length_is_recorded(tus: Tus) -> None:
    url, _ = await _create(tus, b"x" * 20, {"Upload-Length": "100"})
    head = await _at(tus, url, 20)
    expect(head.get("Upload-Length") == "100", "Upload-Length: 100", head)


@case("RUFH-HEAD-02")
async def head_says_whether_the_upload_is_complete(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    _, head = await _offset(tus, url)
    expect(head.get("Upload-Complete") == "?0", "Upload-Complete: ?0 of an incomplete upload", head)


@case("RUFH-HEAD-05")
async def head_is_not_cached(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    _, head = await _offset(tus, url)
    expect("no-store" in head.members("Cache-Control"), "Cache-Control: no-store", head)


@case("RUFH-HEAD-10")
async def an_unknown_resource_is_404(tus: Tus) -> None:
    url, _ = await _create(tus)
    head = await _request(tus, "HEAD", url[:-4] + "0000")
    expect_status(head, 404, 410)
    expect(head.get("Upload-Offset") is None, "no Upload-Offset", head)


@case("RUFH-PATCH-01")
async def append(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    response = await _append(tus, url, 5, b" world", "?0")
    expect(200 <= response.status < 300, f"a 2xx status, got {response.status}", response)
    expect(response.get("Upload-Complete") == "?0", "Upload-Complete: ?0", response)
    await _at(tus, url, 11)


@case("RUFH-PATCH-02")
async def the_last_append(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    response = await _append(tus, url, 5, b" world", "?1")
    expect(response.get("Upload-Complete") == "?1", "Upload-Complete: ?1", response)


@case("RUFH-PATCH-03")
async def an_empty_append_completes(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    response = await _append(tus, url, 5, b"", "?1")
    expect(response.get("Upload-Complete") == "?1", "Upload-Complete: ?1", response)


@case("RUFH-PATCH-04")
async def a_wrong_offset_is_409(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    for offset in (3, 8):
        response = await _append(tus, url, offset, b"x", "?0")
        expect_status(response, 409, why=f"Upload-Offset was {offset}, the offset is 5")
        expect(response.get("Upload-Offset") == "5", "Upload-Offset: 5 in the 409", response)
        expect(response.get("Upload-Complete") == "?0", "Upload-Complete: ?0 in the 409", response)
        await _at(tus, url, 5)


@case("RUFH-DEL-01")
async def a_cancelled_upload_is_gone(tus: Tus) -> None:
    url, _ = await _create(tus, b"hello")
    response = await _request(tus, "DELETE", url)
    expect(200 <= response.status < 300, f"a 2xx status, got {response.status}", response)
    expect_status(await _request(tus, "HEAD", url), 404, 410)
    expect_status(await _append(tus, url, 5, b"x", "?0"), 404, 410)
