"""docs/how-to/jobs.md: the example learns when all of a job is done."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.docs.pages import blocks
from tests.realtime.test_node_clients import FOLDER, run, said
from tests.support.fixtures import MakeServer
from tests.web.served import Served

PAGE = "how-to/jobs.md"


async def test_who_follows_a_job_learns_when_it_is_done(make_server: MakeServer, folder: Path) -> None:
    server = make_server(durability="process").start()
    wire = Served(server.port, None)  # type: ignore[arg-type]  # only what is on the wire is used
    asked = json.dumps({"files": [{"name": name, "length": 3} for name in "ab"]}).encode()
    made = await wire.request("POST", "/api/jobs", {"Content-Type": "application/json"}, asked)
    job = json.loads(made.body)
    (example,) = blocks(PAGE, "js")
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    script = folder / "example.mjs"
    script.write_text(example)
    with run("example.mjs", {"origin": server.origin, "job": job["id"], "example": str(script)}) as process:
        lines = said(process)
        for file in job["files"]:
            assert (await wire.patch(f"/files/{file['id']}", 0, b"abc")).status == 204
        line = await asyncio.wait_for(asyncio.to_thread(lambda: next(lines)), 20)
    assert line == {"upload": job["id"], "text": "COMPLETED"}
