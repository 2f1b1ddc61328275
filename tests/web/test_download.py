"""GET: the bytes of finished uploads, whole and in ranges."""

from __future__ import annotations

import asyncio
import random
from email.utils import formatdate, parsedate_to_datetime

import pytest

from tests.web.conftest import ON_BOTH_CLASSES, Serve
from tests.web.served import Served, upload_id
from tests.web.wire import TUS, Wire, head

pytestmark = ON_BOTH_CLASSES

CONTENT = b"0123456789"


@pytest.fixture
async def target(server: Served) -> str:
    return await server.create(10, CONTENT)


async def test_a_finished_upload_is_sent_as_it_came(server: Served) -> None:
    """CORE-GET-01: in several blocks."""
    body = random.Random(1).randbytes(700_001)
    target = await server.create(len(body), body)
    reply = await server.request("GET", target)
    assert (reply.status, reply["Content-Length"], reply["Accept-Ranges"]) == (200, "700001", "bytes")
    assert reply.body == body


@pytest.mark.parametrize("fields", [{}, TUS, {"Tus-Resumable": "9.9.9"}])
async def test_an_unfinished_upload_is_not_sent(server: Served, fields: dict[str, str]) -> None:
    """CORE-GET-01: and no version is asked for."""
    reply = await server.request("GET", await server.create(10, b"hello"), fields)
    assert (reply.status, reply.body) == (409, b"upload_not_finished: the upload is not finished\n")
    done = await server.create(10, CONTENT)
    assert (await server.request("GET", done, fields)).body == CONTENT


@pytest.mark.parametrize(
    ("asked", "content_range", "body"),
    [
        ("bytes=0-0", "bytes 0-0/10", b"0"),
        ("bytes=2-4", "bytes 2-4/10", b"234"),
        ("bytes=5-", "bytes 5-9/10", b"56789"),
        ("bytes=0-", "bytes 0-9/10", CONTENT),
        ("bytes=9-9", "bytes 9-9/10", b"9"),
        ("bytes=8-999", "bytes 8-9/10", b"89"),
        ("bytes=3-9223372036854775807", "bytes 3-9/10", b"3456789"),
        ("bytes=3-9999999999999999999", "bytes 3-9/10", b"3456789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=-10", "bytes 0-9/10", CONTENT),
        ("bytes=-9999999999999999999", "bytes 0-9/10", CONTENT),
    ],
)
async def test_a_range_is_a_206(server: Served, target: str, asked: str, content_range: str, body: bytes) -> None:
    """X20: suffixes and ends past the file are cut to it."""
    reply = await server.request("GET", target, {"Range": asked})
    assert (reply.status, reply["Content-Range"], reply["Content-Length"]) == (206, content_range, str(len(body)))
    assert reply.body == body


@pytest.mark.parametrize(
    "asked", ["bytes=10-", "bytes=10-10", "bytes=999-1000", "bytes=-0", "bytes=9999999999999999999-"]
)
async def test_a_range_outside_the_file_is_416_with_its_length(server: Served, target: str, asked: str) -> None:
    reply = await server.request("GET", target, {"Range": asked})
    assert (reply.status, reply["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param("bytes=0-1,3-4", id="two"),
        pytest.param("bytes=" + ",".join("0-" for _ in range(5000)), id="thousands"),
        pytest.param("bytes=" + "0" * 30_000 + "-", id="many digits"),
        pytest.param("bytes=4-2", id="backwards"),
        pytest.param("bytes=-", id="neither end"),
        pytest.param("bytes=", id="nothing"),
        pytest.param("bytes=a-b", id="letters"),
        pytest.param("bytes=+1-2", id="sign"),
        pytest.param("bytes 0-1", id="no equals sign"),
        pytest.param("lines=0-1", id="unit"),
    ],
)
async def test_a_range_that_is_not_one_range_is_ignored(server: Served, target: str, asked: str) -> None:
    """X20: the whole file, never thousands of parts; RFC 9110 14.2 allows it."""
    reply = await server.request("GET", target, {"Range": asked})
    assert (reply.status, reply.body) == (200, CONTENT)


async def test_an_empty_file_has_no_range(server: Served) -> None:
    target = await server.create(0)
    assert (await server.request("GET", target, {"Range": "bytes=0-"})).status == 416
    assert (await server.request("GET", target)).status == 200


async def test_if_range_sends_the_range_only_of_the_same_file(server: Served, target: str) -> None:
    whole = await server.request("GET", target)
    for same in (whole["ETag"], whole["Last-Modified"]):
        assert (await server.request("GET", target, {"Range": "bytes=0-1", "If-Range": same})).status == 206
    for other in ('"other"', f"W/{whole['ETag']}", formatdate(0, usegmt=True), "x", ""):
        assert (await server.request("GET", target, {"Range": "bytes=0-1", "If-Range": other})).status == 200


async def test_a_client_that_has_the_file_gets_304(server: Served, target: str) -> None:
    etag = (await server.request("GET", target))["ETag"]
    assert etag == f'"{upload_id(target)}"'
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        reply = await server.request("GET", target, {"If-None-Match": known})
        assert (reply.status, reply.body, reply["ETag"]) == (304, b"", etag)
        assert "Content-Length" not in reply
    for other in ('"other"', "", etag.strip('"')):
        assert (await server.request("GET", target, {"If-None-Match": other})).status == 200


async def test_a_file_that_has_not_changed_since_is_304(server: Served, target: str) -> None:
    modified = (await server.request("GET", target))["Last-Modified"]
    since = parsedate_to_datetime(modified).timestamp()
    for date, status in (
        (modified, 304),
        (formatdate(since + 60, usegmt=True), 304),
        (formatdate(0, usegmt=True), 200),
    ):
        assert (await server.request("GET", target, {"If-Modified-Since": date})).status == status
    both = {"If-Modified-Since": modified, "If-None-Match": '"other"'}
    assert (await server.request("GET", target, both)).status == 200


async def test_a_file_that_is_not_the_one_meant_is_412(server: Served, target: str) -> None:
    """RFC 9110 13.1.1, 13.1.4, 13.2.2: no bytes of it, and before any 304 or 206."""
    whole = await server.request("GET", target)
    etag, modified = whole["ETag"], whole["Last-Modified"]
    before, rest = formatdate(parsedate_to_datetime(modified).timestamp() - 1, usegmt=True), {"Range": "bytes=5-"}
    for fields, status in (
        ({"If-Match": etag} | rest, 206),
        ({"If-Match": f'"other", {etag}', "If-Unmodified-Since": before}, 200),
        ({"If-Match": '"other"', "if-match": etag}, 200),  # on two lines
        ({"If-Match": "*"}, 200),
        ({"If-Match": f"W/{etag}"}, 412),
        ({"If-Match": '"other"', "If-None-Match": etag} | rest, 412),
        ({"If-Unmodified-Since": modified} | rest, 206),
        ({"If-Unmodified-Since": before}, 412),
        ({"If-Unmodified-Since": "Sun, 99 Nov 99999 99:99:99 GMT"}, 200),
    ):
        reply = await server.request("GET", target, fields)
        assert (reply.status, b"0123" in reply.body) == (status, status == 200)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37 +99999999999999999999",
        "Sun, 06 Nov 1994 08:49:37 +9999",
        "Sun, 99 Nov 99999 99:99:99 GMT",
        "Mon, 01 Jan 0001 00:00:00 -0000",
        "9" * 5000,
        ",,,;;",
    ],
)
async def test_a_date_that_is_none_is_ignored(server: Served, target: str, date: str) -> None:
    """I11: never a 500."""
    assert (await server.request("GET", target, {"If-Modified-Since": date})).status == 200


async def test_head_without_a_version_is_a_downloads_preview(server: Served, target: str) -> None:
    """CORE-VER-06: with the upload's headers too; with a version it is tus alone."""
    got = await server.request("GET", target)
    preview = await server.request("HEAD", target)
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Content-Disposition", "Accept-Ranges"):
        assert preview[name] == got[name]
    assert (preview["Upload-Offset"], preview["Cache-Control"]) == ("10", "no-store")
    tus = await server.look(target)
    assert (tus["Content-Length"], "ETag" in tus, "Accept-Ranges" in tus) == ("0", False, False)
    unfinished = await server.request("HEAD", await server.create(10, b"hello"))
    assert (unfinished.status, "ETag" in unfinished) == (200, False)


async def test_downloads_can_be_switched_off(serve: Serve) -> None:
    """CORE-GET-01."""
    server = await serve(download="off")
    target = await server.create(10, CONTENT)
    reply = await server.request("GET", target)
    assert (reply.status, reply.body) == (403, b"downloads_off: this server does not serve downloads\n")
    preview = await server.request("HEAD", target)
    assert (preview.status, preview["Upload-Offset"], "ETag" in preview) == (200, "10", False)
    assert (await server.request("GET", f"/files/{'0' * 32}")).status == 403


async def test_a_file_that_the_disk_has_lost_is_410_and_not_half_a_200(server: Served, target: str) -> None:
    path = await server.tus.path(upload_id(target))
    assert path is not None
    await asyncio.to_thread(path.unlink)
    assert (await server.request("GET", target)).status == 410


async def test_a_client_that_leaves_is_not_read_for(server: Served) -> None:
    """R09: the rest of a large file stays on the disk, and the metrics say 499."""
    size = 64 << 20
    target = await server.create(size)
    path = await server.tus.path(upload_id(target))
    assert path is not None
    assert (await server.patch(target, 0, bytes(size))).status == 204
    wire = await Wire.connect(server.port)
    await wire.send(head("GET", target))
    assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    wire.writer.transport.abort()
    await wire.close()
    left = b'tuspy_request_duration_seconds_count{method="GET",status="499"} 1.0'
    while left not in (await server.request("GET", "/metrics")).body:
        pass
