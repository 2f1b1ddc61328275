"""What the nodes tell one another by NOTIFY: `ports.Wakeup`, `ports.Peers` and `ports.ProgressBus`. All of it is a hint
that may be lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import structlog

from tuspy_server.model import Upload
from tuspy_server.ports import Progress
from tuspy_server.stores.postgres.listener import Listener
from tuspy_server.stores.postgres.nodes import Node
from tuspy_server.stores.postgres.pool import Pool
from tuspy_server.stores.postgres.progress import ProgressLine
from tuspy_server.stores.postgres.schema import statements

log = structlog.get_logger("tuspy_server.stores.postgres")

SQL: Final = statements()
CHECK_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
"""Most that a node takes to commit what it is asked for."""


class PostgresNotifications:
    """See `ports.Wakeup`, `ports.Peers` and `ports.ProgressBus` for the methods that are theirs.

    One channel tells all nodes of one schema that events have been numbered, in the transaction that does it; two are
    about progress; each node has one more where it is asked, and hears answers. Without a way to listen nobody is
    asked, and only this process is woken.
    """

    def __init__(self, pool: Pool, node: Node, *, check_seconds: float = CHECK_SECONDS) -> None:
        options = pool.options
        self._pool = pool
        self._node = node
        self._flag = asyncio.Event()
        self._unnumbered = True
        self._answer: Callable[[str, str], Awaitable[None]] | None = None
        self._asked: dict[str, asyncio.Event] = {}
        self._answering: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._progress = ProgressLine(node.id, self._send_raw)
        self._prefix = ""
        self._listener: Listener | None = None
        if options.listens:
            self._listener = Listener(
                options.listen_url or options.url,
                connect_seconds=options.connect_seconds,
                check_seconds=check_seconds,
                changed=self._listener_changed,
            )

    @property
    def hears(self) -> bool:
        """Whether other nodes are heard, as far as is known."""
        return self._listener is not None and self._listener.hears

    @property
    def events_channel(self) -> str | None:
        """Where nodes are told that events have been numbered, with the id of the node that has; None without a way to
        listen."""
        return self._prefix + "events" if self._prefix else None

    async def open(self) -> None:
        """Start to listen; the pool is open. Raises StoreUnavailable (503)."""
        if self._listener is None:
            return
        schema = await self._pool.fetch_value("SELECT current_schema()", repeatable=True)
        self._prefix = f"tuspy_{hashlib.sha256(str(schema).encode()).hexdigest()[:16]}_"
        heard = {
            "events": self._events,
            "watching": self._progress.watching,
            "progress": self._progress.progressed,
            self._node.id: self._message,
        }
        self._listener.start({self._prefix + channel: function for channel, function in heard.items()})
        for task in (self._progress.tell(), self._progress.announce()):
            self._start(task)

    async def close(self) -> None:
        """Stop. May be called twice."""
        if self._listener is not None:
            await self._listener.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- ports.Wakeup --------------------------------------------------------------------------------------------

    def notify(self) -> None:
        """See the port. The other nodes hear of it once it is numbered: see `PostgresOutbox.relay`."""
        self._unnumbered = True
        self._flag.set()

    async def wait(self, most_seconds: float) -> bool:
        """See the port."""
        try:
            async with asyncio.timeout(most_seconds):
                await self._flag.wait()
        except TimeoutError:
            self._unnumbered = True
        self._flag.clear()
        unnumbered, self._unnumbered = self._unnumbered, False
        return unnumbered

    # --- ports.Peers ---------------------------------------------------------------------------------------------

    async def ask(self, upload: Upload, most_seconds: float) -> None:
        """See the port. Returns at once where no answer could be heard."""
        if upload.writer_node is None or upload.writer is None or not self.hears:
            return
        token = secrets.token_hex(8)
        answered = self._asked[token] = asyncio.Event()
        question = {"ask": token, "upload": upload.id, "writer": upload.writer, "reply_to": self._node.id}
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(most_seconds):
                    if await self._send(upload.writer_node, question):
                        await answered.wait()
        finally:
            del self._asked[token]

    def answer_with(self, answer: Callable[[str, str], Awaitable[None]]) -> None:
        """See the port."""
        self._answer = answer

    # --- ports.ProgressBus ---------------------------------------------------------------------------------------

    def publish(self, progress: Progress) -> None:
        """See the port."""
        self._progress.publish(progress)

    def watch(self, heard: Callable[[Progress], None] | None) -> None:
        """See the port."""
        self._progress.watch(heard)

    # --- what is heard -------------------------------------------------------------------------------------------

    def _events(self, payload: str) -> None:
        if payload != self._node.id:
            self._flag.set()

    def _message(self, payload: str) -> None:
        try:
            message = json.loads(payload)
            if "answer" in message:
                if (answered := self._asked.get(message["answer"])) is not None:
                    answered.set()
                return
            subject = (str(message["upload"]), str(message["writer"]))
            asker = (str(message["reply_to"]), str(message["ask"]))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("node.message.malformed", reason=type(error).__name__)
            return
        if subject in self._answering:
            self._answering[subject].append(asker)
        else:
            self._answering[subject] = [asker]
            self._start(self._reply(*subject))

    def _listener_changed(self) -> None:
        """What was sent in between is lost: look for events, and let those who ask wait no longer."""
        self.notify()
        if self.hears:
            self._progress.connected()
        for answered in self._asked.values():
            answered.set()

    # --- tasks ---------------------------------------------------------------------------------------------------

    async def _reply(self, upload_id: str, writer: str) -> None:
        try:
            if self._answer is not None:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._answer(upload_id, writer)
        except Exception as error:  # whoever asked then reads the row as it is
            log.warning("node.answer.failed", upload_id=upload_id, reason=type(error).__name__)
        finally:
            askers = self._answering.pop((upload_id, writer))
        for reply_to, token in askers:
            await self._send(reply_to, {"answer": token})

    async def _send(self, node: str, message: dict[str, str]) -> bool:
        # Clients' HEADs ask: as many as they like must not go before uploads.
        return await self._send_raw(node, json.dumps(message), urgent=False)

    async def _send_raw(self, channel: str, payload: str, *, urgent: bool = True) -> bool:
        try:
            await self._pool.fetch(SQL["notify"], self._prefix + channel, payload, repeatable=True, urgent=urgent)
        except Exception as error:  # it was a hint, and polls find what it would have told
            log.warning("node.notify.failed", reason=type(error).__name__)
            return False
        return True

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
