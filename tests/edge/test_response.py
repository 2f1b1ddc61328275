"""Responses as bytes (RFC 9112 6.3): every one ends where its head says."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuspy_server.edge.response import STATUS_LINES, Response, informational, refusal

DATE = [(b"date", b"now")]


def rendered(response: Response, status: int, headers: list[tuple[bytes, bytes]], pieces: list[bytes]) -> bytes:
    output = response.start(status, headers, DATE)
    for index, piece in enumerate(pieces):
        output += response.body(piece, more_body=index < len(pieces) - 1)
    return output


@given(
    st.sampled_from(["GET", "HEAD", "PATCH"]),
    st.sampled_from(["1.0", "1.1"]),
    st.sampled_from([200, 201, 204, 304, 404, 460, 500]),
    st.lists(st.binary(max_size=30), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_client_reads_what_the_application_sent(
    method: str,
    version: str,
    status: int,
    pieces: list[bytes],
    with_length: bool,  # drawn
) -> None:
    response = Response(method, version, keep_alive=True)
    body = b"".join(pieces)
    headers = [(b"content-length", b"%d" % len(body))] if with_length and status not in (204, 304) else []
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(rendered(response, status, headers, pieces))
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    if not response.keep_alive:
        client.receive_data(b"")
    read = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        read += bytes(event.data)
    assert (answer.status_code, read) == (status, b"" if method == "HEAD" or status in (204, 304) else body)
    assert client.trailing_data == (b"", not response.keep_alive)


@pytest.mark.parametrize(
    "header",
    [(b"x\r\ny", b"z"), (b"x y", b"z"), (b"", b"z"), (b"x", b"a\r\nb"), (b"x", b"a\nb"), (b"x", b"a\0"), (b"x:", b"z")],
)
def test_a_header_that_would_split_the_response_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError):
        Response("GET", "1.1", keep_alive=True).start(200, [header], [])


@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"abcde"], [b"ab", b"ab", b"ab"]])
def test_a_body_that_is_not_as_long_as_it_says_is_refused(pieces: list[bytes]) -> None:
    with pytest.raises(RuntimeError):
        rendered(Response("GET", "1.1", keep_alive=True), 200, [(b"content-length", b"4")], pieces)


def test_framing_and_the_connection_are_not_the_applications() -> None:
    headers = [(b"Transfer-Encoding", b"gzip"), (b"Connection", b"keep-alive"), (b"Keep-Alive", b"timeout=5")]
    head = Response("GET", "1.1", keep_alive=False).start(200, headers, []).lower()
    assert head.count(b"transfer-encoding") == 1
    assert b"connection: close" in head
    assert b"keep-alive" not in head


@pytest.mark.parametrize("status", [99, 101, 200])
def test_only_1xx_are_informational(status: int) -> None:
    with pytest.raises(RuntimeError):
        informational(status, [])
    assert informational(104, [(b"upload-offset", b"1")]).startswith(b"HTTP/1.1 104")


def test_a_refusal_is_whole_and_ends_the_connection() -> None:
    whole = refusal(431, "too large", DATE, has_body=True)
    assert whole.startswith(STATUS_LINES[431])
    assert whole.endswith(b"content-length: 10\r\n\r\ntoo large\n")
    assert b"connection: close" in whole
    assert refusal(431, "too large", DATE, has_body=False) == whole[: -len(b"too large\n")]


@pytest.mark.parametrize(("headers", "is_stream"), [([], True), ([(b"content-length", b"9")], False)])
def test_a_download_of_an_event_stream_is_no_stream(headers: list[tuple[bytes, bytes]], *, is_stream: bool) -> None:
    """A client may close its side and still wait for the whole of a file, whatever its uploader calls it."""
    response = Response("GET", "1.1", keep_alive=True)
    response.start(200, [(b"content-type", b"text/event-stream; charset=utf-8"), *headers], [])
    assert response.is_stream is is_stream
