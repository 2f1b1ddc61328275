"""One client's STOMP 1.2 session: frames in, what is to be done and sent out; knows no socket and no clock."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tuspy_server.events.cloudevents import MEDIA_TYPE
from tuspy_server.protocol.errors import TusError
from tuspy_server.version import VERSION as SERVER_VERSION
from tuspy_server.web.frames import Frame
from tuspy_server.web.interests import Wish, wish_of_message
from tuspy_server.web.stomp.frames import BadFrame, Parser, StompFrame, encode

VERSION: Final = "1.2"
MOST_HEARTBEAT_MILLISECONDS: Final = 1 << 31
MOST_SAME: Final = 8
"""Subscriptions of one connection to one destination: each is sent all of it."""

HEARTBEAT: Final = b"\n"

_TOPIC: Final = re.compile(r"/topic/(?:(job|upload)/([A-Za-z0-9_-]{1,64})|(events))")
_HEARTBEAT: Final = re.compile(r"([0-9]{1,10}),([0-9]{1,10})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Follow this, then `StompSession.subscribed`, or `refused`."""

    id: str
    wish: Wish
    frame: StompFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Follow it no more."""

    id: str


@dataclass(slots=True)
class _Subscribed:
    destination: str
    asks_for_ack: bool


@dataclass(slots=True)
class StompSession:
    """Feed it with what is received; send what `outgoing` holds; end the connection once `is_over`.

    Attributes:
        outgoing: frames to send, in order.
        is_over: after an ERROR, or a DISCONNECT: nothing more is understood.
        is_connected: whether the client has said CONNECT.
        authorization: that of its CONNECT; browsers can send no header with a WebSocket.
        send_seconds: most silence that the client wants of us; None for any.
        receive_seconds: most silence of the client that it has agreed to; None for any.
    """

    heartbeat_seconds: float
    outgoing: list[bytes] = field(default_factory=list)
    is_over: bool = False
    is_connected: bool = False
    authorization: str | None = None
    send_seconds: float | None = None
    receive_seconds: float | None = None
    _parser: Parser = field(default_factory=Parser)
    _subscribed: dict[str, _Subscribed] = field(default_factory=dict)
    _messages: int = 0

    def receive(self, data: bytes) -> list[Subscribe | Unsubscribe]:
        """What is to be done for frames that are complete now."""
        wanted: list[Subscribe | Unsubscribe] = []
        try:
            for frame in self._parser.feed(data):
                if self.is_over:
                    break
                self._take(frame, wanted)
        except BadFrame as error:
            self._fail(str(error))
        return wanted

    def _take(self, frame: StompFrame, wanted: list[Subscribe | Unsubscribe]) -> None:
        if frame.command in ("CONNECT", "STOMP"):
            self._connect(frame)
            return
        if not self.is_connected:
            raise BadFrame("the first frame must be CONNECT")
        match frame.command:
            case "SUBSCRIBE":
                wanted.append(self._subscribe(frame))
                return
            case "UNSUBSCRIBE":
                identifier = _needed(frame, "id")
                if self._subscribed.pop(identifier, None) is not None:
                    wanted.append(Unsubscribe(id=identifier))
            case "ACK" | "NACK":
                pass  # events are replayed from a cursor: nothing waits for it
            case "DISCONNECT":
                self._acknowledge(frame)
                self.is_over = True
                return
            case "SEND":
                self._fail("nothing can be sent here: events are made by the server", frame)
                return
            case _:
                self._fail("this server knows no such frame, and no transactions", frame)
                return
        self._acknowledge(frame)

    def _connect(self, frame: StompFrame) -> None:
        if self.is_connected:
            raise BadFrame("CONNECT came twice")
        if VERSION not in frame.headers.get("accept-version", "1.0").split(","):
            self._fail(f"this server speaks STOMP {VERSION}", version=VERSION)
            return
        match = _HEARTBEAT.fullmatch(frame.headers.get("heart-beat", "0,0"))
        if match is None or max(int(match[1]), int(match[2])) >= MOST_HEARTBEAT_MILLISECONDS:
            raise BadFrame("heart-beat must be two numbers of milliseconds")
        theirs, wanted = int(match[1]), int(match[2])
        ours = round(self.heartbeat_seconds * 1000)
        self.send_seconds = max(ours, wanted) / 1000 if wanted else None
        self.receive_seconds = max(theirs, ours) / 1000 if theirs else None
        self.authorization = frame.headers.get("Authorization") or frame.headers.get("authorization")
        self.is_connected = True
        self._say(
            "CONNECTED",
            {
                "version": VERSION,
                "heart-beat": f"{ours},{ours}",
                "server": f"tuspy-server/{SERVER_VERSION}",
                "session": secrets.token_hex(8),
            },
        )

    def _subscribe(self, frame: StompFrame) -> Subscribe:
        identifier, destination = _needed(frame, "id"), _needed(frame, "destination")
        if identifier in self._subscribed:
            raise BadFrame("a subscription of this id exists")
        match = _TOPIC.fullmatch(destination)
        if match is None:
            raise BadFrame("destinations are /topic/job/{id}, /topic/upload/{id} and /topic/events")
        if sum(followed.destination == destination for followed in self._subscribed.values()) >= MOST_SAME:
            raise BadFrame(f"a destination may be subscribed to {MOST_SAME} times at once")
        asked = {name: frame.headers[name] for name in ("type", "after") if name in frame.headers}
        if match[1] is not None:
            asked[match[1]] = match[2]
        try:
            wish = wish_of_message(asked)
        except TusError as error:
            raise BadFrame(str(error)) from error
        self._subscribed[identifier] = _Subscribed(destination, frame.headers.get("ack", "auto") != "auto")
        return Subscribe(id=identifier, wish=wish, frame=frame)

    # --- what the connection says --------------------------------------------------------------------------------

    def subscribed(self, subscribe: Subscribe, cursor: str) -> None:
        """It is followed from `cursor` on; a reader that has got no message yet goes on there."""
        self._acknowledge(subscribe.frame, cursor=cursor)

    def refused(self, subscribe: Subscribe, error: TusError) -> None:
        """It is not."""
        self._fail(str(error), subscribe.frame, code=error.code, status=str(error.status))

    def revoked(self) -> None:
        """What was followed may be followed no more."""
        self._fail("not allowed any more", code="revoked")

    def late(self) -> None:
        """The client has been silent for too long."""
        self._fail("no heart-beat")

    def message(self, identifier: str, frame: Frame) -> bytes | None:
        """One MESSAGE of a subscription; None where it has ended."""
        subscribed = self._subscribed.get(identifier)
        if subscribed is None:
            return None
        self._messages += 1
        name = str(self._messages)
        headers = [
            ("subscription", identifier),
            ("message-id", name),
            ("destination", subscribed.destination),
            ("content-type", MEDIA_TYPE),
            ("type", frame.type),
        ]
        if frame.cursor is not None:
            headers.append(("cursor", frame.cursor))
        if subscribed.asks_for_ack:
            headers.append(("ack", name))
        return encode("MESSAGE", headers, frame.text.encode())

    # --- frames --------------------------------------------------------------------------------------------------

    def _acknowledge(self, frame: StompFrame, **further: str) -> None:
        receipt = frame.headers.get("receipt")
        if receipt is not None:
            self._say("RECEIPT", {"receipt-id": receipt, **further})

    def _fail(self, reason: str, frame: StompFrame | None = None, **further: str) -> None:
        """STOMP: a server that has sent ERROR must close the connection."""
        receipt = frame.headers.get("receipt") if frame is not None else None
        headers = {"message": reason, **further, **({} if receipt is None else {"receipt-id": receipt})}
        self.outgoing.append(encode("ERROR", headers.items()))
        self.is_over = True

    def _say(self, command: str, headers: Mapping[str, str]) -> None:
        self.outgoing.append(encode(command, headers.items()))


def _needed(frame: StompFrame, name: str) -> str:
    value = frame.headers.get(name)
    if not value:
        raise BadFrame(f"{frame.command} needs the header {name}")
    return value
