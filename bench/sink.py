"""The null server: it reads, discards and acknowledges, and stores nothing. Its figure is what the client can do.

Raw sockets and epoll in one process: no server that stores bytes has less to do. Run as `python -m bench.sink PORT`;
with a folder behind it, it also writes what it reads, and that is the floor of what a server of files costs: the
kernel's two copies, without a protocol, a database, a sync, or a second thread.
"""

from __future__ import annotations

import os
import re
import select
import socket
import sys
from pathlib import Path
from typing import Final

BUFFER: Final = bytearray(1 << 20)
LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
UPLOAD_OFFSET: Final = re.compile(rb"\r\nUpload-Offset: (\d+)\r\n", re.IGNORECASE)
TUS: Final = b"Tus-Resumable: 1.0.0\r\n"


class Client:
    """One connection: a head, then so many bytes to discard, then an answer."""

    def __init__(self, sock: socket.socket, offsets: dict[bytes, int], folder: Path | None) -> None:
        self.sock = sock
        self._offsets = offsets
        self._folder = folder
        self._file: int | None = None
        self._head = b""
        self._left = 0
        self._answer = b""

    def readable(self) -> bool:
        """Take what has come; False: the connection has ended."""
        if self._left:
            count = self.sock.recv_into(BUFFER, min(self._left, len(BUFFER)))
            self._left -= count
            self._keep(count)
            if count and not self._left:
                self._close()
                self.sock.sendall(self._answer)
            return count > 0
        count = self.sock.recv_into(BUFFER, 1 << 16)
        self._head += BUFFER[:count]
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            head, rest = self._head[: end + 4], len(self._head) - end - 4
            self._head = b""
            length = LENGTH.search(head)
            self._left = (int(length[1]) if length else 0) - rest
            self._answer = self._decide(head, self._left + rest)
            BUFFER[:rest] = BUFFER[count - rest : count]
            self._keep(rest)
            if not self._left:
                self._close()
                self.sock.sendall(self._answer)
        return count > 0

    def _keep(self, count: int) -> None:
        if self._file is not None:
            os.write(self._file, memoryview(BUFFER)[:count])

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _decide(self, head: bytes, count: int) -> bytes:
        method, path, _ = head.split(b" ", 2)
        if method == b"POST":
            path = b"/files/%d" % len(self._offsets)
            self._offsets[path] = count
            return b"HTTP/1.1 201 Created\r\nLocation: %b\r\n%b%b" % (path, TUS, _offset(count))
        if method == b"PATCH":
            offset = UPLOAD_OFFSET.search(head)
            if self._folder is not None:
                name = self._folder / path.rpartition(b"/")[2].decode()
                self._file = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
            self._offsets[path] = count + (int(offset[1]) if offset else 0)
            return b"HTTP/1.1 204 No Content\r\n%b%b" % (TUS, _offset(self._offsets[path]))
        if method == b"HEAD":
            return b"HTTP/1.1 200 OK\r\n%b%b" % (TUS, _offset(self._offsets[path]))
        return b"HTTP/1.1 200 OK\r\nTus-Extension: creation,creation-with-upload\r\n%b%b" % (TUS, _offset(0))


def _offset(upload_offset: int) -> bytes:
    return b"Content-Length: 0\r\nUpload-Offset: %d\r\n\r\n" % upload_offset


def serve(port: int, folder: Path | None) -> None:
    """Until the process is ended. `folder`: where to keep the bodies of PATCHes; None to discard them."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    clients: dict[int, Client] = {}
    offsets: dict[bytes, int] = {}
    while True:
        for descriptor, _ in epoll.poll():
            client = clients.get(descriptor)
            if client is None:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[sock.fileno()] = Client(sock, offsets, folder)
                epoll.register(sock, select.EPOLLIN)
                continue
            try:
                alive = client.readable()
            except ConnectionError:
                alive = False
            if not alive:
                epoll.unregister(descriptor)
                del clients[descriptor]
                client.sock.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
