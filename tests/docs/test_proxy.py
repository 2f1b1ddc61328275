"""deploy/nginx.conf: jobs and streams pass it, too. Uploads through it: tests/production_crash/test_behind_nginx.py."""

from __future__ import annotations

import json
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.typing import Origin, Subprotocol

from tests.docs.pages import served
from tests.production_crash.test_behind_nginx import blocks
from tests.support.servers import MakeNginx
from tests.support.streams import EventSource, receive
from tests.web.served import Served, settings
from tuspy_server import TusServer


async def test_jobs_and_streams_pass_the_proxy(make_nginx: MakeNginx) -> None:
    """N05, X17: URLs and the origin of pages are the proxy's; events come at once, not at the end."""
    tus = TusServer(settings(Path("uploads"), trusted_proxies=("127.0.0.1",), cors_origins=()))
    async with served(tus) as server:
        http, block = blocks([server.port])
        nginx = make_nginx(block, http=http)
        outside = Served(nginx.port, tus)
        host = {"Host": f"127.0.0.1:{nginx.port}"}
        asked = json.dumps({"files": [{"name": "a", "length": 5}]}).encode()
        reply = await outside.request("POST", "/api/jobs", {**host, "Content-Type": "application/json"}, asked)
        job = json.loads(reply.body)
        (file,) = job["files"]
        assert job["url"] == f"{nginx.origin}/api/jobs/{job['id']}"
        assert file["url"] == f"{nginx.origin}/files/{file['id']}"
        address = f"ws://127.0.0.1:{nginx.port}/ws?job={job['id']}"
        protocols = [Subprotocol("cloudevents.json")]
        async with (
            EventSource(nginx.port, f"?job={job['id']}") as source,
            connect(address, origin=Origin(nginx.origin), subprotocols=protocols, proxy=None) as connection,
        ):
            assert (await source.next("live")).cloudevent["type"] == "live"
            assert (await receive(connection))["type"] == "live"
            assert (await outside.patch(f"/files/{file['id']}", 0, b"hello")).status == 204
            assert (await source.next("upload.finished")).cloudevent["subject"] == file["id"]
            while (event := await receive(connection))["type"] != "upload.finished":
                pass
            assert event["subject"] == file["id"]
    # No node is left: an EventSource that is told anything but 200 would never come back.
    source = EventSource(nginx.port, f"?job={job['id']}")
    assert (await source.open()).status == 200
    ended = await outside.request("GET", "/events", {"Accept": "text/event-stream"})
    assert (ended.status, ended["content-type"], ended.body) == (200, "text/event-stream", b"retry: 2000\n\n")
    await source.close()
