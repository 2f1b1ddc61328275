"""Beyond the specification: GET of an upload."""

from base64 import b64encode

from conformance.case import Skip, case
from conformance.client import Tus
from conformance.expect import expect, expect_status


@case("CORE-GET-01")
async def get_serves_exact_bytes_or_refuses(tus: Tus) -> None:
    unfinished = await tus.create(10)
    expect_status(await tus.patch(unfinished, 0, b"hello"), 204)
    for url in (await tus.create_full(b"hello"), unfinished):
        response = await tus.request("GET", url, {"Tus-Resumable": None})
        expect_status(response, 200, 204, 403, 404, 405, 409)
        if response.status == 200:
            expect(b"hello".startswith(response.body), f"the bytes that were sent, got {response.body!r}", response)
            expect(url == unfinished or response.body == b"hello", "all bytes of a completed upload", response)


@case("CORE-GET-02")
async def get_defuses_active_content(tus: Tus) -> None:
    for filetype in (b"text/html", b"image/svg+xml"):
        filename = b'x".html'
        metadata = f"filename {b64encode(filename).decode()},filetype {b64encode(filetype).decode()}"
        url = await tus.create_full(b"<script>", {"Upload-Metadata": metadata})
        response = await tus.request("GET", url, {"Tus-Resumable": None})
        if response.status != 200:
            raise Skip(f"the server does not serve uploads: GET answers {response.status}")
        nosniff = response.get("X-Content-Type-Options")
        disposition = response.get("Content-Disposition") or ""
        expect(nosniff == "nosniff", f"X-Content-Type-Options: nosniff, got {nosniff}", response)
        expect(disposition.lower().startswith("attachment"), f"an attachment, got {disposition!r}", response)
        expect('"x".html"' not in disposition, f"a safely quoted filename, got {disposition!r}", response)
