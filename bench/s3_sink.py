"""An S3 endpoint that counts: calls and bytes by operation, with a latency a call where one is asked for.

Raw HTTP/1.1 on uvloop in a process of its own; large bodies are received into one buffer and let go, so that it costs
as little as can be. Run as `python -m bench.s3_sink PORT [--latency-ms MS]`; a bucket need not be made.

`/-/counts` gives the counts; `/-/start?latency_ms=30` begins them anew and sets the latency; `/-/objects` describes
what is stored, `/-/left?prefix=tmp/` how much of it has such a key. None of these is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import socket
import sys
from typing import Final, cast
from urllib.parse import parse_qsl, unquote

import uvloop

from bench.s3_body import Body, Chunks
from bench.s3_calls import Call, Reply, operation
from bench.s3_objects import Store

HEAD_BYTES: Final = 64 << 10
SCRATCH: Final = memoryview(bytearray(1 << 20))
"""What is let go is received here, by all connections: each has taken its bytes before the next one comes."""

CONTROL: Final = "-"
REASONS: Final = {200: "OK", 204: "No Content", 206: "Partial Content", 412: "Precondition Failed"}


class Sink:
    """What all connections share."""

    def __init__(self, latency_ms: float) -> None:
        self.store = Store()
        self.latency_ms = latency_ms

    def control(self, call: Call) -> Reply:
        """What the bench asks for itself."""
        match call.key:
            case "start":
                self.store.counts.clear()
                self.latency_ms = float(call.query.get("latency_ms", self.latency_ms))
                return Reply()
            case "counts":
                return Reply(body=json.dumps(self.counts()).encode())
            case "left":
                prefix = call.query.get("prefix", "")
                return Reply(body=b"%d" % sum(key.startswith(prefix) for key in self.store.objects))
            case "objects":
                return Reply(body=self.store.described())
            case _:
                return Reply(404)

    def counts(self) -> dict[str, dict[str, int]]:
        """Operation → its counts."""
        return {name: dataclasses.asdict(counted) for name, counted in sorted(self.store.counts.items())}


class Connection(asyncio.BufferedProtocol):
    """A head, a body, an answer; then the next. Nothing is read while an answer waits for its latency."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = memoryview(bytearray(HEAD_BYTES))
        self._filled = 0
        self._call: Call | None = None
        self._left: int | None = 0
        """Bytes of the body that are to come; None: chunked."""
        self._http: Chunks | None = None
        self._s3: Chunks | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        del sizehint
        if self._call is None:
            return self._head[self._filled :]
        return SCRATCH if self._left is None else SCRATCH[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        try:
            if self._call is None:
                self._filled += nbytes
                self._cut_head()
            else:
                self._take(SCRATCH[:nbytes])
        except (ValueError, KeyError) as error:
            print(f"s3_sink: not understood: {error!r}", file=sys.stderr, flush=True)
            self._transport.abort()

    def _cut_head(self) -> None:
        received = bytes(self._head[: self._filled])
        end = received.find(b"\r\n\r\n")
        if end < 0:
            if self._filled == HEAD_BYTES:
                raise ValueError("a head without an end")
            return
        self._filled = 0
        self._begin(received[:end].decode("latin-1"))
        rest = memoryview(received)[end + 4 :]
        if rest or self._left == 0:
            self._take(rest)

    def _begin(self, head: str) -> None:
        request, *lines = head.split("\r\n")
        method, target, _ = request.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path, _, text = target.partition("?")
        query = dict(parse_qsl(text, keep_blank_values=True))
        bucket, _, key = unquote(path.lstrip("/")).partition("/")
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        encoded = headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
        self._left = None if chunked else int(headers.get("content-length", 0))
        length = int(headers.get("x-amz-decoded-content-length", self._left or 0))
        named = CONTROL if bucket == CONTROL else operation(method, key, query, headers)
        call = Call(method, bucket, key, query, headers, named, Body(keep=False))
        call.body = Body(keep=self._sink.store.keeps(call, length))
        self._s3 = Chunks(call.body.take) if encoded else None
        self._http = Chunks(self._payload) if chunked else None
        self._call = call
        if headers.get("expect", "").lower() == "100-continue" and self._left != 0:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take(self, view: memoryview) -> None:
        if self._http is not None:
            taken = self._http.feed(view)
            done = self._http.done
        else:
            left = self._left or 0
            taken = min(len(view), left)
            self._payload(view[:taken])
            self._left = left - taken
            done = self._left == 0
        if done:
            if taken != len(view):
                raise ValueError("a request before the answer to the last")
            self._ended()

    def _payload(self, view: memoryview) -> None:
        if self._s3 is not None:
            self._s3.feed(view)
        elif self._call is not None and view:
            self._call.body.take(view)

    def _ended(self) -> None:
        call, self._call = self._call, None
        if call is None:
            raise ValueError("no call")
        if self._s3 is not None:
            if not self._s3.done:
                raise ValueError("an aws-chunked body without its end")
            call.headers.update(self._s3.trailers)
        if call.operation == CONTROL:
            self._answer(call, self._sink.control(call))
            return
        reply = self._sink.store.answer(call)
        if reply.status == 501:
            print(f"s3_sink: {call.operation} {call.method} {call.key} {call.query}", file=sys.stderr, flush=True)
        if self._sink.latency_ms:
            asyncio.get_running_loop().call_later(self._sink.latency_ms / 1000, self._answer, call, reply)
        else:
            self._answer(call, reply)

    def _answer(self, call: Call, reply: Reply) -> None:
        if self._transport.is_closing():
            return
        fields = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        length = len(reply.body) if reply.length is None else reply.length
        if reply.status != 204:
            fields += f"Content-Length: {length}\r\n"
        if reply.body and reply.body[:5] == b"<?xml":
            fields += "Content-Type: application/xml\r\n"
        closes = call.headers.get("connection", "").lower() == "close"
        fields += "Connection: close\r\n" if closes else ""
        head = f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Refused')}\r\nx-amz-request-id: 1\r\n{fields}\r\n"
        self._transport.write(head.encode("latin-1") + reply.body)
        if closes:
            self._transport.close()


async def serve(port: int, latency_ms: float) -> None:
    """Until the process is ended."""
    sink = Sink(latency_ms)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(sink), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.s3_sink", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="before each answer; others go on meanwhile")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.latency_ms))


if __name__ == "__main__":
    main()
