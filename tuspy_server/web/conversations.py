"""What is said over a WebSocket, by either subprotocol; the connection itself is `websocket`'s."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol, TypeAlias

from tuspy_server.protocol.errors import TusError
from tuspy_server.web.frames import Frame, Frames
from tuspy_server.web.interests import Wish, wish_of_message
from tuspy_server.web.stomp.session import HEARTBEAT, StompSession, Subscribe
from tuspy_server.web.stream import Stream

Data: TypeAlias = str | bytes


class Conversation(Protocol):
    """One client's. `outgoing` is to be sent, in order, before anything that is followed."""

    outgoing: list[Data]

    @property
    def is_over(self) -> bool:
        """Nothing more is to be said once `outgoing` has been sent."""
        ...

    @property
    def is_begun(self) -> bool:
        """Whether the client has said what it has to say first."""
        ...

    @property
    def send_seconds(self) -> float | None:
        """Most silence that is promised; None for any."""
        ...

    @property
    def receive_seconds(self) -> float | None:
        """Most silence of the client; None for any."""
        ...

    async def receive(self, data: Data) -> None:
        """One message of the client."""
        ...

    def message(self, key: str, frame: Frame) -> Data | None:
        """What tells of something that is followed; None where there is nothing to tell."""
        ...

    def heartbeat(self) -> Data | None:
        """What breaks the silence; None: nothing does, and nothing need."""
        ...

    def revoked(self) -> None:
        """What was followed may be followed no more."""
        ...

    def late(self) -> None:
        """The client has been silent for too long."""
        ...


class CloudEventsConversation:
    """`cloudevents.json`: each text message is one CloudEvent. The client may send `{"subscribe": {"job": "…"}}` and
    `{"unsubscribe": …}` with the same words."""

    send_seconds: float | None = None
    receive_seconds: float | None = None
    is_begun = True

    def __init__(self, stream: Stream, frames: Frames) -> None:
        self.outgoing: list[Data] = []
        self.is_over = False
        self._stream = stream
        self._frames = frames

    async def receive(self, data: Data) -> None:
        """See `Conversation`."""
        try:
            await self._obey(data)
        except TusError as error:
            self.outgoing.append(self._frames.error(error))

    async def _obey(self, data: Data) -> None:
        asked = _parse(data)
        ((verb, words),) = asked.items()
        wish = wish_of_message(words)
        key = key_of(wish)
        if verb == "unsubscribe":
            self._stream.unfollow(key)
        elif key not in self._stream.keys:
            await self._stream.follow(key, wish)

    def message(self, key: str, frame: Frame) -> Data | None:
        """See `Conversation`."""
        return frame.text

    def heartbeat(self) -> Data | None:
        """The WebSocket's own pings do."""
        return None

    def revoked(self) -> None:
        """See `Conversation`."""
        self.is_over = True

    def late(self) -> None:
        """See `Conversation`."""
        self.is_over = True


class NotUnderstood(TusError):
    """400: a message is no subscription."""

    status = 400
    code = "not_understood"

    def __init__(self) -> None:
        super().__init__('messages are {"subscribe": {…}} and {"unsubscribe": {…}}')


VERBS: Final = ({"subscribe"}, {"unsubscribe"})


def _parse(data: Data) -> dict[str, dict[str, Any]]:
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood from error
    if not isinstance(asked, dict) or set(asked) not in VERBS:
        raise NotUnderstood
    if not all(isinstance(words, dict) for words in asked.values()):
        raise NotUnderstood
    return asked


def key_of(wish: Wish) -> str:
    """What tells one subscription from another: wherever it begins, it is the same."""
    return json.dumps([wish.upload_id, wish.job_id, sorted(wish.types)])


class StompConversation:
    """`v12.stomp`."""

    def __init__(self, stream: Stream, heartbeat_seconds: float) -> None:
        self.outgoing: list[Data] = []
        self._stream = stream
        self._session = StompSession(heartbeat_seconds)

    @property
    def is_over(self) -> bool:
        """See `Conversation`."""
        return self._session.is_over

    @property
    def is_begun(self) -> bool:
        """See `Conversation`."""
        return self._session.is_connected

    @property
    def send_seconds(self) -> float | None:
        """See `Conversation`."""
        return self._session.send_seconds

    @property
    def receive_seconds(self) -> float | None:
        """See `Conversation`."""
        return self._session.receive_seconds

    async def receive(self, data: Data) -> None:
        """See `Conversation`."""
        session = self._session
        try:
            for wanted in session.receive(data.encode() if isinstance(data, str) else data):
                if isinstance(wanted, Subscribe):
                    if not await self._subscribe(wanted):
                        break  # the connection ends: what else the message asked for is no work any more
                else:
                    self._stream.unfollow(wanted.id)
        finally:
            self._take()

    async def _subscribe(self, wanted: Subscribe) -> bool:
        session = self._session
        try:
            cursor = await self._stream.follow(wanted.id, wanted.wish, session.authorization)
        except TusError as error:
            session.refused(wanted, error)
            return False
        session.subscribed(wanted, cursor)
        return True

    def message(self, key: str, frame: Frame) -> Data | None:
        """See `Conversation`. What RECEIPT has said need not be said again."""
        return None if frame.is_opening else _text(self._session.message(key, frame))

    def heartbeat(self) -> Data | None:
        """See `Conversation`."""
        return HEARTBEAT.decode()

    def revoked(self) -> None:
        """See `Conversation`."""
        self._session.revoked()
        self._take()

    def late(self) -> None:
        """See `Conversation`."""
        self._session.late()
        self._take()

    def _take(self) -> None:
        self.outgoing += [frame.decode() for frame in self._session.outgoing]
        self._session.outgoing.clear()


def _text(frame: bytes | None) -> str | None:
    return None if frame is None else frame.decode()
