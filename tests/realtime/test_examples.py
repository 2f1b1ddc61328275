"""The examples for browsers in the documentation work as they stand."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.realtime.test_node_clients import FOLDER, run, said
from tests.support.fixtures import MakeServer
from tests.support.process import REPOSITORY, ServerProcess, wait_for
from tests.web.served import Served

PAGE = REPOSITORY / "docs" / "how-to" / "realtime.md"
EXAMPLES = re.findall(r"^```js\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


async def make_job(served: Served) -> tuple[str, list[str]]:
    """Its id, and those of its uploads."""
    asked = json.dumps({"files": [{"name": f"file-{number}", "length": 30_000} for number in range(3)]}).encode()
    reply = await served.request("POST", "/api/jobs", {"Content-Type": "application/json"}, asked)
    assert reply.status == 201, reply.text
    job = json.loads(reply.body)
    return job["id"], [file["id"] for file in job["files"]]


def is_followed(server: ServerProcess, job: str) -> bool:
    return any(line["event"] == "stream.subscribed" and line["job_id"] == job for line in server.log_events())


@pytest.mark.parametrize("example", EXAMPLES, ids=["eventsource", "websocket", "stomp"])
async def test_an_example_shows_each_upload(make_server: MakeServer, tmp_path: Path, example: str) -> None:
    server = make_server(durability="process").start()
    served = Served(server.port, None)  # type: ignore[arg-type]  # only what is on the wire is used
    job, uploads = await make_job(served)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    script = tmp_path / "example.mjs"
    script.write_text(example)
    shown: set[str] = set()
    with run("example.mjs", {"origin": server.origin, "job": job, "example": str(script)}) as process:
        lines = said(process)
        await asyncio.to_thread(wait_for, lambda: is_followed(server, job), "the example follows the job")
        for upload in uploads:
            for offset in (0, 10_000):
                reply = await served.patch(f"/files/{upload}", offset, bytes(10_000 if offset == 0 else 20_000))
                assert reply.status == 204
        while shown < set(uploads):
            line = await asyncio.wait_for(asyncio.to_thread(lambda: next(lines)), 20)
            if line["text"] == "finished":
                shown.add(line["upload"])
            else:
                assert re.fullmatch(r"\d+ %", line["text"])
    assert shown == set(uploads)
