"""One reader's connection, whatever carries it: what it may follow, and what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from starlette.types import Message, Scope, Send

from tuspy_server.access import Grant, Intent
from tuspy_server.events.subscription import Subscription
from tuspy_server.model import Event
from tuspy_server.protocol.errors import ClientDisconnected, Forbidden, TryLater
from tuspy_server.web.frames import Frame
from tuspy_server.web.interests import Wish
from tuspy_server.web.rechecks import Granted

if TYPE_CHECKING:
    from tuspy_server.web.realtime import Realtime

log = structlog.get_logger("tuspy_server.web")

MOST_FOLLOWED: Final = 100
"""Subscriptions of one connection."""

IDLE_SECONDS: Final = 15.0
"""After which a connection that follows nothing gives way where there are as many as there may be."""

UNREAD_SECONDS: Final = 60.0
"""Without a client taking what it was sent, before its stream is given up."""

LAST_SECONDS: Final = 1.0
"""The same once the server drains."""

TROUBLE_SECONDS: Final = 1.0
"""Before a replay that has met trouble with the store goes on."""


class TooManySubscriptions(Forbidden):
    """403: one connection follows as much as it may."""

    code = "too_many_subscriptions"


@dataclass(eq=False, slots=True)
class _Followed:
    subscription: Subscription
    granted: Granted
    revoked: bool = False


class Stream:
    """One connection of a reader.

    Attributes:
        wake: set when there may be something to do.
        is_draining: whether the server wants it to end.
        write_now: writes to the client, unless it is behind: then nothing is written, and it says so.
    """

    def __init__(self, realtime: Realtime, scope: Scope, send: Send) -> None:
        self.wake = asyncio.Event()
        self.is_draining = False
        self.write_now: Callable[[bytes], bool] = lambda _: False
        self._is_pausing = False
        self._realtime = realtime
        self._scope = scope
        self._send = send
        self._followed: dict[str, _Followed] = {}
        self._sending: asyncio.Timeout | None = None
        self._idle_since = asyncio.get_running_loop().time()

    @property
    def is_idle(self) -> bool:
        """Whether it has followed nothing for a while."""
        return not self._followed and asyncio.get_running_loop().time() - self._idle_since >= IDLE_SECONDS

    @property
    def keys(self) -> list[str]:
        """What is followed, by the names that `follow` was given."""
        return list(self._followed)

    @property
    def is_revoked(self) -> bool:
        """Whether something that it follows may be followed no more."""
        return any(followed.revoked for followed in self._followed.values())

    async def follow(self, key: str, wish: Wish, authorization: str | None = None) -> str:
        """Follow something more. Returns the cursor from which on.

        Args:
            key: by which it is read and left; unknown so far.
            wish: what.
            authorization: stands in for the header of the request, for clients that cannot send one.

        Raises:
            Unauthorized, Forbidden, UploadNotFound, JobNotFound, HookFailed: see `Authority.grant`; what is foreign is
            not found (I9). TryLater: the store is away.
        """
        if len(self._followed) >= MOST_FOLLOWED:
            raise TooManySubscriptions
        realtime, scope = self._realtime, self._scope
        realtime.must_have_room()
        if authorization is not None:
            others = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
            scope = {**scope, "headers": [*others, (b"authorization", authorization.encode("utf-8", "replace"))]}

        async def ask() -> Grant:
            request = await realtime.authority.grant(
                Intent.SUBSCRIBE, scope, upload_id=wish.upload_id, job_id=wish.job_id, token_in_query=True
            )
            return request.grant

        grant = await ask()
        await realtime.must_exist(wish, grant)
        subscription = await realtime.feed.subscribe(wish.within(grant), self.wake.set, wish.after, self._take)
        followed = _Followed(subscription, Granted(ask, grant, lambda: self._revoke(key)))
        self._followed[key] = followed
        realtime.rechecks.add(followed.granted)
        log.info("stream.subscribed", upload_id=wish.upload_id, job_id=wish.job_id, tenant=grant.tenant)
        return str(wish.after or realtime.feed.hub.cursor)

    def unfollow(self, key: str) -> bool:
        """Follow it no more. False where it was not followed."""
        followed = self._followed.pop(key, None)
        if followed is None:
            return False
        self._idle_since = asyncio.get_running_loop().time()
        self._realtime.rechecks.discard(followed.granted)
        self._realtime.feed.unsubscribe(followed.subscription)
        return True

    def close(self) -> None:
        """Follow nothing more; may be called twice."""
        for key in self.keys:
            self.unfollow(key)

    async def read(self, key: str) -> list[Frame]:
        """What has come for one of them. Waits for the database alone; trouble with it is waited out."""
        followed = self._followed.get(key)
        if followed is None or not followed.subscription.is_ready:
            return []
        try:
            items = await followed.subscription.read()
        except TryLater as error:
            log.warning("stream.replay.failed", code=error.code)
            await asyncio.sleep(TROUBLE_SECONDS)
            self.wake.set()
            return []
        return [self._realtime.frames.frame(item) for item in items]

    @property
    def is_ready(self) -> bool:
        """Whether there is something to read."""
        return any(followed.subscription.is_ready for followed in self._followed.values())

    async def pause(self, seconds: float) -> bool:
        """Wait for `wake`, at most for `seconds`; False where they have passed."""
        self._is_pausing = True
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            return False
        finally:
            self._is_pausing = False
        return True

    async def send(self, message: Message) -> None:
        """Send it, if the client takes it.

        Raises:
            ClientDisconnected: it does not.
        """
        try:
            async with asyncio.timeout(LAST_SECONDS if self.is_draining else UNREAD_SECONDS) as self._sending:
                await self._send(message)
        except (TimeoutError, OSError) as error:
            raise ClientDisconnected from error
        finally:
            self._sending = None

    def drain(self) -> None:
        """End soon, whatever the client does."""
        self.is_draining = True
        if self._sending is not None:
            self._sending.reschedule(asyncio.get_running_loop().time() + LAST_SECONDS)
        self.wake.set()

    def _take(self, event: Event) -> bool:
        """While its task has nothing to do, so that nothing is written out of turn, nor after a reason to end."""
        if not self._is_pausing or self.wake.is_set():
            return False
        try:
            return self.write_now(self._realtime.frames.frame(event).server_sent)
        except Exception:  # this reader's, who meets it again alone: the others are told all the same
            log.exception("stream.write.failed")
            return False

    def _revoke(self, key: str) -> None:
        if key in self._followed:
            self._followed[key].revoked = True
            self.wake.set()
