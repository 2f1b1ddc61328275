"""A server is killed around the delivery of a webhook: nothing is lost, and what comes twice has one id."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.events.webhooks.conftest import MakeReceiver
from tests.events.webhooks.making import NEW, OLD
from tests.support.client import TusUpload
from tests.support.process import ServerProcess
from tests.support.receivers import Call, Receiver, Reply, hang, take
from tests.uploads.rig import until
from tuspy_server.model import EventType, event_id

SECONDS = 30
ROUNDS = 200


@pytest.fixture
async def server(tmp_path: Path, make_receiver: MakeReceiver) -> AsyncIterator[tuple[ServerProcess, Receiver]]:
    """Not started yet, with one webhook."""
    receiver = await make_receiver()
    settings = {
        "webhook_url": receiver.url,
        "webhook_secret": NEW,
        "webhook_allow_private": "true",
        "webhook_seconds": 5,
    }
    server = ServerProcess(tmp_path / "server", settings=settings)
    try:
        yield server, receiver
    finally:
        server.close()
        print(server.log_tail())


async def upload(server: ServerProcess, content: bytes = b"hello") -> str:
    def run() -> str:
        made = TusUpload.create(server.url, len(content))
        assert made.patch(content).status == 204
        return made.id

    return await asyncio.to_thread(run)


def finished_ids(receiver: Receiver, upload_id: str) -> list[str]:
    calls = [call for call in receiver.calls if call.json["subject"] == upload_id]
    return [call.id for call in calls if call.json["type"] == "upload.finished"]


async def test_killed_between_commit_and_delivery(server: tuple[ServerProcess, Receiver]) -> None:
    """C06, I6."""
    process, receiver = server
    await receiver.stop()
    await asyncio.to_thread(process.start)
    upload_id = await upload(process)
    process.kill()
    await receiver.start()
    await asyncio.to_thread(process.start)
    await until(lambda: finished_ids(receiver, upload_id), SECONDS)
    assert set(finished_ids(receiver, upload_id)) == {event_id(upload_id, EventType.FINISHED)}


async def test_killed_in_the_middle_of_a_delivery(server: tuple[ServerProcess, Receiver]) -> None:
    """C07, I6."""
    process, receiver = server
    receiver.answer = hang
    await asyncio.to_thread(process.start)
    upload_id = await upload(process)
    await until(lambda: receiver.calls, SECONDS)
    process.kill()
    receiver.answer = take
    await asyncio.to_thread(process.start)
    await until(lambda: finished_ids(receiver, upload_id), SECONDS)
    created = [call.id for call in receiver.calls if call.json["type"] == "upload.created"]
    assert len(created) >= 2
    assert set(created) == {event_id(upload_id, EventType.CREATED)}


async def test_killed_before_it_is_marked_done(server: tuple[ServerProcess, Receiver]) -> None:
    """C07, I6: the receiver has it, and the server never hears that."""
    process, receiver = server

    async def take_and_kill(call: Call) -> Reply:
        if call.json["type"] == "upload.finished":
            receiver.answer = take
            os.kill(process.pid, signal.SIGKILL)
        return Reply()

    receiver.answer = take_and_kill
    await asyncio.to_thread(process.start)
    upload_id = await upload(process)
    assert await asyncio.to_thread(process.wait_exit) == -signal.SIGKILL
    await asyncio.to_thread(process.start)
    await until(lambda: len(finished_ids(receiver, upload_id)) >= 2, SECONDS)
    assert set(finished_ids(receiver, upload_id)) == {event_id(upload_id, EventType.FINISHED)}


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_killed_at_random_points(server: tuple[ServerProcess, Receiver]) -> None:
    """I6, C06, C07: every upload that was acknowledged is told of, by one id, whatever was killed when."""
    process, receiver = server
    chance = random.Random(7)

    async def answer(call: Call) -> Reply:
        # Never 500: attempts that a kill has cut off count, and after so many the next one would be hours away.
        await asyncio.sleep(chance.uniform(0, 0.01))
        return Reply(204)

    receiver.answer = answer
    acknowledged: list[str] = []

    async def keep_uploading() -> None:
        while True:
            acknowledged.append(await upload(process))

    for _ in range(ROUNDS):
        await asyncio.to_thread(process.start)
        uploading = asyncio.create_task(keep_uploading())
        await asyncio.wait([uploading], timeout=chance.uniform(0.01, 0.6))
        process.kill()
        await asyncio.wait([uploading], timeout=SECONDS)
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
    receiver.answer = take
    await asyncio.to_thread(process.start)
    told: dict[str, set[str]] = {}
    seen = 0

    def all_are_told() -> bool:
        # Each call is read once: the receiver answers in this loop, and thousands of them have come.
        nonlocal seen
        for call in receiver.calls[seen:]:
            if call.json["type"] == EventType.FINISHED:
                told.setdefault(call.json["subject"], set()).add(call.id)
        seen = len(receiver.calls)
        return told.keys() >= set(acknowledged)

    await until(all_are_told, 120)
    assert len(acknowledged) > ROUNDS
    assert all(told[upload_id] == {event_id(upload_id, EventType.FINISHED)} for upload_id in acknowledged)


async def test_secrets_are_in_no_log_and_no_listing(server: tuple[ServerProcess, Receiver]) -> None:
    """X19: not those of two endpoints, nor what hides in a URL."""
    process, receiver = server
    more = {
        "name": "more",
        "url": f"{receiver.url}?key=hidden-key",
        "secrets": [OLD],
        "headers": {"X-Key": "hidden-too"},
    }
    process.settings["webhooks"] = json.dumps(more)
    process.settings["log_level"] = "debug"

    async def refuse(call: Call) -> Reply:
        return Reply(500)

    receiver.answer = refuse
    await asyncio.to_thread(process.start)
    await upload(process)
    await until(lambda: len(receiver.calls) >= 4, SECONDS)
    await asyncio.to_thread(process.terminate)
    log = process.log_path.read_text()
    assert "event.delivery.failed" in log
    for secret in (NEW, OLD, "hidden-key", "hidden-too"):
        assert secret.removeprefix("whsec_") not in log
