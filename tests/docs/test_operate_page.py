"""docs/how-to/operate.md: each command of the part on events does what it says, beside a running server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, served
from tests.web.served import settings
from tuspy_server import Event, TusServer
from tuspy_server.cli import main
from tuspy_server.ports import DeliveryFilter, DeliveryStatus

PAGE = "how-to/operate.md"
SAYS = {
    "events tail": "upload.created",
    "events list": "upload.finished",
    "events dead": "RuntimeError: down",
    "events replay": "2 events will be delivered to python:index",
    "deliveries list": "python:index",
    "deliveries retry": "deliveries will be tried again",
    "deliveries consumers": "python:index",
    "deliveries enable": "python:index is given events from now on",
    "deliveries forget": "python:index is forgotten",
}


def command(line: str) -> None:
    """In this process: nine of their own take a minute on a loud machine."""
    if "tail" in line:
        line += " --after 0 --limit 1"
    with pytest.raises(SystemExit, match="0"):
        main(line.replace("NAME", "index").split()[1:])


async def test_each_command_does_what_the_page_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuspy_server.cli.common.configure", lambda _: None)  # the logs of all later tests
    monkeypatch.setenv("TUSPY_DATA", str(folder / "uploads"))
    tus = TusServer(settings(folder / "uploads", hook_attempts=1))

    @tus.on("upload.created", "upload.finished", name="index")
    async def fail(event: Event) -> None:
        raise RuntimeError("down")

    table = (DOCS / PAGE).read_text("utf-8").partition("## Events and deliveries")[2]
    lines = re.findall(r"^\| `(tuspy-server .*?)` \|", table, re.MULTILINE)
    assert [" ".join(line.split()[1:3]) for line in lines] == list(SAYS)
    async with served(tus) as server:
        await server.create(5, b"hello")
        assert tus._parts is not None
        outbox = tus._parts.stores.outbox
        async with asyncio.timeout(20):
            dead = DeliveryFilter(status=DeliveryStatus.DEAD)
            while len(await outbox.deliveries(dead, 10)) < 2:  # noqa: ASYNC110  # no event tells it
                await asyncio.sleep(0.01)
        for line, said in zip(lines, SAYS.values(), strict=True):
            capsys.readouterr()
            await asyncio.to_thread(command, line)
            assert said in capsys.readouterr().out, line
