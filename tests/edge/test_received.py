"""Heads are cut out of what is received, wherever it was cut on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.wire import head
from tuspy_server.edge.head import BadHead
from tuspy_server.edge.received import Received

HEADS = [head("GET", "/one"), b"\r\n\r\n" + head("PATCH", "/two", {"X": "y"}), head("GET", "/three")]


@given(st.lists(st.integers(1, 40), max_size=10))
def test_heads_come_out_whole_however_they_came_in(sizes: list[int]) -> None:
    data = b"".join(HEADS) + b"rest"
    received = Received(1000)
    heads: list[bytes] = []
    for size in [*sizes, len(data)]:
        received.append(data[:size])
        data = data[size:]
        while len(heads) < len(HEADS) and (taken := received.take_head()) is not None:
            heads.append(taken)
    assert heads == [one.lstrip(b"\r\n") for one in HEADS]
    assert received.take_rest() == b"rest"
    assert len(received) == 0


def test_it_knows_whether_a_head_has_begun_and_whether_all_has_been_looked_at() -> None:
    received = Received(1000)
    assert (received.begun, received.unread) == (False, False)
    received.append(b"\r\n\r")
    assert received.take_head() is None
    assert not received.begun
    received.append(b"\nGET")
    assert received.unread
    assert received.take_head() is None
    assert (received.begun, received.unread) == (True, False)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"\rGET / HTTP/1.1\r\n\r\n", 400),
        (b"get", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\n", 400),
        (b"G" * 101, 414),
        (b"GET /" + b"x" * 200 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 100, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 100 + b"\r\n\r\n", 431),
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(data: bytes, status: int) -> None:
    whole, dribbled = Received(100), Received(100)
    whole.append(data)
    with pytest.raises(BadHead) as error:
        whole.take_head()
    assert error.value.status == status
    assert status == _dribble(dribbled, data)


def _dribble(received: Received, data: bytes) -> int | None:
    for index in range(len(data)):
        received.append(data[index : index + 1])
        try:
            received.take_head()
        except BadHead as error:
            return error.status
    return None


def test_a_head_at_its_limit_is_taken() -> None:
    data = b"GET / HTTP/1.1\r\nX: " + b"y" * 80
    received = Received(len(data))
    received.append(data + b"\r\n\r\n")
    assert received.take_head() == data + b"\r\n\r\n"
