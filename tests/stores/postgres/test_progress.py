"""Progress from node to node."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.contracts.rows import new_id
from tests.stores.postgres.rigs import PostgresRig, Start, until
from tuspy_server.ports import Progress
from tuspy_server.stores.postgres import progress as progress_module
from tuspy_server.stores.postgres.notifications import PostgresNotifications


def at(offset: int, upload_id: str = "0" * 32, **more: str) -> Progress:
    return Progress(
        upload_id=upload_id,
        upload_offset=offset,
        upload_length=10**15,
        tenant=more.get("tenant"),
        job_id=more.get("job_id"),
        bytes_per_second=1000.0,
    )


class Sent:
    """What one node sends."""

    def __init__(self) -> None:
        self.payloads: list[tuple[str, str]] = []

    async def watch(self, rig: PostgresRig) -> Sent:
        async def watch(connection: object) -> None:
            connection.add_query_logger(self._log)  # type: ignore[attr-defined]

        await rig.pool.run(watch)
        return self

    def _log(self, record: object) -> None:
        if "pg_notify" in record.query:  # type: ignore[attr-defined]
            channel, payload = record.args  # type: ignore[attr-defined]
            self.payloads.append((channel.rpartition("_")[2], payload))

    def count(self, channel: str) -> int:
        return sum(name == channel for name, _ in self.payloads)


async def watched(node: PostgresNotifications) -> None:
    async def is_watched() -> bool:
        return node._progress._watched_until > asyncio.get_running_loop().time()

    await until(is_watched)


async def has(heard: list[Progress], *expected: Progress) -> None:
    async def is_heard() -> bool:
        return heard[-len(expected) :] == list(expected)

    await until(is_heard)


async def test_a_watching_node_hears_what_another_publishes(start: Start) -> None:
    _, here = await start()
    _, there = await start()
    heard: list[Progress] = []
    echo: list[Progress] = []
    there.watch(heard.append)
    await watched(here)
    here.watch(echo.append)
    here.publish(at(1, tenant="Ünï", job_id="j"))
    await has(heard, at(1, tenant="Ünï", job_id="j"))
    assert echo == [], "not what this node has published itself"
    here.publish(at(2))
    await has(heard, at(1, tenant="Ünï", job_id="j"), at(2))


async def test_a_node_that_comes_later_learns_at_once_who_watches(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "WATCH_SECONDS", 1000.0)
    _, there = await start()
    heard: list[Progress] = []
    there.watch(heard.append)
    _, here = await start()
    await watched(here)
    here.publish(at(1))
    await has(heard, at(1))


async def test_nothing_is_sent_while_no_other_node_watches(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "WATCHED_SECONDS", 0.2)
    monkeypatch.setattr(progress_module, "WATCH_SECONDS", 0.05)
    rig, here = await start(connections=1)
    _, there = await start()
    sent = await Sent().watch(rig)
    here.watch(lambda _: None)
    here.publish(at(1))
    heard: list[Progress] = []
    there.watch(heard.append)
    await watched(here)
    here.publish(at(2))
    await has(heard, at(2))
    assert heard == [at(2)]
    there.watch(None)

    async def is_over() -> bool:
        return here._progress._watched_until <= asyncio.get_running_loop().time()

    await until(is_over)
    before = sent.count("progress")
    here.publish(at(3))
    assert not here._progress._waiting
    assert sent.count("progress") == before == 1


async def test_many_uploads_are_few_payloads_and_of_each_the_latest_counts(start: Start) -> None:
    """At most ten a second, each below 8000 bytes (PostgreSQL's limit). One that fits into none stands in no way."""
    rig, here = await start(connections=1)
    _, there = await start()
    heard: list[Progress] = []
    there.watch(heard.append)
    await watched(here)
    sent = await Sent().watch(rig)
    ids = [new_id() for _ in range(200)]
    here.publish(at(1, tenant="t" * 9000))
    for offset in range(10):
        for upload_id in ids:
            here.publish(at(offset, upload_id, tenant="t" * 20))

    async def all_heard() -> bool:
        return len(heard) == len(ids)

    await until(all_heard)
    assert heard == [at(9, upload_id, tenant="t" * 20) for upload_id in ids]
    payloads = [payload for channel, payload in sent.payloads if channel == "progress"]
    assert all(len(payload.encode()) < 8000 for payload in payloads)
    assert len(payloads) <= 4
    assert not here._progress._waiting


async def test_what_waits_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """I10."""
    monkeypatch.setattr(progress_module, "MOST_WAITING", 10)
    _, here = await start()
    here._progress.watching("another")
    for number in range(100):
        here.publish(at(number, new_id()))
    assert [waiting.upload_offset for waiting in here._progress._waiting.values()] == list(range(90, 100))


async def test_what_is_no_progress_is_passed_over(start: Start) -> None:
    rig, here = await start()
    heard: list[Progress] = []
    here.watch(heard.append)
    for payload in (
        "",
        "{",
        "[]",
        "7",
        '["n", []]',
        '["n", [1, 2, 3, 4, 5, 6]]',
        '["n", ["a", "b", 1, null, null, 1]]',
    ):
        await rig.sql("SELECT pg_notify($1, $2)", here._prefix + "progress", payload)
    row = ["0" * 32, 5, 10**15, None, None, 1000]
    await rig.sql("SELECT pg_notify($1, $2)", here._prefix + "progress", json.dumps(["n", row]))
    await has(heard, at(5))
    assert heard == [at(5)]
