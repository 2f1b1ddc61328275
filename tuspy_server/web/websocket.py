"""`/ws`: the same events over a WebSocket, as CloudEvents or as STOMP."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from starlette.types import Message, Receive, Scope, Send

from tuspy_server.protocol.errors import ClientDisconnected, FixRequest, TryLater, TusError
from tuspy_server.web.answers import refuse
from tuspy_server.web.conversations import CloudEventsConversation, Conversation, Data, StompConversation, key_of
from tuspy_server.web.interests import Wish, wish_of_query
from tuspy_server.web.realtime import Realtime
from tuspy_server.web.stream import Stream

log = structlog.get_logger("tuspy_server.web")

CLOUDEVENTS: Final = "cloudevents.json"
STOMP: Final = "v12.stomp"

BEGIN_SECONDS: Final = 15.0
"""Within which a client says what it has to say first."""

MOST_UNSENT: Final = 64
"""Answers that wait for the client; then no more is read of it."""

NORMAL, GOING_AWAY, POLICY, RESTART, TRY_AGAIN = 1000, 1001, 1008, 1012, 1013


class UnknownSubprotocol(FixRequest):
    """400: none of the subprotocols that the client offers is spoken here."""

    status = 400
    code = "unknown_subprotocol"

    def __init__(self) -> None:
        super().__init__(f"the subprotocols here are {CLOUDEVENTS} and {STOMP}")


class EventSockets:
    """ASGI app of the one path."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one handshake: refuse it, or talk until one side ends it."""
        if (await receive())["type"] != "websocket.connect":
            return
        stream: Stream | None = None
        try:
            stream = self._realtime.open(scope, send)
            subprotocol = _pick(scope.get("subprotocols", ()))
            wish = wish_of_query(scope["query_string"])
            if subprotocol == STOMP:
                conversation: Conversation = StompConversation(stream, self._realtime.heartbeat_seconds)
            else:
                conversation = CloudEventsConversation(stream, self._realtime.frames)
                if wish != Wish():
                    await stream.follow(key_of(wish), wish)
        except BaseException as error:  # a defect, too: the client gets fixed text, the log gets the rest
            if stream is not None:
                self._realtime.close_stream(stream)
            if not isinstance(error, Exception):  # a host that cancels its requests
                raise
            if not isinstance(error, TusError):
                log.exception("stream.crashed")
                error = TusError("internal error")
            await deny(error, scope, receive, send)
            return
        try:
            await stream.send({"type": "websocket.accept", "subprotocol": subprotocol})
            await Talk(stream, conversation, receive).run()
        except ClientDisconnected:
            pass
        finally:
            self._realtime.close_stream(stream)


def _pick(offered: list[str]) -> str | None:
    """The first that is known; a client that offers none is told CloudEvents."""
    for name in offered:
        if name in (CLOUDEVENTS, STOMP):
            return name
    if offered:
        raise UnknownSubprotocol
    return None


async def deny(error: TusError, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse the handshake, with a status where the server can send one."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": TRY_AGAIN if isinstance(error, TryLater) else POLICY})
        return

    async def prefixed(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await refuse(error, "GET").send(prefixed, receive)


class Talk:
    """One connection that is open. One task sends, one receives."""

    def __init__(self, stream: Stream, conversation: Conversation, receive: Receive) -> None:
        self._stream = stream
        self._conversation = conversation
        self._receive = receive
        self._heard_at = self._said_at = self._loop_time()
        self._sent = asyncio.Event()

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Until one side ends it."""
        listening = asyncio.get_running_loop().create_task(self._listen())
        listening.add_done_callback(lambda _: self._stream.wake.set())
        try:
            code = await self._tell(listening)
            if not listening.done():
                await self._stream.send({"type": "websocket.close", "code": code})
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        if not listening.cancelled() and (error := listening.exception()) is not None:
            raise error

    async def _tell(self, listening: asyncio.Task[None]) -> int:
        """Send what there is. Returns the code to close with."""
        stream, talk = self._stream, self._conversation
        while not listening.done():
            stream.wake.clear()
            # One that asks on and on must not put off the end: in a drain its last answers are not waited for.
            while talk.outgoing and not stream.is_draining:
                await self._say(talk.outgoing.pop(0))
            self._sent.set()
            if talk.is_over:
                return POLICY if stream.is_revoked else NORMAL
            if stream.is_draining:
                return RESTART
            if stream.is_revoked:
                talk.revoked()
            elif stream.is_ready:
                await self._pass_on()
            else:
                await self._wait()
        return NORMAL

    async def _pass_on(self) -> None:
        for key in self._stream.keys:
            for frame in await self._stream.read(key):
                if self._stream.is_draining:
                    return  # a slow reader would put off the end; where it goes on it gets them again
                data = self._conversation.message(key, frame)
                if data is not None:
                    await self._say(data)

    async def _wait(self) -> None:
        """For something to do, or until somebody has been silent for too long."""
        talk, now = self._conversation, self._loop_time()
        heard_by = self._heard_at + (BEGIN_SECONDS if not talk.is_begun else 2 * (talk.receive_seconds or 1e6))
        say_by = self._said_at + (talk.send_seconds or 1e6)
        if await self._stream.pause(max(min(heard_by, say_by) - now, 0.0)):
            return
        if heard_by <= self._loop_time():
            talk.late()
        elif (data := talk.heartbeat()) is not None:
            await self._say(data)

    async def _say(self, data: Data) -> None:
        kind = "text" if isinstance(data, str) else "bytes"
        await self._stream.send({"type": "websocket.send", kind: data})
        self._said_at = self._loop_time()

    async def _listen(self) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            if self._conversation.is_begun:
                self._heard_at = self._loop_time()
            text = message.get("text")
            await self._conversation.receive(text if text is not None else message["bytes"])
            self._stream.wake.set()
            # A client that asks and never reads is not read any further.
            while len(self._conversation.outgoing) > MOST_UNSENT:
                self._sent.clear()
                await self._sent.wait()
