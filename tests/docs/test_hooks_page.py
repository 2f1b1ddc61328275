"""docs/how-to/hooks.md: each example refuses and allows what the page says."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

from tests.docs.pages import executed, served
from tests.support.streams import EventSource
from tests.web.served import listen, settings, upload_id
from tests.web.wire import BODY, TUS
from tuspy_server import Event, TusServer, UploadStatus

PAGE = "how-to/hooks.md"


def metadata(**texts: str) -> dict[str, str]:
    pairs = (f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in texts.items())
    return {"Upload-Metadata": ",".join(pairs)}


async def test_pre_create() -> None:
    tus: TusServer = executed(PAGE, "@tus.pre_create")["tus"]
    image = metadata(filename="a.png", filetype="image/png")
    async with served(tus) as server:
        nameless = await server.post({"Upload-Length": "3"})
        assert (nameless.status, nameless.body) == (422, b"refused: give the file a name\n")
        assert (await server.post({"Upload-Length": "10000001", **image})).status == 413
        assert (await server.post({"Upload-Length": "3", **metadata(filename="a.sh", type="text/x-sh")})).status == 415
        made = await server.post({"Upload-Length": "3", **image})
        assert made.status == 201
        found = await tus.find(upload_id(made["Location"]))
        assert found.trusted_metadata == {"address": "127.0.0.1"}
        assert found.idle_seconds == 3600
        late = await server.post({"Upload-Defer-Length": "1", **image})
        assert (await server.patch(late["Location"], 0, b"", {"Upload-Length": "10000001"})).status == 413


async def test_pre_finish() -> None:
    tus: TusServer = executed(PAGE, "@tus.pre_finish")["tus"]
    heard: asyncio.Queue[Event] = asyncio.Queue()
    tus.on("upload.failed", name="failed")(heard.put)

    async with served(tus) as server:
        good, bad = await server.create(8), await server.create(8)
        assert (await server.patch(good, 0, b"%PDF-1.7")).status == 204
        refused = await server.patch(bad, 0, b"MZ-1.7..")
        assert (refused.status, refused.body) == (415, b"refused: this is not a PDF\n")
        assert (await server.look(bad)).status == 410
        assert (await tus.find(upload_id(bad))).status is UploadStatus.FAILED
        assert await server.content(bad) == b""
        async with asyncio.timeout(20):
            assert (await heard.get()).data["reason"] == "this is not a PDF"


async def test_pre_terminate() -> None:
    tus: TusServer = executed(PAGE, "@tus.pre_terminate")["tus"]
    async with served(tus) as server:
        done, open_one = await server.create(3, b"abc"), await server.create(3)
        refused = await server.request("DELETE", done, TUS)
        assert (refused.status, refused.body) == (403, b"refused: finished files stay\n")
        assert (await server.request("DELETE", open_one, TUS)).status == 204
        await tus.terminate(upload_id(done))


async def test_authorize() -> None:
    """I9: another tenant's upload is one that does not exist."""
    tus: TusServer = executed(PAGE, "@tus.authorize")["tus"]
    anna, bob = ({"Authorization": f"Bearer {name}s-token"} for name in ("anna", "bob"))
    async with served(tus) as server:
        assert (await server.post({"Upload-Length": "3"})).status == 401
        made = await server.post({"Upload-Length": "3", **anna, **BODY}, b"abc")
        assert made.status == 201
        target = made["Location"]
        assert (await tus.find(upload_id(target))).tenant == "acme"
        assert (await server.request("HEAD", target, {**TUS, **anna})).status == 200
        foreign = await server.request("GET", target, {**TUS, **bob})
        unknown = await server.request("GET", "/files/unknown", {**TUS, **bob})
        assert (foreign.status, foreign.body) == (unknown.status, unknown.body) == (404, foreign.body)
        assert (await server.request("DELETE", target, {**TUS, **anna})).status == 404
        for who, count in ((anna, 1), (bob, 0)):
            listed = await server.request("GET", "/api/uploads", who)
            assert len(json.loads(listed.body)["uploads"]) == count
        async with EventSource(server.port, "?type=upload.finished&after=0&access_token=annas-token") as source:
            assert (await source.next("upload.finished")).cloudevent["subject"] == upload_id(target)
        async with EventSource(server.port, "?after=0&access_token=bobs-token") as source:
            assert (await source.next()).event == "live"


async def test_over_http() -> None:
    async with listen(executed(PAGE, '"/hook"')["receiver"], lifespan=False) as port:
        kinds = ("pre-create", "pre-finish", "pre-terminate")
        tus = TusServer(settings(Path("uploads"), hook_url=f"http://127.0.0.1:{port}/hook", hook_kinds=kinds))
        async with served(tus) as server:
            nameless = await server.post({"Upload-Length": "3"})
            assert (nameless.status, nameless.body) == (422, b"refused: give the file a name\n")
            assert (await server.post({"Upload-Length": "10000001", **metadata(filename="a")})).status == 413
            target = await server.create(3, b"abc", metadata(filename="a")["Upload-Metadata"])
            assert (await tus.find(upload_id(target))).trusted_metadata == {"album": "summer"}
            empty = await server.post({"Upload-Length": "0", **metadata(filename="a")})
            assert (empty.status, empty.body) == (400, b"refused: it is empty\n")
            kept = await server.request("DELETE", target, TUS)
            assert (kept.status, kept.body) == (403, b"refused: files stay\n")
