"""docs/how-to/finished.md: each example learns of a finished upload."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import blocks, executed, served
from tests.realtime.test_node_clients import FOLDER, run, said
from tests.support.fixtures import MakeServer, need
from tests.support.process import ServerProcess, wait_for
from tests.web.served import Served, listen, settings, upload_id
from tests.web.wire import BODY
from tuspy_server import TusServer

PAGE = "how-to/finished.md"
NAMED = {"Upload-Metadata": f"filename {base64.b64encode(b'notes.txt').decode()}"}
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def upload_notes(server: Served) -> str:
    made = await server.post({"Upload-Length": "5", **NAMED, **BODY}, b"hello")
    assert made.status == 201
    return upload_id(made["Location"])


async def printed(capsys: pytest.CaptureFixture[str], wanted: str) -> None:
    """Waits for a line on stdout."""
    seen = ""
    async with asyncio.timeout(20):
        while wanted not in seen.splitlines():
            await asyncio.sleep(0.005)
            seen += capsys.readouterr().out


async def test_in_an_application(capsys: pytest.CaptureFixture[str]) -> None:
    """I6."""
    example = executed(PAGE, '@tus.on("upload.finished"')
    async with served(example["tus"], example["app"]) as server:
        await upload_notes(server)
        await printed(capsys, "notes.txt: 5 bytes")


async def test_by_webhook(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """I6: signed as the receiver's library wants it."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    async with listen(executed(PAGE, "receiver = FastAPI()")["receiver"], lifespan=False) as port:
        url = f"http://127.0.0.1:{port}/uploads"
        tus = TusServer(settings(Path("uploads"), webhook_url=url, webhook_secret=SECRET, webhook_allow_private=True))
        async with served(tus) as server:
            await upload_notes(server)
            await printed(capsys, "notes.txt 5")
            forged = await Served(port, tus).request("POST", "/uploads", {"Content-Type": "application/json"}, b"{}")
            assert forged.status == 401


@pytest.mark.parametrize("finished_before", [False, True], ids=["while it follows", "before it follows"])
@pytest.mark.parametrize("example", blocks(PAGE, "js"), ids=["eventsource", "websocket", "stomp"])
async def test_in_a_browser(make_server: MakeServer, folder: Path, example: str, finished_before: bool) -> None:
    """N10: it is told once, whenever it comes."""
    server = make_server(durability="process").start()
    wire = Served(server.port, None)  # type: ignore[arg-type]  # only what is on the wire is used
    made = await wire.post({"Upload-Length": "5", **NAMED})
    upload = upload_id(made["Location"])

    async def finish() -> None:
        assert (await wire.patch(f"/files/{upload}", 0, b"hello")).status == 204

    if finished_before:
        await finish()
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    script = folder / "example.mjs"
    script.write_text(example)
    with run("example.mjs", {"origin": server.origin, "upload": upload, "example": str(script)}) as process:
        lines = said(process)
        if not finished_before:
            await asyncio.to_thread(wait_for, followed(server, upload), "the example follows the upload")
            await finish()
        line: dict[str, Any] = await asyncio.wait_for(asyncio.to_thread(lambda: next(lines)), 20)
    assert line == {"upload": upload, "text": "notes.txt is there"}


def followed(server: ServerProcess, upload: str) -> Callable[[], bool]:
    return lambda: any(
        line["event"] == "stream.subscribed" and line.get("upload_id") == upload for line in server.log_events()
    )


async def test_by_asking(make_server: MakeServer) -> None:
    for program in ("bash", "curl", "jq"):
        if shutil.which(program) is None:
            need(program)
    server = make_server(durability="process").start()
    upload = await upload_notes(Served(server.port, None))  # type: ignore[arg-type]  # as above
    (command,) = blocks(PAGE, "sh")
    command = command.replace("http://localhost:8080", server.origin)
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euc", command],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "upload": upload},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"COMPLETED\n"
