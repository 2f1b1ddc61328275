"""The description of the API against the API: every route, every status, every answer by its schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # typeshed keeps its types apart
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.asking import WITH_TOKEN, Api, Json, shown
from tests.api.conftest import ON_SQLITE
from tests.web.wire import Fields, Reply
from tuspy_server.web.api.endpoint import ApiEndpoint

pytestmark = ON_SQLITE
FILES = {
    "files": [{"name": "a", "length": 3, "type": "text/plain", "metadata": {"k": "v"}}, {"name": "b", "length": 0}]
}
NOBODY = "0" * 32


async def described(api: Api) -> Json:
    return await api.shown("/api/openapi.json")


def endpoint(api: Api) -> ApiEndpoint:
    parts = api.tus._parts
    assert parts is not None
    assert parts.api is not None
    return parts.api


class Judge:
    """Holds each answer against the description."""

    def __init__(self, description: Json) -> None:
        self._description = description
        self.seen: set[tuple[str, str, str]] = set()

    def judge(self, method: str, target: str, reply: Reply) -> None:
        path = self._path(target.partition("?")[0])
        operation = self._description["paths"][path][method.lower()]
        status = str(reply.status)
        assert status in operation["responses"], f"{method} {path} answers {status}, undescribed"
        self.seen.add((method, path, status))
        content = operation["responses"][status].get("content")
        if content is None:
            assert reply.body == b""
            return
        media_type = reply["Content-Type"].partition(";")[0]
        assert media_type in content
        if media_type.endswith("json"):
            schema = {**content[media_type]["schema"], "components": self._description["components"]}
            checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
            jsonschema.Draft202012Validator(schema, format_checker=checker).validate(shown(reply))

    def _path(self, path: str) -> str:
        exact = [name for name in self._description["paths"] if name == path]
        patterns = {name: re.sub(r"\{\w+\}", "[^/]+", name) for name in self._description["paths"]}
        found: str
        (found,) = exact or [name for name, pattern in patterns.items() if re.fullmatch(pattern, path)]
        return found


async def test_the_description_is_openapi(api: Api) -> None:
    description = await described(api)
    OpenAPIV31SpecValidator(description).validate()
    assert description["openapi"].startswith("3.1.")


async def test_every_route_is_described_and_nothing_else(api: Api) -> None:
    description = await described(api)
    served = {(route.method.lower(), route.path) for route in endpoint(api).routes}
    told = {(method, path) for path, item in description["paths"].items() for method in item}
    assert told == served
    operations = [item for path in description["paths"].values() for item in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)


async def test_no_answer_tells_what_no_client_may_see(api: Api) -> None:
    text = (await api.get("/api/openapi.json")).body.decode()
    for word in ("trusted", "tenant", "writer", "placement", "bucket"):
        assert word not in text.lower()


def requests(job: Json) -> Iterator[tuple[str, str, Fields, Any, int]]:
    """Method, target, fields, body, status."""
    upload_id = job["files"][0]["id"]
    progress = {"uploadId": upload_id, "bytesUploaded": 1}
    for path in ("/api/jobs", "/commands/upload-jobs"):
        yield "POST", path, {}, FILES, 201
        yield "POST", path, {}, b"{", 400
        yield "POST", path, {"Idempotency-Key": "short"}, FILES, 400
        yield "POST", path, {}, {"files": 1}, 422
        yield "POST", path, {"Content-Type": "text/plain"}, FILES, 415
        yield "POST", f"{path}?x=1", {}, FILES, 400
    for path in ("/api/jobs", "/queries/upload-jobs"):
        yield "GET", f"{path}/{job['id']}", {}, None, 200
        yield "GET", f"{path}/{job['id']}", {"If-None-Match": "*"}, None, 304
        yield "GET", f"{path}/{NOBODY}", {}, None, 404
        yield "GET", f"{path}/{job['id']}?limit=-1", {}, None, 400
    for path in ("/api/jobs", "/api/uploads", "/api/stats"):
        yield "GET", path, {}, None, 401
        yield "GET", path, WITH_TOKEN, None, 200
        yield "GET", path, {**WITH_TOKEN, "If-None-Match": "*"}, None, 304
        yield "GET", f"{path}?x=1", WITH_TOKEN, None, 400
    for path in ("/api/uploads", "/api/stats"):
        yield "GET", path, {**WITH_TOKEN, "Accept": "text/csv"}, None, 200
    yield "GET", f"/api/uploads/{upload_id}", {}, None, 200
    yield "GET", f"/api/uploads/{upload_id}", {"If-None-Match": "*"}, None, 304
    yield "GET", f"/api/uploads/{NOBODY}", {}, None, 404
    yield "POST", "/commands/upload/progress", {}, progress, 202
    yield "POST", "/commands/upload/progress", {}, {**progress, "uploadId": NOBODY}, 404
    yield "POST", "/commands/upload/progress", {}, {"uploadId": 1}, 422
    yield "POST", "/commands/upload/progress", {}, b"", 400
    yield "POST", "/commands/upload/progress", {"Content-Type": "text/plain"}, progress, 415
    yield "POST", "/commands/upload/progress", {}, b" " * 5000, 413
    yield "POST", f"/api/jobs/{job['id']}/files", {}, FILES, 201
    yield "POST", f"/api/jobs/{NOBODY}/files", {}, FILES, 404
    yield "POST", f"/api/jobs/{job['id']}/files", {}, {}, 422
    yield "POST", f"/api/jobs/{job['id']}/files", {}, b"[", 400
    yield "POST", f"/api/jobs/{job['id']}/files", {"Content-Type": "text/plain"}, FILES, 415
    yield "DELETE", f"/api/jobs/{job['id']}", {}, None, 200
    yield "DELETE", f"/api/jobs/{NOBODY}", {}, None, 404
    yield "POST", f"/api/jobs/{job['id']}/cancel", {}, None, 200
    yield "POST", f"/api/jobs/{NOBODY}/cancel", {}, None, 404
    yield "POST", f"/api/jobs/{job['id']}/files", {}, FILES, 409
    yield "GET", "/api/openapi.json", {}, None, 200
    yield "GET", "/api/openapi.json", {"If-None-Match": "*"}, None, 304


ELSEWHERE = {"403", "409", "413", "431", "500", "503", "4XX"}
"""Statuses that take a hook, a limit or trouble; their bodies are the same for all."""

SLOW = {("DELETE", "/api/jobs/{jobId}", "202"), ("POST", "/api/jobs/{jobId}/cancel", "202")}
"""Where files do not end soon."""


async def test_every_answer_is_as_described(api: Api) -> None:
    judge = Judge(await described(api))
    job = await api.make(3, 0)
    for method, target, fields, body, status in requests(job):
        if method == "POST" and body is not None:
            reply = await api.post(target, body, fields)
        else:
            reply = await api.served.request(method, target, fields)
        assert reply.status == status, f"{method} {target}: {reply.text}"
        judge.judge(method, target, reply)
    description = await described(api)
    told = {
        (method.upper(), path, status)
        for path, item in description["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
        if status not in ELSEWHERE
    }
    # Without a token nothing is missing but to those who name nothing; only queries that are known can be wrong.
    left = {(method, path, status) for method, path, status in told - judge.seen if status not in {"400", "401"}}
    assert left == SLOW


async def test_the_methods_of_every_path(api: Api) -> None:
    paths: dict[str, set[str]] = {}
    for route in endpoint(api).routes:
        paths.setdefault(re.sub(r"\{\w+\}", NOBODY, route.path), set()).update(route.methods)
    for path, methods in paths.items():
        asked = await api.served.request("OPTIONS", path)
        assert (asked.status, asked.members("Allow")) == (204, methods | {"OPTIONS"})
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - methods:
            reply = await api.served.request(method, path)
            assert (reply.status, reply.members("Allow")) == (405, methods | {"OPTIONS"})
            assert reply["Content-Type"] == "application/problem+json"
    for path in ("/api", "/api/", "/api/jobs/", "/api/jobs/a/b/c", "/commands", "/queries/upload-jobs", "/api//jobs"):
        reply = await api.get(path)
        assert (reply.status, shown(reply)["code"]) == (404, "not_found"), path


async def test_head_is_get_without_its_body(api: Api) -> None:
    job = await api.make(3)
    for target, fields in ((job["url"], {}), ("/api/stats", WITH_TOKEN), ("/api/openapi.json", {}), ("/api/stats", {})):
        got, looked = await api.get(target, fields), await api.served.request("HEAD", target, fields)
        assert (looked.status, looked.body) == (got.status, b"")
        for name in ("Content-Type", "Content-Length", "Cache-Control"):
            assert looked[name] == got[name]


async def test_browsers_may_ask(api: Api) -> None:
    """CORE-CORS-04: also for what has gone wrong."""
    origin = {"Origin": "https://app.example.org"}
    preflight = await api.served.request("OPTIONS", "/api/jobs", {**origin, "Access-Control-Request-Method": "POST"})
    assert {"Content-Type", "Authorization", "If-None-Match", "Idempotency-Key"} <= preflight.members(
        "Access-Control-Allow-Headers"
    )
    assert {"GET", "POST", "DELETE"} <= preflight.members("Access-Control-Allow-Methods")
    for target in ("/api/openapi.json", "/api/stats", "/api/nothing"):
        reply = await api.get(target, origin)
        assert reply["Access-Control-Allow-Origin"] == "*"
        assert {"ETag", "Location", "Next-Before"} <= reply.members("Access-Control-Expose-Headers")
    assert (await api.served.request("OPTIONS", "/api/nothing", origin)).status == 204
