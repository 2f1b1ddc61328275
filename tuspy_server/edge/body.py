"""The body of one request, received straight into the reader's buffer: `ports.BodySource` without ASGI in between.

While a reader waits, the socket fills its buffer directly: no parser, no joins, no copies. Only what came together with
the head, and chunked bodies, pass through the connection's scratch buffer and are copied once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from tuspy_server.edge.chunked import ChunkedDecoder
from tuspy_server.edge.gathering import GATHER_BYTES
from tuspy_server.protocol.errors import BodyStalled, ClientDisconnected

FLUSH_SECONDS: Final = 0.01
"""How long bytes may wait in a buffer that is not full: a fast client fills a megabyte in less, a slow one does not
notice."""

MANY_PIECES: Final = 16
"""Chunks received at once from which on they are joined: kept apart, each byte of a chunk of one would take hundreds of
memory (fault R02)."""

SMALL_CHUNK_BYTES: Final = 1 << 10
"""Of smaller ones a large read has so many that the loop is held while it is taken apart (fault R08)."""

RATE_WINDOW_SECONDS: Final = 30.0
"""Time spent waiting for a client over which its rate is judged: an honest slow link may stop for a while."""


class Flow(Protocol):
    """What a body asks of its connection."""

    def pause(self) -> None:
        """Take no more from the socket."""

    def resume(self) -> None:
        """Go on."""

    def gather(self, least_bytes: int) -> None:
        """Be woken by the socket from so many bytes on."""

    def send_continue(self) -> None:
        """Tell a client that waits for it to send the body; once."""


class RequestBody:
    """One body. The connection feeds it, one reader drains it.

    Attributes:
        decoder: of a chunked body; None where the length is known.
        comes_small: whether a chunked body may come in so small chunks that no large read of it is to be made.
    """

    def __init__(self, flow: Flow, body_bytes: int | None, least_bytes_per_second: float) -> None:
        """`least_bytes_per_second`: a client slower than that, while it is waited for, is ended (faults R01, R05)."""
        self._left = body_bytes or 0
        self.decoder = ChunkedDecoder() if body_bytes is None else None
        self.comes_small = body_bytes is None
        self._flow = flow
        self._least_bytes_per_second = least_bytes_per_second
        self._waited_seconds = 0.0
        self._window_bytes = 0
        self._queue: deque[memoryview] = deque()
        self._lost = False
        self._too_slow = False
        self._target: memoryview | None = None
        self._filled = 0
        self._waiter: asyncio.Future[None] | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._gathers = False

    delivers_trailers: Final = True

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """Trailers of a chunked body, lower-case names with values; none before `readinto` has returned 0."""
        return self.decoder.trailers if self.decoder is not None and self.drained else []

    @property
    def received(self) -> bool:
        """Whether the connection has the whole body, read or not."""
        return self.decoder.done if self.decoder is not None else self._left == 0

    @property
    def drained(self) -> bool:
        """Whether the reader has had all of it."""
        return self.received and not self._queue

    # --- the reader's side ---------------------------------------------------------------------------------------

    async def readinto(self, buffer: memoryview) -> int:
        """See `ports.BodySource`. Bytes that arrived before a disconnect are given before it is raised."""
        if self._queue:
            return self._from_queue(buffer)
        if self.received:
            return 0
        if self._lost:
            raise ClientDisconnected
        if self._too_slow:
            raise BodyStalled
        self._flow.send_continue()
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._target = buffer if self.decoder is not None else buffer[: self._left]
        self._waiter = loop.create_future()
        if self._gathers:
            self._set_gathering(self._left > 2 * GATHER_BYTES)
            # What the client has sent may be less than the kernel waits for.
            self._flush = loop.call_later(FLUSH_SECONDS, self._time_is_up)
        self._flow.resume()
        try:
            await self._waiter
        except asyncio.CancelledError:
            if self._filled:  # a later call gives them
                self._queue.appendleft(memoryview(bytes(buffer[: self._filled])))
            raise
        finally:
            filled, self._filled, self._target, self._waiter = self._filled, 0, None, None
            self._cancel_flush()
            if not self.received:
                self._flow.pause()
        if not filled and not self.received:
            raise ClientDisconnected
        self._judge_rate(loop.time() - started, filled)
        return filled

    def _judge_rate(self, waited_seconds: float, count: int) -> None:
        self._waited_seconds += waited_seconds
        self._window_bytes += count
        if self._waited_seconds < RATE_WINDOW_SECONDS:
            return
        self._too_slow = self._window_bytes < self._least_bytes_per_second * self._waited_seconds
        self._waited_seconds, self._window_bytes = 0.0, 0

    def _from_queue(self, buffer: memoryview) -> int:
        piece = self._queue.popleft()
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        if count < len(piece):
            self._queue.appendleft(piece[count:])
        return count

    # --- the connection's side -----------------------------------------------------------------------------------

    def target(self) -> memoryview | None:
        """Where the socket may write the next bytes of a body of known length; None while nobody waits."""
        if self._target is None or self.decoder is not None:
            return None
        return self._target[self._filled :]

    def filled(self, count: int) -> None:
        """`count` bytes were written into `target`."""
        self._left -= count
        self._count(count)

    def feed(self, data: memoryview) -> int:
        """Take bytes that arrived elsewhere. Returns how many are of this body."""
        if self.decoder is None:
            count = min(len(data), self._left)
            self._left -= count
            self._take(data[:count])
            return count
        pieces, count = self.decoder.decode(data)
        if pieces:
            self.comes_small = len(pieces) * SMALL_CHUNK_BYTES > count
        if len(pieces) > MANY_PIECES:
            pieces = [memoryview(b"".join(pieces))]
        for piece in pieces:
            self._take(piece)
        if self.decoder.done:
            self._wake()
        return count

    def lose(self) -> None:
        """The client is gone: what has been received is still given, then the reader is told."""
        self._lost = True
        self._wake()

    def _take(self, piece: memoryview) -> None:
        target = self._target
        if target is not None and not self._queue:
            count = min(len(piece), len(target) - self._filled)
            target[self._filled : self._filled + count] = piece[:count]
            self._count(count)
            piece = piece[count:]
        if piece:
            self._queue.append(memoryview(bytes(piece)))

    def _count(self, count: int) -> None:
        self._filled += count
        if self._target is not None and (self._filled == len(self._target) or self.received):
            if self.decoder is None and not self._gathers and self._filled >= 2 * GATHER_BYTES:
                self._set_gathering(self._left > 2 * GATHER_BYTES)  # a buffer was filled in no time
            elif self._gathers and self._left <= 2 * GATHER_BYTES:
                self._set_gathering(False)
            self._wake()
        elif self._flush is None and self._waiter is not None:
            self._flush = self._waiter.get_loop().call_later(FLUSH_SECONDS, self._time_is_up)
        elif self._gathers and self._left <= 2 * GATHER_BYTES:
            self._set_gathering(False)

    def _time_is_up(self) -> None:
        self._flush = None
        self._set_gathering(False)
        if self._filled:
            self._wake()

    def _set_gathering(self, gathers: bool) -> None:
        if gathers != self._gathers:
            self._gathers = gathers
            self._flow.gather(GATHER_BYTES if gathers else 1)

    def _wake(self) -> None:
        self._cancel_flush()
        if self._waiter is None:
            return
        # The buffer is the reader's again from here on, not only when its task runs, be it cancelled or not.
        self._target = None
        if not self._waiter.done():
            self._waiter.set_result(None)
        if not self.received:
            self._flow.pause()

    def _cancel_flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
