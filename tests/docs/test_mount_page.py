"""docs/how-to/mount.md: the whole site inside an application."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.docs.pages import executed, served
from tests.support.streams import receive
from tests.web.served import upload_id

PAGE = "how-to/mount.md"


@pytest.mark.parametrize("prefix", ["", "/tus"])
async def test_events_and_the_api_are_there(prefix: str) -> None:
    example = executed(PAGE, 'app.mount("/", tus.app)')
    app, tus = example["app"], example["tus"]
    if prefix:
        app = FastAPI(lifespan=tus.lifespan)
        app.mount(prefix, tus.app)
    async with served(tus, app) as server:
        server.path = f"{prefix}/files/"
        target = await server.create(5, b"hello")
        assert target.startswith(f"{prefix}/files/")
        upload = upload_id(target)
        assert (await server.request("GET", f"{prefix}/api/uploads/{upload}")).status == 200
        assert (await server.request("GET", f"{prefix}/api/uploads")).status == 401
        address = f"ws://127.0.0.1:{server.port}{prefix}/ws?upload={upload}&after=0"
        async with connect(address, subprotocols=[Subprotocol("cloudevents.json")], proxy=None) as connection:
            assert (await receive(connection))["subject"] == upload
        if not prefix:
            assert (await server.request("GET", "/hello")).status == 200
