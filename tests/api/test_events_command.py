"""`tuspy-server events` and `deliveries`, beside a server that runs, on each of the databases."""

from __future__ import annotations

import asyncio
import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.api.asking import Api, until
from tests.api.conftest import ON_SQLITE, ServeApi
from tests.support.cli import Result, environment, run
from tests.support.process import CLI
from tuspy_server import Event, TusServer
from tuspy_server.cli.events import _TypeName
from tuspy_server.model import EventType
from tuspy_server.ports import Consumer, DeliveryFilter, DeliveryStatus

FIRST_ON_SQLITE = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.long)], indirect=True
)
"""A second and more an interpreter: on the other database it waits for `make test-long`."""


class Hooked:
    """A server with a hook that fails for as long as it is to, and the command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fails = False
        self.seen: list[str] = []
        self.api: Api

    def prepare(self, tus: TusServer) -> None:
        tus.on("upload.created", "upload.finished", name="recorder")(self.record)

    async def record(self, event: Event) -> None:
        self.seen.append(event.id)
        if self.fails:
            raise RuntimeError("down\nfor\x1b[31m good")

    @property
    def variables(self) -> dict[str, str]:
        settings = self.api.tus.settings
        url = settings.database_url
        place = {} if url is None else {"TUSPY_DATABASE_URL": url.get_secret_value()}
        return {"TUSPY_DATA": str(settings.data), **place}

    async def run(self, *arguments: str) -> Result:
        return await asyncio.to_thread(partial(run, self.folder, *arguments, variables=self.variables))

    async def lines(self, *arguments: str) -> list[dict[str, Any]]:
        result = await self.run(*arguments, "--json")
        assert (result.status, result.stderr) == (0, "")
        return [json.loads(line) for line in result.stdout.splitlines()]

    async def settled(self, count: int) -> None:
        """Until so many deliveries have been settled, and none waits."""
        await self.settled_for(None, count)

    async def settled_for(self, consumer: str | None, count: int) -> None:
        """The same for one consumer's."""
        parts = self.api.tus._parts
        assert parts is not None
        outbox = parts.stores.outbox

        async def is_settled() -> bool:
            found = await outbox.deliveries(DeliveryFilter(consumer=consumer), 100)
            return len(found) == count and all(record.status is not DeliveryStatus.WAITING for record in found)

        await until(is_settled)


@pytest.fixture
async def hooked(tmp_path: Path, serve_api: ServeApi) -> Hooked:
    hooked = Hooked(tmp_path)
    hooked.api = await serve_api(hooked.prepare, hook_attempts=1)
    return hooked


@FIRST_ON_SQLITE
async def test_events_are_listed(hooked: Hooked) -> None:
    job = await hooked.api.make(0, 5)
    await hooked.api.send(job["files"][1], b"hello")
    await hooked.settled(4)
    found = await hooked.lines("events", "list")
    assert sorted(event["type"] for event in found) == ["upload.created"] * 2 + ["upload.finished"] * 2
    assert all(event["specversion"] == "1.0" and event["data"]["job_id"] == job["id"] for event in found)
    of_one = await hooked.lines("events", "list", "--upload", job["files"][1]["id"])
    assert [event["type"] for event in of_one] == ["upload.created", "upload.finished"]
    assert len(await hooked.lines("events", "list", "--job", job["id"], "--type", "upload.finished")) == 2
    assert await hooked.lines("events", "list", "--after", found[1]["cursor"]) == found[2:]
    assert await hooked.lines("events", "list", "--after", "0", "--limit", "1") == found[:1]
    table = (await hooked.run("events", "list")).stdout.splitlines()
    assert table[0].split() == ["cursor", "time", "type", "upload", "job"]
    assert [line.split()[0] for line in table[1:]] == [event["cursor"] for event in found]


@ON_SQLITE
async def test_events_are_followed(hooked: Hooked) -> None:
    await hooked.api.make(5)
    process = await asyncio.create_subprocess_exec(
        *CLI,
        *("events", "tail", "--after", "0", "--limit", "4", "--json"),
        env=environment(**hooked.variables),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        lines = [json.loads(await process.stdout.readline())]
        await hooked.api.make(0, 7)
        lines += [json.loads(await process.stdout.readline()) for _ in range(3)]
        assert await process.wait() == 0
    assert [line["cursor"] for line in lines] == [
        event["cursor"] for event in await hooked.lines("events", "list", "--after", "0")
    ]


@FIRST_ON_SQLITE
async def test_what_is_dead_is_found_and_tried_again(hooked: Hooked) -> None:
    """B14: what a hook could not take is seen, and is not lost."""
    hooked.fails = True
    await hooked.api.make(5)
    await hooked.settled(1)
    (dead,) = await hooked.lines("events", "dead")
    assert (dead["status"], dead["attempts"], dead["consumer"]) == ("dead", 1, "python:recorder")
    assert "down" in dead["error"]
    assert await hooked.lines("deliveries", "list", "--status", "dead", "--consumer", "recorder") == [dead]
    assert await hooked.lines("deliveries", "list", "--status", "delivered") == []
    assert await hooked.lines("events", "dead", "--upload", "other") == []
    table = (await hooked.run("events", "dead")).stdout
    assert table.count("\n") == 2
    assert "\x1b" not in table
    assert (await hooked.run("deliveries", "retry")).status == 2
    hooked.fails = False
    for arguments in (("--upload", "other"), ("--status", "waiting")):
        assert "0 deliveries" in (await hooked.run("deliveries", "retry", *arguments)).stdout
    assert "1 delivery will" in (await hooked.run("deliveries", "retry", "--event", dead["event_id"])).stdout

    await hooked.settled(1)
    assert hooked.seen == [dead["event_id"]] * 2
    assert len(await hooked.lines("deliveries", "list", "--status", "delivered")) == 1


@FIRST_ON_SQLITE
async def test_events_are_delivered_again(hooked: Hooked) -> None:
    job = await hooked.api.make(0, 5)
    await hooked.settled(3)
    first = list(hooked.seen)
    result = await hooked.run("events", "replay", "recorder", "--job", job["id"], "--type", "upload.finished")
    assert (result.status, result.stdout) == (0, "1 event will be delivered to python:recorder\n")
    assert (await hooked.run("events", "replay", "recorder", "--after", "0")).status == 0

    async def is_delivered() -> bool:
        return sorted({*hooked.seen}) == sorted({*first}) and len(hooked.seen) >= 2 * len(first)

    await until(is_delivered, 60)


@FIRST_ON_SQLITE
async def test_a_consumer_is_enabled_again_and_forgotten(hooked: Hooked) -> None:
    """I12: what a webhook's 410 has switched off, and a hook that was removed, do not stay in the way for ever."""
    await hooked.api.make(5)
    await hooked.settled(1)
    parts = hooked.api.tus._parts
    assert parts is not None
    await parts.stores.outbox.disable("python:recorder", "410 Gone\x1b[0m")
    (consumer,) = await hooked.lines("deliveries", "consumers")
    assert (consumer["name"], consumer["processing"]) == ("python:recorder", False)
    assert consumer["types"] == ["upload.created", "upload.finished"]
    assert consumer["disabled_reason"].startswith("410")
    assert "\x1b" not in (await hooked.run("deliveries", "consumers")).stdout
    assert (await hooked.run("deliveries", "enable", "nobody")).status == 1
    assert (await hooked.run("deliveries", "enable", "recorder")).status == 0
    assert (await hooked.lines("deliveries", "consumers"))[0]["disabled_reason"] is None
    await hooked.api.make(5)
    await hooked.settled(2)
    assert (await hooked.run("deliveries", "forget", "recorder")).status == 0
    assert await hooked.lines("deliveries", "consumers") == []
    assert "there is none" in (await hooked.run("deliveries", "forget", "recorder")).complaint


@ON_SQLITE
async def test_uploads_do_not_wait_for_a_hook_that_is_gone(hooked: Hooked) -> None:
    parts = hooked.api.tus._parts
    assert parts is not None
    gone = Consumer(name="python:gone", types=frozenset({EventType.FINISHED}), processing=True)
    await parts.stores.outbox.register([gone])
    job = await hooked.api.make(0)
    await hooked.settled_for("python:recorder", 2)
    assert await hooked.api.statuses(job) == ["PROCESSING"]
    assert (await hooked.run("deliveries", "forget", "gone")).status == 0
    assert await hooked.api.statuses(job) == ["FAILED"]


@ON_SQLITE
async def test_what_is_not_there_is_said(hooked: Hooked) -> None:
    await hooked.api.make(5)
    await hooked.settled(1)
    for arguments, status, words in (
        (("events", "list", "--after", "x"), 1, "x is no cursor"),
        (("events", "list", "--after", "1-00000000"), 1, "is not there any more"),
        (("events", "replay", "nobody", "--after", "0"), 1, "there are python:recorder"),
        (("deliveries", "retry", "--consumer", "nobody"), 1, "there are python:recorder"),
        (("events", "replay", "recorder"), 2, "--after"),
        (("events", "list", "--type", "upload.done"), 2, "upload.done"),
        (("events", "list", "--limit", "9" * 20), 2, "--limit"),
        (("deliveries", "list", "--limit", "-1"), 2, "--limit"),
        (("events", "list", "--upload", "\udcff"), 2, "--upload"),
    ):
        result = await hooked.run(*arguments)
        assert (result.status, result.stdout) == (status, "")
        assert words in result.complaint


def test_every_type_can_be_asked_for() -> None:
    assert set(get_args(_TypeName)) == {kind.value for kind in EventType}


def test_there_must_be_a_database(tmp_path: Path) -> None:
    for arguments in (("events", "list"), ("events", "tail"), ("deliveries", "retry", "--all")):
        result = run(tmp_path, *arguments, "--data", str(tmp_path / "nothing"))
        assert result.status == 1
        assert "there is no tuspy.sqlite3" in result.complaint
    assert not (tmp_path / "nothing").exists()
