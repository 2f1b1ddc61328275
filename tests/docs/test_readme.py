"""README.md: what it shows of browsers and jobs works as it stands."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

from tests.docs.pages import blocks
from tests.realtime.test_node_clients import FOLDER, run, said
from tests.support.fixtures import MakeServer, need
from tests.support.process import wait_for
from tests.web.served import Served, upload_id

PAGE = "../README.md"


async def test_a_browser_follows_an_upload(make_server: MakeServer, folder: Path) -> None:
    server = make_server(durability="process").start()
    wire = Served(server.port, None)  # type: ignore[arg-type]  # only what is on the wire is used
    target = await wire.create(8)
    (example,) = [block for block in blocks(PAGE, "js") if "EventSource" in block]
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    script = folder / "example.mjs"
    script.write_text(example)
    with run("example.mjs", {"origin": server.origin, "upload": upload_id(target), "example": str(script)}) as process:
        lines = said(process)

        def is_followed() -> bool:
            return any(line["event"] == "stream.subscribed" for line in server.log_events())

        await asyncio.to_thread(wait_for, is_followed, "the example follows the upload")
        assert (await wire.patch(target, 0, b"he")).status == 204
        assert (await asyncio.wait_for(asyncio.to_thread(lambda: next(lines)), 20))["text"] == 2
        assert (await wire.patch(target, 2, b"llo me")).status == 204
        assert (await asyncio.wait_for(asyncio.to_thread(lambda: next(lines)), 20))["text"] == "is there"


def test_a_job_is_made(make_server: MakeServer) -> None:
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            need(program)
    server = make_server(durability="process").start()
    (command,) = blocks(PAGE, "sh")
    script = command.replace("http://127.0.0.1:8080", server.origin).replace("curl ", "curl -sS ")
    done = subprocess.run(["bash", "-euc", script], capture_output=True, timeout=60, check=True)
    job = json.loads(done.stdout)
    assert [(file["name"], file["status"]) for file in job["files"]] == [("a.jpg", "QUEUED"), ("b.jpg", "COMPLETED")]
