"""The API below a prefix, behind proxies, and where the uploads are elsewhere: URLs lead to where they should."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.api.asking import Api, shown
from tests.api.conftest import ON_SQLITE, ServeApi
from tests.web.served import Served, listen, settings
from tuspy_server import TusServer


@pytest.mark.parametrize("path", ["/files/", "/up/load/"])
async def test_a_site_below_a_prefix(tmp_path: Path, path: str) -> None:
    tus = TusServer(settings(tmp_path / "data", path=path))
    host = Starlette(routes=[Mount("/inner", tus.app)], lifespan=tus.lifespan)
    async with AsyncExitStack() as stack:
        api = Api(Served(await stack.enter_async_context(listen(host)), tus))
        reply = await api.post("/inner/api/jobs", {"files": [{"name": "a", "length": 3}]})
        job = shown(reply)
        assert reply["Location"] == job["url"] == f"/inner/api/jobs/{job['id']}"
        (file,) = job["files"]
        assert file["url"] == f"/inner{path}{file['id']}"
        await api.send(file, b"abc")
        assert (await api.shown(job["url"]))["status"] == "COMPLETED"
        assert (await api.get("/api/jobs")).status == 404


@ON_SQLITE
async def test_urls_are_those_that_clients_see(serve_api: ServeApi) -> None:
    """X17: as `Location` of the uploads, and never what a stranger says."""
    evil = {"Host": "evil.example.net", "X-Forwarded-Host": "evil.example.net"}
    api = await serve_api()
    job = shown(await api.post("/api/jobs", {"files": [{"name": "a"}]}, evil))
    assert job["url"].startswith("/api/jobs/")
    assert job["files"][0]["url"].startswith("/files/")


@ON_SQLITE
async def test_the_public_url_comes_first(serve_api: ServeApi) -> None:
    api = await serve_api(public_url="https://up.example.org")
    job = await api.make(1)
    assert job["url"] == f"https://up.example.org/api/jobs/{job['id']}"
    assert job["files"][0]["url"] == f"https://up.example.org/files/{job['files'][0]['id']}"
