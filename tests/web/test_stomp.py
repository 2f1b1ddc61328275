"""STOMP 1.2: frames from bytes that come split anywhere, and what a session answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuspy_server.protocol.errors import UploadNotFound
from tuspy_server.web.frames import Frame
from tuspy_server.web.stomp.frames import BODY_BYTES, HEAD_BYTES, MOST_HEADERS, BadFrame, Parser, StompFrame, encode
from tuspy_server.web.stomp.session import MOST_SAME, StompSession, Subscribe, Unsubscribe

CONNECT = b"CONNECT\naccept-version:1.1,1.2\nhost:x\nheart-beat:%s\n\n\0"


def parse(data: bytes) -> list[StompFrame]:
    return Parser().feed(data)


def connected(heartbeat: bytes = b"0,0") -> StompSession:
    session = StompSession(heartbeat_seconds=10)
    session.receive(CONNECT % heartbeat)
    session.outgoing.clear()
    return session


def said(session: StompSession) -> list[StompFrame]:
    frames = parse(b"".join(session.outgoing))
    session.outgoing.clear()
    return frames


NAMES = st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text)
HEADERS = st.dictionaries(
    NAMES.filter(lambda name: name != "content-length"), st.text(max_size=40).filter(lambda t: "\0" not in t)
)


@given(headers=HEADERS, body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 2000)), beats=st.booleans())
def test_what_is_encoded_is_parsed_however_it_is_split(
    headers: dict[str, str], body: bytes, cuts: list[int], *, beats: bool
) -> None:
    one = encode("MESSAGE", headers.items(), body)
    data = one + (b"\n\r\n" if beats else b"") + one
    parser, frames, start = Parser(), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        frames += parser.feed(data[start:cut])
        start = cut
    wanted = StompFrame("MESSAGE", {**headers, "content-length": str(len(body))}, body)
    assert frames == [wanted, wanted]


@given(st.binary(max_size=300))
def test_no_bytes_crash_a_session(data: bytes) -> None:
    """I11."""
    session = connected()
    session.receive(data)
    session.receive(CONNECT % b"0,0" + data + b"\0")
    session.receive(b"SUBSCRIBE\n" + data + b"\n\n\0")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        pytest.param(b"SEND\r\nname:value\r\n\r\nbody\0", StompFrame("SEND", {"name": "value"}, b"body"), id="CRLF"),
        pytest.param(b"SEND\na:1\na:2\n\n\0", StompFrame("SEND", {"a": "1"}), id="the first of a header counts"),
        pytest.param(b"SEND\na:\\r\\n\\c\\\\\n\n\0", StompFrame("SEND", {"a": "\r\n:\\"}), id="escapes"),
        pytest.param(b"CONNECT\na:x\\n:y\n\n\0", StompFrame("CONNECT", {"a": "x\\n:y"}), id="none in CONNECT"),
        pytest.param(
            b"SEND\ncontent-length:3\n\n\0\0\0\0", StompFrame("SEND", {"content-length": "3"}, b"\0\0\0"), id="NUL"
        ),
        pytest.param(b"\n\n\r\n\nSEND\n\n\0", StompFrame("SEND"), id="heartbeats before"),
        pytest.param("SEND\nnäme:välue\n\n\0".encode(), StompFrame("SEND", {"näme": "välue"}), id="UTF-8"),
    ],
)
def test_frames(data: bytes, wanted: StompFrame) -> None:
    assert parse(data) == [wanted]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"SEND\na:\\t\n\n\0", id="undefined escape"),
        pytest.param(b"SEND\na:b:c\n\n\0", id="colon in a value"),
        pytest.param(b"SEND\na\n\n\0", id="no colon"),
        pytest.param(b"SEND\n:a\n\n\0", id="no name"),
        pytest.param(b"SEND\n\xff:a\n\n\0", id="no UTF-8"),
        pytest.param(b"SEND\na:b\0", id="no end of the head"),
        pytest.param(b"SEND\na:b\0SEND\n\n\0", id="an end in the next frame"),
        pytest.param(b"SEND\ncontent-length:1\n\nab\0", id="longer than content-length"),
        pytest.param(b"SEND\ncontent-length:-1\n\n\0", id="negative"),
        pytest.param(b"SEND\ncontent-length:99999999\n\n", id="announces too much"),
        pytest.param("SEND\ncontent-length:٣\n\nabc\0".encode(), id="digits of another script"),
        pytest.param(b"A" * HEAD_BYTES, id="an endless head"),
        pytest.param(b"SEND\n" + b"a:b\n" * (MOST_HEADERS + 1) + b"\n\0", id="too many headers"),
        pytest.param(b"SEND\n\n" + b"a" * (BODY_BYTES + 1), id="an endless body"),
        pytest.param(b"SUBSCRIBE\nid:1\n\nbody\0", id="a body where none may be"),
    ],
)
def test_frames_that_are_none(data: bytes) -> None:
    """I10, I11."""
    with pytest.raises(BadFrame):
        parse(data)
    session = connected()
    session.receive(data)
    (error,) = said(session)
    assert error.command == "ERROR"
    assert session.is_over
    assert session.receive(b"SUBSCRIBE\nid:1\ndestination:/topic/job/x\n\n\0") == []


def test_heartbeats_are_agreed_on() -> None:
    session = StompSession(heartbeat_seconds=10)
    session.receive(CONNECT % b"4000,30000")
    (frame,) = said(session)
    assert (frame.command, frame.headers["version"], frame.headers["heart-beat"]) == ("CONNECTED", "1.2", "10000,10000")
    assert (session.send_seconds, session.receive_seconds) == (30, 10)
    silent = connected(b"0,0")
    assert (silent.send_seconds, silent.receive_seconds) == (None, None)


@pytest.mark.parametrize(
    "data",
    [
        b"SUBSCRIBE\nid:1\ndestination:/topic/job/x\n\n\0",
        b"CONNECT\naccept-version:1.0,1.1\nhost:x\n\n\0",
        b"CONNECT\nhost:x\n\n\0",
        b"CONNECT\naccept-version:1.2\nheart-beat:1\n\n\0",
        b"CONNECT\naccept-version:1.2\nheart-beat:1,99999999999\n\n\0",
    ],
)
def test_what_comes_first_must_be_a_connect_of_this_version(data: bytes) -> None:
    session = StompSession(heartbeat_seconds=10)
    session.receive(data)
    assert [frame.command for frame in said(session)] == ["ERROR"]
    assert session.is_over


def test_the_token_of_a_browser_comes_with_connect() -> None:
    session = StompSession(heartbeat_seconds=10)
    session.receive(b"STOMP\naccept-version:1.2\nhost:x\nAuthorization:Bearer a:b\n\n\0")
    assert session.authorization == "Bearer a:b"


def test_subscriptions() -> None:
    session = connected()
    (wanted,) = session.receive(b"SUBSCRIBE\nid:s\ndestination:/topic/job/j1\nafter:3-0123abcd\nreceipt:r\n\n\0")
    assert isinstance(wanted, Subscribe)
    assert (wanted.id, wanted.wish.job_id, str(wanted.wish.after)) == ("s", "j1", "3-0123abcd")
    session.subscribed(wanted, "3-0123abcd")
    (receipt,) = said(session)
    assert (receipt.command, receipt.headers) == ("RECEIPT", {"receipt-id": "r", "cursor": "3-0123abcd"})
    text = json.dumps({"a": "ü\0"})
    data = session.message("s", Frame("upload.finished", "4-0123abcd", "u", text))
    assert data is not None
    (message,) = parse(data)
    assert message.body == text.encode()
    assert message.headers == {
        "subscription": "s",
        "message-id": "1",
        "destination": "/topic/job/j1",
        "content-type": "application/cloudevents+json",
        "type": "upload.finished",
        "cursor": "4-0123abcd",
        "content-length": str(len(text.encode())),
    }
    assert session.receive(b"UNSUBSCRIBE\nid:s\nreceipt:q\n\n\0") == [Unsubscribe(id="s")]
    assert [frame.headers for frame in said(session)] == [{"receipt-id": "q"}]
    assert session.message("s", Frame("upload.finished", None, "u", text)) is None


def test_an_ack_is_asked_for_and_tolerated() -> None:
    session = connected()
    session.receive(b"SUBSCRIBE\nid:s\ndestination:/topic/events\nack:client\n\n\0")
    data = session.message("s", Frame("gap", None, None, "{}"))
    assert data is not None
    assert parse(data)[0].headers["ack"] == "1"
    assert session.receive(b"ACK\nid:1\nreceipt:a\n\n\0NACK\nid:9\n\n\0") == []
    assert [frame.headers for frame in said(session)] == [{"receipt-id": "a"}]


@pytest.mark.parametrize(
    "data",
    [
        b"SEND\ndestination:/topic/job/j\nreceipt:r\n\nx\0",
        b"BEGIN\ntransaction:t\nreceipt:r\n\n\0",
        b"NONSENSE\nreceipt:r\n\n\0",
    ],
)
def test_what_is_refused_names_its_receipt(data: bytes) -> None:
    session = connected()
    session.receive(data)
    (error,) = said(session)
    assert (error.command, error.headers["receipt-id"]) == ("ERROR", "r")
    assert session.is_over


@pytest.mark.parametrize(
    "headers",
    [
        b"destination:/topic/job/j",
        b"id:s",
        b"id:s\ndestination:/topic/job/",
        b"id:s\ndestination:/topic/job/../x",
        b"id:s\ndestination:/topic/*",
        b"id:s\ndestination:/topic/job/j/extra",
        b"id:s\ndestination:/queue/job/j",
        b"id:s\ndestination:/topic/job/j\nafter:nonsense",
        b"id:s\ndestination:/topic/job/j\ntype:nonsense",
        b"id:taken\ndestination:/topic/job/j",
    ],
)
def test_subscriptions_that_are_none(headers: bytes) -> None:
    """X15: no wildcards."""
    session = connected()
    session.receive(b"SUBSCRIBE\nid:taken\ndestination:/topic/job/j\n\n\0")
    assert session.receive(b"SUBSCRIBE\n%b\n\n\0" % headers) == []
    assert [frame.command for frame in said(session)] == ["ERROR"]
    assert session.is_over


def test_one_destination_is_not_sent_a_hundred_times() -> None:
    """I10."""
    session = connected()
    frames = [b"SUBSCRIBE\nid:%d\ndestination:/topic/upload/u\n\n\0" % number for number in range(MOST_SAME + 1)]
    assert len(session.receive(b"".join(frames[:-1]))) == MOST_SAME
    session.receive(b"UNSUBSCRIBE\nid:0\n\n\0SUBSCRIBE\nid:other\ndestination:/topic/upload/v\n\n\0")
    assert not session.is_over
    session.receive(frames[0] + frames[-1])
    assert session.is_over


def test_a_refusal_says_why() -> None:
    session = connected()
    (wanted,) = session.receive(b"SUBSCRIBE\nid:s\ndestination:/topic/upload/u\nreceipt:r\n\n\0")
    assert isinstance(wanted, Subscribe)
    session.refused(wanted, UploadNotFound())
    (error,) = said(session)
    assert (error.headers["status"], error.headers["receipt-id"]) == ("404", "r")
    assert session.is_over


def test_a_disconnect_gets_its_receipt_and_is_the_end() -> None:
    session = connected()
    session.receive(b"DISCONNECT\nreceipt:bye\n\n\0SEND\n\n\0")
    assert [frame.headers for frame in said(session)] == [{"receipt-id": "bye"}]
    assert session.is_over
