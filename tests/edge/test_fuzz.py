"""Any bytes, in any pieces: our class answers what uvicorn's own answers, but for differences that are meant.

- We answer every whole request that came before a malformed one; the stock class drops their answers.
- We refuse what `STRICTER` says, because each is a way to smuggle a request past a proxy (fault X18).
- We never reset a connection whose client sends on behind its last request: the answer would be lost.
- We take an absolute target without a path (RFC 9112 3.2.2).
- We keep trailers apart; the stock class adds them to the headers.
- We know no HTTP/0.9, and its lines have no version.
- We keep an HTTP/1.0 connection whose client asks for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from tests.edge.serving import Edge, read_body, reset, respond, serving, until
from tests.web.wire import chunked, head
from tuspy_server.edge.options import EdgeOptions

STRICTER: Final = re.compile(
    rb"begins with its method|Host|HTTP/1\.1 and HTTP/1\.0|HTTP/1\.0 knows no Transfer-Encoding"
    rb"|transfer coding is chunked|too l|chunked coding"
)
"""What we refuse and uvicorn takes: a CR or LF alone before a request; absent, repeated or malformed `Host`; HTTP/0.9,
ICE, RTSP; an HTTP/1.0 request with chunks; codings that would be ignored; heads past their limit; chunk lines past
theirs."""

LAST: Final = head("GET", "/last", {"Connection": "close"})
OPTIONS: Final = EdgeOptions(head_bytes=4096, linger_seconds=0.2)

NO_VERSION: Final = re.compile(rb"(?m)^[A-Z]+ [^ \r\n]+\r?\n")
NO_PATH: Final = re.compile(rb"[A-Za-z+.-]://[^/]*[ ?]")

STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 \d\d\d ")

Answers = list[tuple[int, bytes]]

RESET: Final = (499, b"a reset")


async def digest(scope: Any, receive: Any, send: Any) -> None:
    body, whole = await read_body(receive)
    if whole:
        headers = scope["headers"]
        if any(name == b"transfer-encoding" for name, _ in headers):
            headers = []  # the stock class may have put trailers there
        seen = (scope["method"], scope["path"], scope["query_string"], scope["http_version"], headers, body)
        await respond(send, hashlib.sha256(repr(seen).encode()).hexdigest().encode())


# --- streams of requests ----------------------------------------------------------------------------------------------

BODIES = st.binary(max_size=200) | st.sampled_from([b"", b"\r\n\r\n", LAST, b"x" * 70_000])
FIELDS = st.lists(
    st.sampled_from([("X", "y"), ("Expect", "100-continue"), ("Connection", "close"), ("Connection", "keep-alive")]),
    max_size=2,
    unique=True,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method, target = (
        draw(st.sampled_from(["GET", "HEAD", "PATCH", "POST", "OPTIONS"])),
        draw(st.sampled_from(["/", "/a?b=c", "/%41%ff", "http://h/x", "*", "//"])),
    )
    fields, body = draw(FIELDS), draw(BODIES)
    match draw(st.sampled_from(["none", "known", "chunked", "trailers"])):
        case "known":
            return head(method, target, [*fields, ("Content-Length", str(len(body)))]) + body
        case "chunked":
            cut = draw(st.integers(0, len(body)))
            pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
            return head(method, target, [*fields, ("Transfer-Encoding", "chunked")]) + chunked(*pieces)
        case "trailers":
            end = b"0;ext=1\r\nA: b\r\n\r\n"
            return head(method, target, [*fields, ("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n" + end
        case _:
            return head(method, target, fields)


TOKENS = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\x00",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"0",
        b"f",
        b"-",
        b"\xff",
        b"Host: b\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"HTTP/1.0",
        b"0\r\n\r\n",
        b"x" * 5000,
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, min(len(data), 600)))
        stop = start + draw(st.sampled_from([0, 0, 1, 2, 10]))
        data = data[:start] + draw(TOKENS | st.just(b"") | st.binary(max_size=3)) + data[stop:]
    return data


SPLITS = st.lists(st.integers(1, 400), max_size=6)


def pieces_of(data: bytes, splits: list[int]) -> Iterator[bytes]:
    start = 0
    for size in splits:
        yield data[start : start + size]
        start += size
    yield data[start:]


# --- both servers -----------------------------------------------------------------------------------------------------


@contextmanager
def both(loop: str) -> Iterator[tuple[asyncio.Runner, Edge, Edge]]:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        ours_context = serving(digest, options=OPTIONS)
        ours = runner.run(ours_context.__aenter__())
        stock_context = serving(digest, http="httptools")
        stock = runner.run(stock_context.__aenter__())
        stock.may_reset = True
        yield runner, ours, stock
        runner.run(stock_context.__aexit__(None, None, None))
        runner.run(ours_context.__aexit__(None, None, None))


async def answers(edge: Edge, pieces: list[bytes], patience_seconds: float) -> Answers:
    """What is answered before the connection ends, or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=1 << 20)
    received = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        while data := await asyncio.wait_for(reader.read(1 << 20), patience_seconds):
            received += data
    except TimeoutError:
        pass
    except (ConnectionError, RuntimeError):  # uvloop says the latter of a transport that was reset
        if edge.may_reset:
            return [*parsed(received), RESET]
        raise
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return parsed(received)


def parsed(received: bytes) -> Answers:
    found = []
    while received:
        lines, _, received = received.partition(b"\r\n\r\n")
        status = int(lines.split(b" ", 2)[1])
        length = re.search(rb"content-length: (\d+)", lines)
        # The only answers without a body are those to HEAD, and no digest begins like a status line.
        count = int(length[1]) if length and not STATUS_LINE.match(received) and received else 0
        if status != 100:
            found.append((status, received[:count]))
        received = received[count:]
    return found


def agree(data: bytes, ours: Answers, stock: Answers) -> bool:
    if NO_PATH.search(data) or NO_VERSION.search(data):
        return ours != []
    if stock and stock[-1] == RESET:
        stock = stock[:-2]  # the last answer may be cut
        ours = ours[: len(stock)]
    for index in range(max(len(ours), len(stock))):
        mine = ours[index] if index < len(ours) else None
        theirs = stock[index] if index < len(stock) else None
        if mine is not None and mine[0] >= 400:  # to HEAD without its reason
            return (theirs is None or theirs[0] >= 400) or not mine[1] or bool(STRICTER.search(mine[1]))
        if theirs is not None and theirs[0] >= 400:
            return bool(ours) and ours[-1][0] >= 400
        if mine != theirs:
            return False
    return True


EXAMPLES: Final = [300, pytest.param(8_000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_any_stream_is_answered_as_by_the_stock_class(loop: str, examples: int) -> None:
    with both(loop) as (runner, ours, stock):

        @settings(
            max_examples=examples,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        )
        @given(mutated(), SPLITS)
        @example(head("GET", "/"), [1, 1, 1])
        @example(b"\r" + head("GET", "/"), [])
        @example(head("GET", "/").replace(b"Host", b"ost"), [])
        @example(head("GET", "ttp://x"), [])
        @example(head("GET", "/") + head("GET", "/", {"Connection": "close"}) + head("GET", "/"), [1, 33, 1, 52])
        @example(head("HEAD", "/", {"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n0;\r\n\r\n\r\n", [])
        @example(
            head("GET", "/", {"Transfer-Encoding": "chunked"}) + b"0\r\nA:/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", []
        )
        def compare(data: bytes, splits: list[int]) -> None:
            pieces = list(pieces_of(data + LAST, splits))
            mine, theirs = [], []
            for patience_seconds in (0.03, 0.3, 2.0):
                mine = runner.run(answers(ours, pieces, patience_seconds))
                theirs = runner.run(answers(stock, pieces, patience_seconds))
                if agree(data, mine, theirs):
                    break
            else:
                note(f"ours: {mine}\nstock: {theirs}")
                raise AssertionError("the answers differ")
            assert ours.problems == []
            stock.problems.clear()

        compare()
        runner.run(until(lambda: ours.connections == 0))


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_reset_at_any_byte_leaves_nothing_behind(loop: str, examples: int) -> None:
    with both(loop) as (runner, ours, _):

        async def send_and_reset(pieces: list[bytes]) -> None:
            client = ours.socket()
            try:
                for piece in pieces:
                    client.sendall(piece)
                    await asyncio.sleep(0)
            except OSError:
                pass
            reset(client)
            await until(lambda: ours.connections == 0 and not ours.server.server_state.tasks)

        @settings(max_examples=examples, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
        @given(mutated(), SPLITS, st.integers(0, 100_000))
        def run(data: bytes, splits: list[int], position: int) -> None:
            runner.run(send_and_reset(list(pieces_of(data[: position % (len(data) + 1)], splits))))
            assert ours.problems == []

        run()
