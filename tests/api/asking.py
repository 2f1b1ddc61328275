"""The API as its clients ask it: JSON in, JSON out, on a connection of its own each time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from tests.web.served import Served
from tests.web.wire import BODY, Fields, Reply

Json: TypeAlias = dict[str, Any]
JSON = {"Content-Type": "application/json"}
TOKEN = "a-token-of-the-tests"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


class Api:
    """One server's API."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.tus = served.tus

    async def get(self, target: str, fields: Fields = ()) -> Reply:
        return await self.served.request("GET", target, fields)

    async def post(self, target: str, body: object, fields: Fields = ()) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.served.request("POST", target, {**JSON, **dict(fields)}, content)

    async def delete(self, target: str, fields: Fields = ()) -> Reply:
        return await self.served.request("DELETE", target, fields)

    async def shown(self, target: str, fields: Fields = ()) -> Json:
        """What a GET shows, which must succeed."""
        reply = await self.get(target, fields)
        assert (reply.status, reply["Content-Type"]) == (200, "application/json"), reply.text
        return shown(reply)

    async def make(self, *lengths: int | None, fields: Fields = ()) -> Json:
        """A job of files with these lengths."""
        files = [{"name": f"file-{number}", "length": length} for number, length in enumerate(lengths, 1)]
        reply = await self.post("/api/jobs", {"files": files}, fields)
        assert reply.status == 201, reply.text
        return shown(reply)

    async def send(self, file: Json, content: bytes, offset: int = 0) -> None:
        """Bytes for a file of a job."""
        reply = await self.served.patch(file["url"], offset, content)
        assert reply.status == 204, reply.text

    async def job(self, job: Json, query: str = "") -> Json:
        return await self.shown(f"/api/jobs/{job['id']}{query}")

    async def statuses(self, job: Json) -> list[str]:
        return [file["status"] for file in (await self.job(job))["files"]]


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Wait for a condition that has no event of its own; a deadline, not a guess, ends it."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.01)


def shown(reply: Reply) -> Json:
    found: Json = json.loads(reply.body)
    return found


def problem(reply: Reply) -> tuple[int, str]:
    """Status and code of a problem, which must be told as RFC 9457 has it."""
    assert reply["Content-Type"] == "application/problem+json", reply.text
    body = shown(reply)
    assert body["status"] == reply.status
    assert {"type", "title", "detail", "code"} <= set(body)
    return reply.status, body["code"]


def pointers(reply: Reply) -> list[str]:
    return [error["pointer"] for error in shown(reply).get("errors", [])]


__all__ = ["BODY", "JSON", "TOKEN", "WITH_TOKEN", "Api", "Json", "pointers", "problem", "shown", "until"]
