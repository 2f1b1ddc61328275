"""The layer's faults over HTTP, for tests whose servers are processes: JSON in, JSON out, on a port of its own."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from aiohttp import web

from tests.support.strict_s3 import faults
from tests.support.strict_s3.faults import Fault, Hold
from tests.support.strict_s3.operations import Call
from tests.support.strict_s3.plan import Planned
from tests.support.strict_s3.server import StrictS3

FAULTS: Final[dict[str, type[Fault]]] = {
    name: kind for name, kind in vars(faults).items() if isinstance(kind, type) and issubclass(kind, Fault)
}


class Control:
    """Serves one layer's plan."""

    def __init__(self, strict: StrictS3, port: int) -> None:
        self._strict = strict
        self._port = port
        self._planned: list[Planned] = []
        self._web = web.Server(self._handle, access_log=None)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._web, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await self._web.shutdown(1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        words = await request.json() if request.can_read_body else {}
        try:
            return web.json_response(await self._do(request.path.removeprefix("/"), words))
        except Exception as error:
            return web.json_response({"error": repr(error)}, status=500)

    async def _do(self, verb: str, words: dict[str, Any]) -> object:
        strict = self._strict
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "called": lambda: strict.called(**words),
            "reached": lambda: self._hold(words).reached(words["seconds"]),
            "done": lambda: self._hold(words).done(words["seconds"]),
        }
        if verb in waits:
            return await waits[verb]()
        acts: dict[str, Callable[[], object]] = {
            "state": self._state,
            "fail": lambda: self._fail(**words),
            "release": lambda: self._hold(words).release(),
            "heal": strict.heal,
            "reap": strict.multiparts.reap,
            "expire_multiparts_after": lambda: strict.expire_multiparts_after(**words),
            "rules": lambda: self._change_rules(words),
        }
        if verb not in acts:
            raise ValueError(f"no {verb}")
        return acts[verb]()

    def _change_rules(self, words: dict[str, Any]) -> None:
        for name, value in words.items():
            if not hasattr(self._strict.rules, name):
                raise ValueError(f"no rule {name}")
            setattr(self._strict.rules, name, value)

    def _state(self) -> object:
        return {
            "calls": dict(self._strict.calls),
            "log": [dataclasses.asdict(row) for row in self._strict.log],
            "under_way": self._strict.under_way,
            "multiparts": self._strict.multiparts.keys,
            "planned": [{"seen": planned.seen, "hits": planned.hits} for planned in self._planned],
        }

    def _fail(self, operation: str, nth: int, times: int | None, key_prefix: str, fault: dict[str, Any]) -> int:
        made = FAULTS[fault.pop("name")](**fault)
        self._planned.append(
            self._strict.fail(operation, nth=nth, times=times, when=_with_prefix(key_prefix), with_=made)
        )
        return len(self._planned) - 1

    def _hold(self, words: dict[str, Any]) -> Hold:
        fault = self._planned[words["planned"]].fault
        if not isinstance(fault, Hold):
            raise TypeError(f"{fault} holds nothing")
        return fault


def _with_prefix(prefix: str) -> Callable[[Call], bool]:
    return lambda call: call.key.startswith(prefix)
