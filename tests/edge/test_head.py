"""Heads as the connection gets them: whole, with their empty line (RFC 9112; fault X18)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.web.wire import head
from tuspy_server.edge.head import BadHead, parse_head


def test_a_head_is_told_as_asgi_wants_it() -> None:
    parsed = parse_head(head("PATCH", "/a%20b/%C3%A9?x=%20&y", [("X-One", "1"), ("x-one", "2")]))
    assert parsed.method == "PATCH"
    assert parsed.raw_path == b"/a%20b/%C3%A9"
    assert parsed.path == "/a b/é"
    assert parsed.query_string == b"x=%20&y"
    assert parsed.http_version == "1.1"
    assert parsed.headers == [(b"host", b"tus.test"), (b"x-one", b"1"), (b"x-one", b"2")]


@pytest.mark.parametrize(
    ("fields", "body_bytes"),
    [
        ({}, 0),
        ({"Content-Length": "0"}, 0),
        ({"Content-Length": "12"}, 12),
        ({"Content-Length": "007"}, 7),
        ({"Content-Length": str(2**63 - 1)}, 2**63 - 1),
        ({"Transfer-Encoding": "chunked"}, None),
        ({"Transfer-Encoding": " Chunked"}, None),
    ],
)
def test_a_body_has_its_length_or_is_chunked(fields: dict[str, str], body_bytes: int | None) -> None:
    assert parse_head(head("PATCH", "/", fields)).body_bytes == body_bytes


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Content-Length": str(2**63)}, 400),
        ({"Content-Length": str(2**64)}, 400),
        ({"Content-Length": "9" * 30}, 400),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "+1"}, 400),
        ({"Content-Length": "1_0"}, 400),
        ({"Content-Length": "0x10"}, 400),
        ({"Content-Length": "1, 1"}, 400),
        ({"Content-Length": ""}, 400),
        ([("Content-Length", "1"), ("Content-Length", "1")], 400),
        ([("Content-Length", "1"), ("Transfer-Encoding", "chunked")], 400),
        ([("Transfer-Encoding", "chunked"), ("Content-Length", "1")], 400),
        ([("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], 400),
        ({"Transfer-Encoding": "identity"}, 400),
        ({"Transfer-Encoding": "xchunked"}, 400),
        ({"Transfer-Encoding": "gzip, chunked"}, 501),
        ({"Transfer-Encoding": "chunked, gzip"}, 400),
        ({"Host": "a,b"}, 400),
        ([("Host", "a"), ("Host", "a")], 400),
        ({"Host": "a/b"}, 400),
        ({"Host": "user@a"}, 400),
        ({"Host": "a:x"}, 400),
        ({"X ": "y"}, 400),
        ({"X": "a\0b"}, 400),
        ({"X": "a\rb"}, 400),
        ({"X": "a\nb"}, 400),
        ({"X": "a\r\n b"}, 400),
        ({"": "y"}, 400),
        ({"X(": "y"}, 400),
        ([("A", "")] * 256, 431),
    ],
)
def test_an_ambiguous_or_malformed_field_is_refused(fields: Any, status: int) -> None:
    with pytest.raises(BadHead) as error:
        parse_head(head("PATCH", "/", fields))
    assert error.value.status == status


@pytest.mark.parametrize("host", ["a", "a.b:80", "[::1]:80", "192.0.2.1", "", "a_b", "xn--e1afmkfd.example"])
def test_every_form_of_host_is_taken(host: str) -> None:
    assert parse_head(head("GET", "/", {"Host": host})).method == "GET"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.1", None),
        (b"GET / HTTP/1.0", None),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET /", 505),
        (b"SOURCE / ICE/1.0", 505),
        (b"OPTIONS / RTSP/1.0", 505),
        (b"GET / HTTP/1.2", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"get / HTTP/1.1", 400),
        (b"BREW / HTTP/1.1", 400),
        (b"GET HTTP/1.1", 400),
        (b"GET / / HTTP/1.1", 400),
        (b"GET \xc3\xa9 HTTP/1.1", 400),
        (b"CONNECT a:443 HTTP/1.1", 400),
    ],
)
def test_a_request_line_is_judged(line: bytes, status: int | None) -> None:
    data = line + b"\r\nHost: a\r\n\r\n"
    if status is None:
        parse_head(data)
        return
    with pytest.raises(BadHead) as error:
        parse_head(data)
    assert error.value.status == status


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "x, close", False),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive, x", True),
    ],
)
@pytest.mark.parametrize("body", [b"", b"Content-Length: 3\r\n"])
def test_keep_alive_is_what_the_head_says(
    version: str, connection: str | None, body: bytes, *, keep_alive: bool
) -> None:
    """Found here: the parser forgets it at the end of a request without a body, and the connection stayed open."""
    line = f"Connection: {connection}\r\n" if connection else ""
    data = f"PATCH / HTTP/{version}\r\nHost: a\r\n{line}".encode() + body + b"\r\n"
    assert parse_head(data).keep_alive is keep_alive


def test_expectations_and_upgrades_are_told() -> None:
    fields = {"Expect": "100-Continue", "Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade"}
    parsed = parse_head(head("GET", "/", fields))
    assert parsed.expects_continue
    assert parsed.upgrade == b"websocket"
    plain = parse_head(head("GET", "/", {"Upgrade": "websocket"}))
    assert (plain.expects_continue, plain.upgrade) == (False, None)
    assert not parse_head(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue


def test_http_1_0_has_no_chunks() -> None:
    with pytest.raises(BadHead):
        parse_head(b"PATCH / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 3))
@example(b"\n\r\n", 18, 0)
def test_any_bytes_are_a_head_or_a_bad_one(noise: bytes, position: int, removed: int) -> None:
    valid = head("PATCH", "/a?b", {"Content-Length": "3", "Connection": "close"})
    data = valid[:position] + noise + valid[position + removed :]
    data = data[: data.find(b"\r\n\r\n") + 4]  # what the connection would cut out
    try:
        parsed = parse_head(data)
    except BadHead:
        return
    else:
        assert parsed.body_bytes is None or parsed.body_bytes >= 0
        assert data.count(b"\n") == data.count(b"\r\n")
