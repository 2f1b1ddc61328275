"""The receiver of docs/how-to/webhooks.md, as it stands there, behind a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.events.webhooks.making import EVENT, NEW, OLD, endpoint
from tests.uploads.rig import until
from trial.processes import free_port
from tuspy_server.events.recipients import DeliveryFailed
from tuspy_server.events.webhooks.sender import Sender

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "webhooks.md"
(EVENTS,) = re.findall(r"^```py\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def running(source: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The example on a uvicorn of its own; its origin, and its names."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, str(PAGE), "exec"), names)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(names["app"], port=port, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{port}", names
    finally:
        server.should_exit = True
        await serving


async def test_the_receiver_of_events(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """X14; what comes twice is done once (I6)."""
    monkeypatch.setenv("WEBHOOK_SECRET", NEW)
    event = replace(EVENT, data={**EVENT.data, "metadata": {"filename": "cat.png"}})
    async with running(EVENTS) as (origin, names):
        good, forged = (Sender(endpoint(f"{origin}/uploads", secrets=(secret,)), "s") for secret in (NEW, OLD))
        for _ in range(2):
            await good.send(event)
        with pytest.raises(DeliveryFailed, match="401"):
            await forged.send(event)
        for sender in (good, forged):
            await sender.close()
    assert names["seen"] == {event.id}
    assert capsys.readouterr().out.count("cat.png 5") == 1
