"""I11: JSON and base64 carry NUL, PostgreSQL's texts do not: whatever a client names, nothing fails behind it."""

from __future__ import annotations

import base64

from tests.api.asking import WITH_TOKEN, problem, shown
from tests.api.conftest import ServeApi
from tests.web.wire import TUS
from tuspy_server import TusServer
from tuspy_server.ports import StoredUpload
from tuspy_server.protocol.errors import Refused

NUL = "AGE="
"""NUL and a letter."""

LIKE_NUL = base64.b64encode(rb"\u0000" + b"\0\0\\").decode()


def refusing(tus: TusServer) -> None:
    @tus.pre_finish
    def refuse(stored: StoredUpload) -> None:
        raise Refused


async def test_no_id_has_it(serve_api: ServeApi) -> None:
    api = await serve_api(job_by_metadata=True)
    for name in ("\0", "a\0b", "ä", "../x"):
        asked = {"uploadId": name, "bytesUploaded": 1}
        assert problem(await api.post("/commands/upload/progress", asked)) == (404, "upload_not_found")
    reply = await api.served.post({**TUS, "Upload-Length": "1", "Upload-Metadata": f"job {NUL}"})
    assert reply.status == 404, reply.text


async def test_metadata_may_hold_it(serve_api: ServeApi) -> None:
    """One that failed would be in the way of all sums."""
    api = await serve_api(refusing)
    target = await api.served.create(1, metadata=f"filename {NUL},other {LIKE_NUL}")
    await api.served.patch(target, 0, b"x")
    sums = await api.shown("/api/stats", WITH_TOKEN)
    assert (sums["failedCount"], sums["errors"]) == (1, {"refused": 1})
    assert shown(await api.get("/api/uploads", WITH_TOKEN))["uploads"][0]["name"] == "\0a"
    assert (await api.get("/api/uploads?format=csv", WITH_TOKEN)).status == 200
