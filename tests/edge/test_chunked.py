"""The chunked coding in any pieces: the same body, or broken; never a byte past its end (RFC 9112 7.1; X18, N07)."""

from __future__ import annotations

from collections.abc import Iterator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuspy_server.edge.chunked import LINE_LIMIT_BYTES, TRAILER_LIMIT_BYTES, ChunkedDecoder

EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b c;\\""', b";a;b=c"])
TRAILERS = st.lists(
    st.tuples(st.from_regex(rb"\A[A-Za-z-]{1,9}\Z"), st.from_regex(rb"\A[!-~]([ -~]{0,9}[!-~])?\Z")), max_size=3
)


@st.composite
def codings(draw: st.DrawFn) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    data, body = b"", b""
    for chunk in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5)):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(chunk)
        data += size + draw(EXTENSIONS) + b"\r\n" + chunk + b"\r\n"
        body += chunk
    trailers = draw(TRAILERS)
    data += b"0" + draw(EXTENSIONS) + b"\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"
    return data, body, [(name.lower(), value) for name, value in trailers]


SPLITS = st.lists(st.integers(0, 9), max_size=30)


def pieces_of(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
    yield data[start:]


def decode(data: bytes, sizes: list[int]) -> tuple[ChunkedDecoder, bytes, int]:
    """The decoder after all of it, the body, and how many bytes were taken."""
    decoder, body, taken = ChunkedDecoder(), b"", 0
    for piece in pieces_of(data, sizes):
        found, count = decoder.decode(memoryview(piece))
        body += b"".join(found)
        taken += count
        if count < len(piece):
            break
    return decoder, body, taken


@given(codings(), SPLITS, st.binary(max_size=20))
def test_any_split_gives_the_same_body_and_reads_no_further_than_its_end(
    coding: tuple[bytes, bytes, list[tuple[bytes, bytes]]], sizes: list[int], behind: bytes
) -> None:
    data, expected, trailers = coding
    decoder, body, taken = decode(data + behind, sizes)
    assert (decoder.done, decoder.broken) == (True, False)
    assert (body, taken, decoder.trailers) == (expected, len(data), trailers)
    assert decoder.decode(memoryview(b"more")) == ([], 0)


@given(codings(), SPLITS)
def test_a_body_is_not_whole_before_its_last_byte(
    coding: tuple[bytes, bytes, list[tuple[bytes, bytes]]], sizes: list[int]
) -> None:
    data, expected, _ = coding
    decoder, body, _ = decode(data[:-1], sizes)
    assert not decoder.done
    assert expected.startswith(body)


def h11_reads(data: bytes) -> tuple[bytes, bool] | None:
    """The body, and whether it is whole; None where h11 finds it malformed."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"PATCH / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return body, True
            elif event is h11.NEED_DATA:
                return body, False
    except h11.RemoteProtocolError:
        return None


@given(
    codings(),
    st.integers(0, 100),
    st.integers(0, 3),
    st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"0", b"f", b";", b"-", b" ", b"\t", b"\0", b"0\r\n\r\n", b"\xff"]),
    SPLITS,
)
def test_any_mutation_is_broken_or_unfinished_or_what_h11_reads(
    coding: tuple[bytes, bytes, list[tuple[bytes, bytes]]], position: int, removed: int, token: bytes, sizes: list[int]
) -> None:
    data = coding[0][:position] + token + coding[0][position + removed :]
    decoder, body, _ = decode(data, sizes)
    if decoder.done:
        assert h11_reads(data) == (body, True)
    whole = decode(data, [])
    assert (whole[0].done, whole[0].broken, whole[1]) == (decoder.done, decoder.broken, body)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1\n",
        b"1 \r\n",
        b"1 ;a\r\n",
        b"1; a\r\n",
        b"1;\r\n",
        b'1;a="b\r\n',
        b"1\r\r\n",
        b"1;\0\r\n",
        b"1;a\nb\r\n",
        b"f" * 16 + b"\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"3\r\nabcX\r\n",
        b"0\r\nname\r\n",
        b"0\r\n: x\r\n",
        b"0\r\nna me: x\r\n",
        b"0\r\nname : x\r\n",
        b"0\r\nname: x\n",
        b"0\r\n folded: x\r\n",
        b"0\r\nname: a\0b\r\n",
        b"1" * (LINE_LIMIT_BYTES + 1),
        b"1;" + b"x" * LINE_LIMIT_BYTES + b"\r\n",
        b"0\r\n" + b"a: b\r\n" * (TRAILER_LIMIT_BYTES // 4 + 1),
        b"0\r\na: " + b"b" * TRAILER_LIMIT_BYTES + b"\r\n",
        b"0\r\na: " + b"b" * (TRAILER_LIMIT_BYTES * 3),
    ],
)
def test_malformed_codings_are_broken(data: bytes) -> None:
    for sizes in ([], [1] * len(data)):
        decoder, body, _ = decode(data, sizes)
        assert decoder.broken
        assert not decoder.done
        assert body in (b"", b"abc")
        assert decoder.decode(memoryview(b"0\r\n\r\n")) == ([], 0)


def test_a_broken_coding_gives_what_came_before_it() -> None:
    decoder, body, _ = decode(b"3\r\nabc\r\nX", [])
    assert body == b"abc"
    assert not decoder.done


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding"])
def test_framing_in_the_trailers_is_broken(name: bytes) -> None:
    """X18: a second framing behind the end of the first one hides a request in the trailers."""
    decoder = ChunkedDecoder()
    decoder.decode(memoryview(b"0\r\na: b\r\n" + name + b": 0\r\n\r\n"))
    assert decoder.broken
    assert not decoder.done
