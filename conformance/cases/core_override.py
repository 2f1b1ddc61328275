"""Core protocol: X-HTTP-Method-Override, and methods that mean nothing."""

from conformance.case import Skip, case
from conformance.client import Tus
from conformance.expect import expect, expect_status, offset_of


@case("CORE-OVR-01")
async def post_may_stand_for_patch(tus: Tus) -> None:
    url = await tus.create(5)
    response = await tus.request("POST", url, tus.patch_headers(0, {"X-HTTP-Method-Override": "PATCH"}), b"hello")
    expect_status(response, 204)
    expect(offset_of(response) == 5, "Upload-Offset: 5", response)
    expect(await tus.offset(url) == 5, "HEAD to agree on the offset 5", response)


@case("CORE-OVR-02")
async def post_may_stand_for_head_and_delete(tus: Tus) -> None:
    url = await tus.create(5)
    head = await tus.request("POST", url, {"X-HTTP-Method-Override": "HEAD"})
    expect_status(head, 200, 204)
    expect(offset_of(head) == 0, "Upload-Offset: 0", head)
    if not tus.target.advertises("termination"):
        tus.note("DELETE by override not judged: termination is not advertised")
        return
    expect_status(await tus.request("POST", url, {"X-HTTP-Method-Override": "DELETE"}), 204)
    expect_status(await tus.head(url), 404, 410, 403)


@case("CORE-OVR-03")
async def other_methods_with_an_override(tus: Tus) -> None:
    for method in ("PUT", "GET"):
        url = await tus.create(5)
        headers = tus.patch_headers(0, {"X-HTTP-Method-Override": "PATCH"})
        response = await tus.request(method, url, headers, b"hello")
        offset = await tus.offset(url)
        tus.note(f"{method} with X-HTTP-Method-Override: PATCH answers {response.status}")
        expect(offset == (5 if response.status == 204 else 0), f"an offset true to the status, got {offset}", response)


@case("CORE-METH-01")
async def meaningless_methods_are_refused(tus: Tus) -> None:
    url = await tus.create(5)
    for method, where in (("PUT", url), ("HEAD", tus.url), ("PATCH", tus.url), ("DELETE", tus.url)):
        body = b"hello" if method in {"PUT", "PATCH"} else None
        headers = tus.patch_headers(0) if method == "PATCH" else {}
        response = await tus.request(method, where, headers, body)
        expect_status(response, 405, 404, why=f"{method} means nothing here")
        expect(response.get("Upload-Offset") is None, "no Upload-Offset", response)
        if response.status == 405:
            expect(response.get("Allow") is not None, "Allow in a 405 response", response)


@case("CORE-EXT-01")
async def extensions_that_are_not_advertised(tus: Tus) -> None:
    judged = False
    advertises = tus.target.advertises
    if not advertises("termination"):
        judged = True
        url = await tus.create(5)
        expect_status(await tus.delete(url), 405, 404, 501, 400)
        expect(await tus.offset(url) == 0, "the upload to survive")
    if not advertises("creation-defer-length"):
        judged = True
        expect_status(await tus.post({"Upload-Defer-Length": "1"}), 400, 501)
    if not advertises("concatenation"):
        judged = True
        response = await tus.post({"Upload-Concat": "partial", "Upload-Length": "5"})
        expect_status(response, 400, 501, 201)
        if response.status == 201:
            head = await tus.head(tus.location(response))
            expect(head.get("Upload-Concat") is None, "Upload-Concat to be ignored altogether", head)
    if not advertises("checksum"):
        judged = True
        url = await tus.create(5)
        expect_status(await tus.patch(url, 0, b"hello", {"Upload-Checksum": "sha1 AAAA"}), 204, 400, 501)
    if not judged:
        raise Skip("all extensions are advertised")
