"""A figure of a broken upload is refused: each lie that a server can tell, told."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import scripts
from bench.calls import parse, syncs
from bench.driver import Driver
from bench.measure import measure
from bench.place import Place
from bench.results import Calls
from bench.s3_servers import find
from bench.s3_shapes import shapes
from bench.scripts import Uploaded, Work
from bench.servers import SINK
from bench.site import Server
from bench.source import SOURCE_BYTES, Source
from bench.wire import Broken, cut_answer

CREATED = b"HTTP/1.1 201 Created\r\nLocation: /files/1\r\nContent-Length: 0\r\n\r\n"
SMALL = next(shape for shape in shapes("quick") if shape.name == "small")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with Source(tmp_path_factory.mktemp("source") / "source") as made:
        yield made


def sink() -> Server:
    return next(server for server in find(None)[0] if server.name == SINK)


def work(port: int) -> Work:
    made = Work(f"127.0.0.1:{port}", "/files/", 1024, 0, in_creation=False)
    made.left.append(0)
    return made


def answering(*answers: bytes) -> int:
    """Port of a server that gives these answers to the requests of one connection, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as client:
            for answer in answers:
                received = b""
                while b"\r\n\r\n" not in received or (received.startswith(b"PATCH") and len(received) < 1024):
                    received += client.recv(65536)
                client.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",), "500 in place of 201"),
        ((b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",), "no Location"),
        ((CREATED, b"HTTP/1.1 204 No Content\r\nUpload-Offset: 1023\r\n\r\n"), "1023 in place of 1024"),
        ((CREATED, b"HTTP/1.1 204 No Content\r\n\r\n"), "None in place of 1024"),
        ((CREATED,), "closed a connection|connection lost"),
    ],
)
def test_a_wrong_answer_is_no_upload(source: Source, answers: tuple[bytes, ...], reason: str) -> None:
    """Statuses and offsets are what tus says, or the load ends."""
    port = answering(*answers)
    made = work(port)
    with pytest.raises(Broken, match=reason):
        Driver(port, source, [scripts.uploads(made)]).run(10)
    assert not made.done


def test_a_head_that_gives_another_offset_is_refused(source: Source) -> None:
    """The final HEAD of an upload gives its length."""
    port = answering(b"HTTP/1.1 200 OK\r\nUpload-Offset: 7\r\n\r\n")
    with pytest.raises(Broken, match="7 in place of 1024"):
        Driver(port, source, [scripts.final_offsets(work(port), [Uploaded("/files/1", 1024)])]).run(10)


def test_a_server_that_stores_nothing_has_no_figure(source: Source, tmp_path: Path) -> None:
    """The sink answers all that it is asked; on the disk there is nothing."""
    liar = dataclasses.replace(sink(), stored=lambda data, upload_id: data / upload_id)
    with pytest.raises(Broken, match="not whole on the disk"):
        measure(liar, SMALL, 0, Place(tmp_path, source))
    assert not list(tmp_path.iterdir()), "its data is gone"


def test_a_server_that_does_not_start_has_no_figure(source: Source, tmp_path: Path) -> None:
    """Its last words are the reason."""
    dead = dataclasses.replace(sink(), command=lambda *_: ("sh", "-c", "echo no such disk; exit 3"))
    with pytest.raises(Broken, match="no such disk"):
        measure(dead, SMALL, 0, Place(tmp_path, source))


@pytest.mark.parametrize("length", [0, 1, 5000, SOURCE_BYTES + 1])
def test_stored_bytes_are_compared_to_the_last(source: Source, tmp_path: Path, length: int) -> None:
    """One wrong byte, one too few or too many, and the file is not what was sent."""
    path = tmp_path / "stored"
    right = b"".join(source.runs(0, length))
    path.write_bytes(right)
    assert source.equals(path, length)
    path.write_bytes(right + b"x")
    assert not source.equals(path, length)
    if length:
        path.write_bytes(right[:-1])
        assert not source.equals(path, length)
        path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        assert not source.equals(path, length)


def test_answers_are_cut_at_their_end() -> None:
    """With a length, chunked, without a body, and to a HEAD whatever its length."""
    sized = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for whole in (sized, chunked):
        for stop in range(len(whole)):
            assert cut_answer(bytearray(whole[:stop]), to_head=False) is None
        received = bytearray(whole + b"HTTP")
        answer = cut_answer(received, to_head=False)
        assert answer is not None
        assert answer.status == 201
        assert received == b"HTTP"
    received = bytearray(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert cut_answer(received, to_head=True) is not None
    assert not received


def test_calls_are_read_from_strace(tmp_path: Path) -> None:
    """Only rows of counts are rows."""
    output = tmp_path / "calls"
    output.write_text(
        "    calls syscall\n------ -----\n       30 fdatasync\n        2 fsync\n------ -----\n 40 total\n"
    )
    counts = parse(output)
    assert counts == {"fdatasync": 30, "fsync": 2, "total": 40}
    assert syncs(Calls(server="ours", shape="x", calls={name: n / 2 for name, n in counts.items()})) == 16
