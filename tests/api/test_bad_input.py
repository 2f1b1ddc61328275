"""I11: what is wrong gets a 4xx that says where, and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.asking import JSON, WITH_TOKEN, Api, pointers, problem, shown
from tests.api.conftest import ON_SQLITE, ServeApi
from tests.web.wire import Wire, chunked, head

pytestmark = ON_SQLITE
GOOD = {"name": "good", "length": 1}
MOST_FILES = 20


@pytest.fixture
async def api(serve_api: ServeApi) -> Api:
    return await serve_api(job_most_files=MOST_FILES, max_size=1000, max_metadata_bytes=500)


async def number(api: Api) -> None:
    """What the relay would still write."""
    parts = api.tus._parts
    assert parts is not None
    await parts.stores.outbox.relay(100)


def file(**changes: Any) -> dict[str, Any]:
    """A job whose second file is bad."""
    return {"files": [GOOD, {**GOOD, **changes}, GOOD]}


BODIES: list[tuple[object, int, str, list[str]]] = [
    (b"", 400, "invalid_json", []),
    (b"{", 400, "invalid_json", []),
    (b"\xff\xfe", 400, "invalid_json", []),
    (b'{"files": [{"name": "\xc3\x28"}]}', 400, "invalid_json", []),
    (b'{"files": [{"name": "\\ud800"}]}', 400, "invalid_json", []),
    (b'{"files": []} x', 400, "invalid_json", []),
    (b"[" * 5000, 400, "invalid_json", []),
    (b'{"files": [{"name": "a", "length": 01}]}', 400, "invalid_json", []),
    (b'{"files": [{"name": "a", "length": NaN}]}', 422, "invalid_request", ["/files/0/length"]),
    (b'{"files": [{"name": "a", "length": Infinity}]}', 422, "invalid_request", ["/files/0/length"]),
    (b"null", 422, "invalid_request", [""]),
    (b"[]", 422, "invalid_request", [""]),
    ({}, 422, "invalid_request", ["/files"]),
    ({"files": None}, 422, "invalid_request", ["/files"]),
    ({"files": {}}, 422, "invalid_request", ["/files"]),
    ({"files": [None]}, 422, "invalid_request", ["/files/0"]),
    ({"files": [], "secret-member": 1}, 422, "invalid_request", [""]),
    ({"files": [GOOD] * (MOST_FILES + 1)}, 422, "invalid_request", []),
    ({"files": [{}]}, 422, "invalid_request", ["/files/0/name"]),
    ({str(number): 1 for number in range(1000)}, 422, "invalid_request", [""]),
    (file(**{"a/b~c": 1}), 422, "invalid_request", ["/files/1"]),
    (file(name=""), 422, "invalid_request", ["/files/1/name"]),
    (file(name=None), 422, "invalid_request", ["/files/1/name"]),
    (file(name=["a"]), 422, "invalid_request", ["/files/1/name"]),
    (file(name="x" * 1025), 422, "invalid_request", ["/files/1/name"]),
    (file(name="€" * 400), 422, "invalid_request", ["/files/1/name"]),
    (file(name="x" * 400), 422, "invalid_request", ["/files/1/metadata"]),
    (file(length=-1), 422, "invalid_request", ["/files/1/length"]),
    (file(length=1.5), 422, "invalid_request", ["/files/1/length"]),
    (file(length=1.0), 422, "invalid_request", ["/files/1/length"]),
    (file(length="1"), 422, "invalid_request", ["/files/1/length"]),
    (file(length=True), 422, "invalid_request", ["/files/1/length"]),
    (file(length=2**63), 422, "invalid_request", ["/files/1/length"]),
    (file(length=10**400), 422, "invalid_request", ["/files/1/length"]),
    (file(length=1001), 413, "upload_too_large", ["/files/1/length"]),
    (file(type=""), 422, "invalid_request", ["/files/1/type"]),
    (file(type="x" * 256), 422, "invalid_request", ["/files/1/type"]),
    (file(type=1), 422, "invalid_request", ["/files/1/type"]),
    (file(metadata=[]), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"k": 1}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"k": None}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"": "v"}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"a b": "v"}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"a,b": "v"}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"\u00e9": "v"}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"a\r\nb": "v"}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"filename": "v"}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={str(number): 1 for number in range(1000)}), 422, "invalid_request", ["/files/1/metadata"]),
    (file(metadata={"k": "x" * 500}), 422, "invalid_request", ["/files/1/metadata"]),
    (b'{"files": [' + b" " * 100_000 + b"]}", 413, "body_too_large", []),
]


@pytest.mark.parametrize(("body", "status", "code", "where"), BODIES, ids=[str(index) for index in range(len(BODIES))])
async def test_a_bad_body_makes_nothing(api: Api, body: object, status: int, code: str, where: list[str]) -> None:
    job = await api.make(1)
    await number(api)
    before = api.served.snapshot()
    for target in ("/api/jobs", "/commands/upload-jobs", f"{job['url']}/files"):
        reply = await api.post(target, body)
        assert (problem(reply), pointers(reply)) == ((status, code), where), reply.text
        assert "secret-member" not in reply.text
    assert api.served.snapshot() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json-seq"},
        {"Content-Type": ""},
    ],
)
async def test_only_json_is_read(api: Api, fields: dict[str, str]) -> None:
    """X07, X21: what a form can send, from any site, is not even parsed."""
    before = api.served.snapshot()
    assert problem(await api.post("/api/jobs", {"files": [GOOD]}, fields)) == (415, "not_json")
    assert api.served.snapshot() == before


QUERIES = [
    ("/api/jobs/{}?limit=1001", "limit"),
    ("/api/jobs/{}?limit=x", "limit"),
    ("/api/jobs/{}?after=-1", "after"),
    ("/api/jobs/{}?after=1&after=2", "after"),
    ("/api/jobs/{}?x=1", "query"),
    ("/api/jobs?limit=0", "limit"),
    ("/api/jobs?before=x", "before"),
    ("/api/uploads?status=DONE", "status"),
    ("/api/uploads?status=completed", "status"),
    ("/api/uploads?job=", "job"),
    ("/api/uploads?job=a%00b", "job"),
    ("/api/uploads?createdFrom=yesterday", "createdFrom"),
    ("/api/uploads?createdBefore=2026-01-01T00:00:00", "createdBefore"),
    ("/api/uploads?format=xml", "format"),
    ("/api/stats?limit=5", "query"),
    ("/api/stats?%ff=5", "query"),
]


@pytest.mark.parametrize(("target", "name"), QUERIES)
async def test_a_bad_query_is_named(api: Api, target: str, name: str) -> None:
    job = await api.make(1)
    reply = await api.get(target.format(job["id"]), WITH_TOKEN)
    assert problem(reply) == (400, "invalid_parameter")
    assert shown(reply)["detail"].startswith(f"{name}: ")


async def test_a_body_that_is_too_long_is_not_waited_for(api: Api) -> None:
    """I10: announced or not."""
    wire = await Wire.connect(api.served.port)
    await wire.send(head("POST", "/api/jobs", {**JSON, "Content-Length": str(1 << 40)}))
    assert problem(await wire.receive()) == (413, "body_too_large")
    await wire.close()
    wire = await Wire.connect(api.served.port)
    await wire.send(head("POST", "/api/jobs", {**JSON, "Transfer-Encoding": "chunked"}))
    await wire.send(chunked(*(b" " * 50_000 for _ in range(4))))
    assert problem(await wire.receive()) == (413, "body_too_large")
    await wire.close()


async def test_a_body_in_chunks_is_a_body(api: Api) -> None:
    wire = await Wire.connect(api.served.port)
    body = json.dumps({"files": [GOOD]}).encode()
    await wire.send(head("POST", "/api/jobs", {**JSON, "Transfer-Encoding": "chunked"}))
    await wire.send(chunked(*(body[place : place + 3] for place in range(0, len(body), 3))))
    assert (await wire.receive()).status == 201
    await wire.close()


async def test_a_body_that_stalls_is_given_up(serve_api: ServeApi) -> None:
    """I12."""
    api = await serve_api(body_idle_seconds=0.1)
    wire = await Wire.connect(api.served.port)
    await wire.send(head("POST", "/api/jobs", {**JSON, "Content-Length": "100"}) + b'{"files":')
    assert problem(await wire.receive()) == (503, "body_stalled")
    await wire.close()


async def test_a_name_may_be_anything_but_nothing(api: Api) -> None:
    """X02, X03: names are metadata, never a path or a header."""
    names = [
        "../../etc/passwd",
        "a\r\nSet-Cookie: x",
        "\0",
        "\u202e\u2066gpj.exe",
        "C:\\con",
        "\U0001f4a9",
        " ",
        "a,b c",
    ]
    reply = await api.post("/api/jobs", {"files": [{"name": name, "length": 0} for name in names]})
    assert reply.status == 201
    job = await api.job(shown(reply))
    assert [file["name"] for file in job["files"]] == names
    assert {file["status"] for file in job["files"]} == {"COMPLETED"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=30) | VALUES,
        "length": st.integers(-2, 2000) | VALUES,
        "type": st.text(max_size=20) | VALUES,
        "metadata": st.dictionaries(st.text(max_size=10), st.text(max_size=20) | VALUES, max_size=4) | VALUES,
    },
)
ASKED = st.fixed_dictionaries({"files": st.lists(NEARLY, max_size=4)}) | VALUES


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_is_sent_is_made_as_a_whole_or_not_at_all(api: Api, data: st.DataObject) -> None:
    body: Any = data.draw(ASKED)
    before = (await api.shown("/api/stats", WITH_TOKEN))["totalCount"]
    reply = await api.post("/api/jobs", json.dumps(body).encode())
    after = (await api.shown("/api/stats", WITH_TOKEN))["totalCount"]
    if reply.status == 201:
        files = shown(reply)["files"]
        assert after - before == len(files) == len(body["files"])
        for asked, made in zip(body["files"], files, strict=True):
            assert made["name"] == asked["name"]
            assert made["length"] == asked.get("length")
            assert (asked.get("metadata") or {}).items() <= made["metadata"].items()
    else:
        assert problem(reply)[0] in {400, 413, 422}
        assert after == before
