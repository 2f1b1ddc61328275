"""Two nodes on one PostgreSQL: what happens on one is seen on the other, whatever befalls what is between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.process import ServerProcess
from tests.support.streams import EventSource, receive_until, stomp, websocket
from tests.web.served import Served, upload_id
from tests.web.wire import BODY, Wire, head
from trial.postgres import PostgresServer

STATES = ("upload.created", "upload.finished")


class Node:
    """One process, which keeps its bytes in a folder of its own."""

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        self.process = ServerProcess(
            folder, settings={"database_url": database_url, "api_open": True, "durability": "process", **settings}
        )

    @property
    def port(self) -> int:
        return self.process.port

    async def upload(self) -> str:
        """One that is finished by its creation; its id."""
        served = Served(self.port, None)  # type: ignore[arg-type]  # only what is on the wire is used
        return upload_id(await served.create(1, b"x"))


@pytest.fixture
def nodes(tmp_path: Path, postgres_dsn: str) -> Iterator[tuple[Node, Node]]:
    made = Node(tmp_path / "a", postgres_dsn), Node(tmp_path / "b", postgres_dsn)
    for node in made:
        node.process.launch()
    for node in made:
        node.process.wait_ready()
    yield made
    for node in made:
        node.process.close()
        print(f"--- {node.process.log_path}\n{node.process.log_tail()}")


async def subjects(source: EventSource, count: int) -> list[str]:
    """Of the next so many states."""
    return [(await source.next(*STATES)).cloudevent["subject"] for _ in range(count)]


async def test_states_and_progress_cross_nodes(nodes: tuple[Node, Node]) -> None:
    """Each reader sees what happens on either node, by each protocol."""
    a, b = nodes
    async with EventSource(b.port) as source, websocket(b.port, "?type=upload.finished") as connection:
        await source.next("live")
        await receive_until(connection, lambda event: event["type"] == "live")
        wanted = [await node.upload() for node in (a, b, a)]
        assert await subjects(source, 6) == [subject for subject in wanted for _ in range(2)]
        events = await receive_until(connection, lambda event: event.get("subject") == wanted[-1])
        assert [event["subject"] for event in events] == wanted

        target = await Served(a.port, None).create(1_000_000)  # type: ignore[arg-type]
        async with stomp(b.port) as client:
            await client.connect()
            await client.send("SUBSCRIBE", id="a", destination=f"/topic/upload/{upload_id(target)}", receipt="r")
            assert (await client.frame()).command == "RECEIPT"
            wire = await Wire.connect(a.port)
            fields = {**BODY, "Upload-Offset": "0", "Content-Length": "1000000"}
            await wire.send(head("PATCH", target, fields) + bytes(10_000))
            progress: list[dict[str, Any]] = []
            sent = 10_000
            async with asyncio.timeout(20):
                while not progress:  # a node that has not yet heard that somebody watches tells nothing
                    await wire.send(bytes(1000))
                    sent += 1000
                    with_timeout = asyncio.wait_for(client.message("upload.progress"), 0.2)
                    try:
                        progress.append(json.loads((await with_timeout).body)["data"])
                    except TimeoutError:
                        continue
            assert 0 < progress[0]["upload_offset"] <= sent
            await wire.send(bytes(1_000_000 - sent))
            assert (await wire.receive()).status == 204
            finished = await client.message("upload.finished")
            assert json.loads(finished.body)["subject"] == upload_id(target)
            await wire.close()


async def test_a_reader_that_changes_nodes_at_every_event_misses_none(nodes: tuple[Node, Node]) -> None:
    """N10: a cursor is good on every node."""
    sources = [EventSource(node.port) for node in nodes]
    async with sources[0]:
        await sources[0].next("live")
    uploading = asyncio.create_task(_upload_some(nodes, 12))
    cursor = sources[0].last_id
    seen: list[str] = []
    while len(seen) < 24:
        source = sources[len(seen) % 2]
        source.last_id = cursor
        async with source:
            seen += await subjects(source, 1)
        cursor = source.last_id
    wanted = await uploading
    assert seen == [subject for subject in wanted for _ in range(2)]


async def _upload_some(nodes: tuple[Node, Node], count: int) -> list[str]:
    return [await nodes[number % 2].upload() for number in range(count)]


async def test_a_listener_that_is_killed_is_missed_by_nobody(nodes: tuple[Node, Node], postgres_dsn: str) -> None:
    """B11: NOTIFY is a hint; what it would have told is found by the poll, and it comes back."""
    a, b = nodes
    connection = await asyncpg.connect(postgres_dsn)
    try:
        async with EventSource(b.port) as source:
            await source.next("live")
            killed: set[int] = set()
            for least in (2, 1, 1):
                # Each begins to listen some time after its node is ready, and looks now and then whether it is alive.
                deadline, before = asyncio.get_running_loop().time() + 30, len(killed)
                while len(killed) < before + least:
                    assert asyncio.get_running_loop().time() < deadline, "the listeners of both nodes, at first"
                    rows = await connection.fetch(
                        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database() AND query ~* '^\\s*(listen|select 1$)'"
                    )
                    killed |= {row["pid"] for row in rows}
                    await asyncio.sleep(0.02)
                wanted = await a.upload()
                assert await subjects(source, 2) == [wanted] * 2
    finally:
        await connection.close()


async def test_a_database_that_restarts_loses_no_event_of_a_stream(
    nodes: tuple[Node, Node], postgres_server: PostgresServer
) -> None:
    """B03, I6, I12: streams stay open through it, and see all."""
    a, b = nodes
    async with EventSource(b.port) as source, EventSource(a.port, "?after=0") as other:
        await source.next("live")
        wanted = [await a.upload()]
        await asyncio.to_thread(postgres_server.stop)
        await asyncio.to_thread(postgres_server.start)
        deadline = asyncio.get_running_loop().time() + 30
        while len(wanted) < 4:
            assert asyncio.get_running_loop().time() < deadline
            try:
                wanted.append(await (a if len(wanted) % 2 else b).upload())
            except AssertionError:  # 503: not yet
                await asyncio.sleep(0.2)
        doubled = [subject for subject in wanted for _ in range(2)]
        assert sorted(await subjects(source, 8)) == sorted(doubled)
        assert sorted(await subjects(other, 8)) == sorted(doubled)
        assert not {"gap"} & {block.event for block in source.blocks}


async def test_a_transaction_left_open_elsewhere_holds_nobody_up(nodes: tuple[Node, Node], postgres_dsn: str) -> None:
    """B13, I12: neither one that holds a snapshot, nor one whose event is not committed yet; that one comes later."""
    snapshot, writer = await asyncpg.connect(postgres_dsn), await asyncpg.connect(postgres_dsn)
    try:
        old, late = snapshot.transaction(isolation="repeatable_read"), writer.transaction()
        await old.start()
        await snapshot.fetchval("SELECT count(*) FROM uploads")
        await late.start()
        async with EventSource(nodes[1].port) as source:
            await source.next("live")
            await writer.execute(
                "INSERT INTO events (id, type, upload_id, data, time) "
                "VALUES ('00000000-late', 'upload.finished', 'late', '{}', now())"
            )
            wanted = [await node.upload() for node in (*nodes, *nodes)]
            assert await subjects(source, 8) == [subject for subject in wanted for _ in range(2)]
            await late.commit()
            # Who commits an event tells the others; this one's writer is no node, so the next upload does.
            last = await nodes[0].upload()
            assert set(await subjects(source, 3)) == {"late", last}
        await old.rollback()
    finally:
        await snapshot.close()
        await writer.close()


async def test_a_hundred_uploads_that_finish_at_once_are_told_once_each(nodes: tuple[Node, Node]) -> None:
    """I6, on both nodes, by followers of all."""
    async with EventSource(nodes[0].port) as here, EventSource(nodes[1].port) as there:
        for source in (here, there):
            await source.next("live")
        uploads = await asyncio.gather(*(nodes[number % 2].upload() for number in range(100)))
        for source in (here, there):
            finished = [(await source.next("upload.finished")).cloudevent["subject"] for _ in uploads]
            assert sorted(finished) == sorted(uploads)
