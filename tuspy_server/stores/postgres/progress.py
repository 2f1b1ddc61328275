"""How uploads come on at the other nodes, by NOTIFY: `ports.ProgressBus`. All of it may be lost."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tuspy_server.ports import Progress

log = structlog.get_logger("tuspy_server.stores.postgres")

QUIET_SECONDS: Final = 0.1
"""At least, between two NOTIFYs of one node: each holds a lock that all committing ones of the database want."""

WATCH_SECONDS: Final = 5.0
"""Between two announcements of a node that watches."""

WATCHED_SECONDS: Final = 3 * WATCH_SECONDS
"""For so long an announcement is believed."""

MOST_BYTES: Final = 7900
"""Of one payload; PostgreSQL takes less than 8000."""

MOST_WAITING: Final = 10_000
"""Uploads whose progress has not gone out yet; of more the oldest are dropped."""

WHO: Final = "?"

Send = Callable[[str, str], Awaitable[bool]]


class ProgressLine:
    """One node's end of it. Nodes publish only while another one watches, which says so now and then, and where it is
    asked by one that has just begun to listen."""

    def __init__(self, node_id: str, send: Send) -> None:
        """`send`: a NOTIFY, with the name of a channel and a payload; it does not raise."""
        self._node_id = node_id
        self._send = send
        self._heard: Callable[[Progress], None] | None = None
        self._watched_until = float("-inf")
        self._waiting: OrderedDict[str, Progress] = OrderedDict()
        self._something = asyncio.Event()
        self._announce = asyncio.Event()
        self._ask = False

    # --- ports.ProgressBus ---------------------------------------------------------------------------------------

    def publish(self, progress: Progress) -> None:
        """See the port."""
        if asyncio.get_running_loop().time() >= self._watched_until:
            self._waiting.clear()
            return
        self._waiting[progress.upload_id] = progress  # a later one keeps the place of the earlier: each has its turn
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        self._something.set()

    def watch(self, heard: Callable[[Progress], None] | None) -> None:
        """See the port."""
        begins = heard is not None and self._heard is None
        self._heard = heard
        if begins:
            self._announce.set()

    # --- what is heard -------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """This node hears from now on: who watches is to say so."""
        self._ask = True
        self._announce.set()

    def watching(self, payload: str) -> None:
        """Another node, or this one, says that it watches, or asks who does."""
        if payload.startswith(WHO):
            if self._heard is not None and payload != WHO + self._node_id:
                self._announce.set()
        elif payload != self._node_id:
            self._watched_until = asyncio.get_running_loop().time() + WATCHED_SECONDS

    def progressed(self, payload: str) -> None:
        """What another node, or this one, has published."""
        if self._heard is None:
            return
        try:
            node_id, *rows = json.loads(payload)
            if node_id == self._node_id:
                return
            heard = [_progress(row) for row in rows]
        except (ValueError, TypeError) as error:
            log.warning("node.progress.malformed", reason=type(error).__name__)
            return
        for progress in heard:
            self._heard(progress)

    # --- tasks ---------------------------------------------------------------------------------------------------

    async def tell(self) -> None:
        """Send what is published, until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            if payload := self._take():
                await self._send("progress", payload)
            if self._waiting:
                self._something.set()
            await asyncio.sleep(QUIET_SECONDS)

    async def announce(self) -> None:
        """Say that this node watches, for as long as it does, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._announce.wait()
            except TimeoutError:
                pass
            self._announce.clear()
            if self._ask:
                self._ask = False
                await self._send("watching", WHO + self._node_id)
            if self._heard is not None:
                await self._send("watching", self._node_id)
            await asyncio.sleep(QUIET_SECONDS)

    def _take(self) -> str | None:
        """As many as fit into one payload, those that have waited longest."""
        taken = [json.dumps(self._node_id)]
        room = MOST_BYTES - len(taken[0]) - 2
        while self._waiting:
            upload_id, progress = next(iter(self._waiting.items()))
            row = json.dumps(_row(progress), separators=(",", ":"))
            if len(row) + 1 > room and len(taken) > 1:
                break
            del self._waiting[upload_id]
            if len(row) + 1 <= room:  # else it fits into no payload
                taken.append(row)
                room -= len(row) + 1
        return f"[{','.join(taken)}]" if len(taken) > 1 else None


def _row(progress: Progress) -> list[object]:
    return [
        progress.upload_id,
        progress.upload_offset,
        progress.upload_length,
        progress.tenant,
        progress.job_id,
        None if progress.bytes_per_second is None else round(progress.bytes_per_second),
    ]


def _progress(row: list[object]) -> Progress:
    upload_id, upload_offset, upload_length, tenant, job_id, bytes_per_second = row
    return Progress(
        upload_id=_text(upload_id),
        upload_offset=_number(upload_offset),
        upload_length=None if upload_length is None else _number(upload_length),
        tenant=None if tenant is None else _text(tenant),
        job_id=None if job_id is None else _text(job_id),
        bytes_per_second=None if bytes_per_second is None else float(_number(bytes_per_second)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value
