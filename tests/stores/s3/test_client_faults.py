"""The client against a server of a few lines that fails on purpose: what becomes of every kind of failure."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import uvloop

from tests.stores.s3.answering import (
    BODY,
    CUT,
    OK,
    PLAIN,
    Call,
    Request,
    Server,
    answer,
    complete,
    copy,
    delete,
    head,
    part,
    put_new,
    serving,
)
from tuspy_server.protocol.errors import StorageFault, StorageFull
from tuspy_server.stores.s3.client import S3Client
from tuspy_server.stores.s3.crc import crc32c_of, header_of
from tuspy_server.stores.s3.errors import (
    AccessDenied,
    ChecksumRefused,
    ConditionalConflict,
    InvalidPart,
    NotConnected,
    NotSupported,
    ObjectChanged,
    PreconditionFailed,
    QuotaExceeded,
    S3Error,
    Unavailable,
    translate,
)
from tuspy_server.stores.s3.values import Doubt, S3Options


async def test_a_put_is_what_s3_expects() -> None:
    """Length and checksum are in the head; no chunks, no Expect, no join of what the views hold."""
    async with serving(OK) as (client, server):
        assert await part(client) == "e"
        request = server.requests[0]
    assert request.line == "PUT /bucket/k?partNumber=1&uploadId=u%2F%2B%201 HTTP/1.1"
    assert request.body == b"hello world"
    assert request.headers["content-length"] == "11"
    assert request.headers["x-amz-checksum-crc32c"] == header_of(crc32c_of(BODY))
    assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert not {"expect", "transfer-encoding", "content-encoding", "x-amz-trailer"} & request.headers.keys()


async def test_no_checksum_is_sent_where_the_store_refuses_them() -> None:
    """S16: neither ours nor the SDK's own."""
    created = answer(200, body="<R><UploadId>u</UploadId></R>")
    async with serving(created, OK, checksums="off") as (client, server):
        await client.create_multipart("k", PLAIN)
        await part(client)
        for request in server.requests:
            assert not [name for name in request.headers if "checksum" in name or "trailer" in name]


async def test_a_batch_of_deletes_has_its_md5() -> None:
    """S16: older stores demand it."""
    async with serving(answer(200, body="<DeleteResult/>")) as (client, server):
        await delete(client)
        assert "content-md5" in server.requests[0].headers


async def test_deletes_go_one_by_one_where_there_is_no_batch() -> None:
    async with serving(answer(501, "NotImplemented"), answer(204)) as (client, server):
        await delete(client)
        await delete(client)
        assert [request.line.split("?")[0].split()[0] for request in server.requests] == ["POST", *["DELETE"] * 4]


async def test_a_key_that_was_not_deleted_is_an_error() -> None:
    body = "<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    async with serving(answer(200, body=body)) as (client, _):
        with pytest.raises(AccessDenied):
            await delete(client)


PASSING = [answer(500, "InternalError"), answer(503, "SlowDown"), answer(429)]


# aiohttp repeats what aiobotocore sends without a body by itself after a cut, so only the short way is counted then.
@pytest.mark.parametrize(
    ("failure", "call"), [*((failure, call) for failure in PASSING for call in (part, copy, head)), (CUT, part)]
)
async def test_trouble_that_passes_is_tried_again(failure: bytes, call: Call) -> None:
    """S01, S02."""
    copied = answer(200, body="<R><ETag>e</ETag></R>", headers='ETag: "e"\r\n')
    good = answer(200, headers='ETag: "e"\r\n') if call is head else copied
    async with serving(failure, failure, good) as (client, server):
        await call(client)
        assert len(server.requests) == 3
        assert sum(client.calls.values()) == 3


def hasty(failure: bytes | None) -> dict[str, Any]:
    """Deadlines to run into where no answer comes; one that comes may come late on a busy machine."""
    return {"attempt_seconds": 0.8, "complete_seconds": 0.8} if failure is None else {}


@pytest.mark.parametrize(
    ("failure", "status", "unknown"),
    [(answer(503, "SlowDown"), 503, True), (answer(429), 429, False), (CUT, 0, True), (None, 0, True)],
)
@pytest.mark.parametrize("call", [part, copy])
async def test_trouble_that_stays_says_whether_it_may_land_yet(
    failure: bytes | None, status: int, *, unknown: bool, call: Call
) -> None:
    """S01, S02, S04."""
    async with serving(failure, **hasty(failure)) as (client, server):
        with pytest.raises(Unavailable) as raised:
            await call(client)
        assert len(server.requests) == (6 if (call, failure) == (copy, CUT) else 3)
    assert (raised.value.status, raised.value.outcome_unknown) == (status, unknown)
    assert isinstance(translate(raised.value), StorageFault)


async def test_a_read_has_no_unknown_outcome() -> None:
    async with serving(CUT) as (client, _):
        with pytest.raises(Unavailable) as raised:
            await head(client)
    assert not raised.value.outcome_unknown


async def test_a_late_success_leaves_a_doubt() -> None:
    """S07: the attempt whose answer was lost may land after all."""
    async with serving(CUT, OK, OK) as (client, _):
        doubt, none = Doubt(), Doubt()
        await client.upload_part("k", "u", 1, BODY, crc32c=1, doubt=doubt)
        await client.upload_part("k", "u", 1, BODY, crc32c=1, doubt=none)
    assert (doubt.remains, none.remains) == (True, False)


@pytest.mark.parametrize("failure", [answer(500, "InternalError"), answer(503, "SlowDown"), CUT, None])
@pytest.mark.parametrize("call", [complete, put_new])
async def test_what_must_not_happen_twice_is_not_tried_again(failure: bytes | None, call: Call) -> None:
    """S05, S06, S19: an unknown outcome is the caller's to settle."""
    async with serving(failure, **hasty(failure)) as (client, server):
        with pytest.raises(Unavailable) as raised:
            await call(client)
        assert len(server.requests) == 1
    assert raised.value.outcome_unknown


@pytest.mark.parametrize("call", [complete, copy])
@pytest.mark.parametrize("body", ["", "  \n"])
async def test_a_200_with_an_error_in_it_is_an_error(call: Call, body: str) -> None:
    """S05."""
    document = f'<?xml version="1.0"?>{body}<Error><Code>InternalError</Code></Error>'
    async with serving(answer(200, body=document)) as (client, server):
        with pytest.raises(Unavailable) as raised:
            await call(client)
        assert len(server.requests) == (1 if call is complete else 3)
    assert (raised.value.code, raised.value.outcome_unknown) == ("InternalError", True)


@pytest.mark.parametrize("body", ["", "<CompleteMultipartUploadResult>", "<html></html>"])
async def test_a_success_that_names_no_object_is_none(body: str) -> None:
    """S05: an answer that broke off."""
    async with serving(answer(200, body=body)) as (client, _):
        with pytest.raises(Unavailable) as raised:
            await complete(client)
    assert raised.value.outcome_unknown


@pytest.mark.parametrize(
    ("failure", "call", "kind"),
    [
        (answer(403, "AccessDenied"), part, AccessDenied),
        (answer(403), head, AccessDenied),
        (answer(507), part, QuotaExceeded),
        (answer(403, "QuotaExceeded"), part, QuotaExceeded),
        (answer(412, "PreconditionFailed"), put_new, PreconditionFailed),
        (answer(409, "ConditionalRequestConflict"), put_new, ConditionalConflict),
        (answer(400, "InvalidPart"), complete, InvalidPart),
        (answer(501, "NotImplemented"), copy, NotSupported),
        (answer(301, "PermanentRedirect"), part, S3Error),
    ],
)
async def test_what_does_not_pass_is_named_and_not_tried_again(failure: bytes, call: Call, kind: type[S3Error]) -> None:
    async with serving(failure) as (client, server):
        with pytest.raises(kind) as raised:
            await call(client)
        assert len(server.requests) == 1
    assert not raised.value.outcome_unknown
    assert not raised.value.passes
    full = isinstance(translate(raised.value), StorageFull)  # S18
    assert full == (kind is QuotaExceeded)


async def test_bytes_that_changed_on_their_way_are_sent_again() -> None:
    """S14."""
    async with serving(answer(400, "BadDigest"), OK) as (client, server):
        await part(client)
        assert len(server.requests) == 2
    async with serving(answer(400, "BadDigest")) as (client, _):
        with pytest.raises(ChecksumRefused):
            await part(client)


async def test_nobody_listens() -> None:
    async with serving(OK, call_seconds=2.0) as (client, server):
        pass
    options = client.options
    client = S3Client(options)
    await client.open()
    try:
        for call in (part, put_new, complete, head):
            with pytest.raises(NotConnected) as raised:
                await call(client)
            assert not raised.value.outcome_unknown
    finally:
        await client.close()
    assert server.requests == []


async def test_a_call_ends_at_its_deadline_and_waiting_for_a_slot_counts() -> None:
    """S04, I10: what waits behind a store that hangs gives up too, with nothing having happened."""
    async with serving(None, slots=1, call_seconds=0.4, attempt_seconds=60) as (client, server):
        first, second = await asyncio.gather(part(client), part(client), return_exceptions=True)
        assert isinstance(first, Unavailable)
        assert first.outcome_unknown
        assert isinstance(second, NotConnected)
        assert second.code == "NoSlot"
        assert len(server.requests) == 1


def test_pages_are_free_when_a_call_was_cancelled() -> None:
    """I2: what the transport has not sent is never sent later, when the pages hold other bytes. On uvloop, whose
    transport keeps the pages themselves; asyncio's copies them."""
    uvloop.run(_cancelled_in_mid_body())


async def _cancelled_in_mid_body() -> None:
    taken = bytearray()
    connected, ended = asyncio.Event(), asyncio.Event()
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            taken.extend(await reader.readuntil(b"\r\n\r\n"))
            taken.clear()
            connected.set()
            await go_on.wait()
            while block := await reader.read(1 << 20):
                taken.extend(block)
        except ConnectionError:
            pass
        finally:
            ended.set()
            writer.close()

    pages = [memoryview(bytearray(b"a" * (8 << 20))) for _ in range(2)]
    async with serving(OK) as (client, _):
        listening = await asyncio.start_server(slow, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        other = S3Client(
            S3Options(
                bucket="b12",
                endpoint_url=f"http://127.0.0.1:{port}",
                region="r",
                addressing_style="path",
                access_key_id="k",
                secret_access_key="s",
            )
        )
        await other.open()
        call = asyncio.create_task(other.upload_part("k", "u", 1, pages, crc32c=0))
        await connected.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for page in pages:
            page[:] = b"b" * len(page)
        go_on.set()
        await ended.wait()
        assert b"b" not in taken
        await other.close()
        listening.close()
        await listening.wait_closed()
        assert client.calls == {}


async def test_every_attempt_is_observed() -> None:
    seen: list[tuple[str, str]] = []
    async with serving(answer(503, "SlowDown"), OK) as (client, _):
        client.observe(lambda operation, _, outcome: seen.append((operation, outcome)))
        await part(client)
    assert seen == [("UploadPart", "SlowDown"), ("UploadPart", "ok")]


async def test_a_download_goes_on_where_it_broke_off() -> None:
    """S03: and only with the same object."""
    first = b'HTTP/1.1 206 X\r\nETag: "e"\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\n01234'
    rest = b'HTTP/1.1 206 X\r\nETag: "e"\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789'

    class Cutting(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            found = re.search(r"range: bytes=(\d+)-", head)
            assert found is not None
            self.requests.append(Request(head, {}, b""))
            writer.write(first if found[1] == "0" else self.answers[0] or b"")
            await writer.drain()
            writer.close()

    for second, whole in ((rest, b"0123456789"), (answer(412), None)):
        server = Cutting([second])
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        client = S3Client(
            S3Options(
                bucket="b12",
                endpoint_url=f"http://127.0.0.1:{port}",
                region="r",
                addressing_style="path",
                access_key_id="k",
                secret_access_key="s",
            )
        )
        await client.open()
        try:
            if whole is None:
                with pytest.raises(ObjectChanged):
                    [block async for block in client.get_object("k", 0, 10)]
            else:
                assert b"".join([block async for block in client.get_object("k", 0, 10)]) == whole
            assert 'if-match: "e"' in server.requests[1].line
        finally:
            await client.close()
            listening.close()
            await listening.wait_closed()
