"""The whole site: what operators and load balancers ask, request ids, metrics and logs."""

from __future__ import annotations

import base64
import re

import pytest
from structlog.typing import EventDict

from tests.web.conftest import Serve
from tests.web.served import Served
from tests.web.wire import BODY, TUS, Wire


async def test_the_server_is_alive_and_ready(server: Served) -> None:
    for path in ("/livez", "/readyz"):
        reply = await server.request("GET", path)
        assert (reply.status, reply.body, reply["Cache-Control"]) == (200, b"ok\n", "no-store")
        assert (await server.request("HEAD", path)).status == 200


async def test_the_front_page_says_where_uploads_go(serve: Serve) -> None:
    server = await serve(path="/up/load/")
    assert b"/up/load/" in (await server.request("GET", "/")).body
    assert (await server.request("POST", "/up/load", {**TUS, "Upload-Length": "5"})).status == 201
    assert (await server.request("POST", "/up/loads", {**TUS, "Upload-Length": "5"})).status == 404


@pytest.mark.parametrize("path", ["/livez/", "/metrics/", "/nothing", "/files.txt", "//evil.example.net/"])
async def test_nothing_redirects(server: Served, path: str) -> None:
    """X17: a redirect would name whatever host the request names; the answer says the right path."""
    reply = await server.request("GET", path, {"Host": "evil.example.net"})
    assert (reply.status, reply.body) == (404, b"Not Found: tuspy-server takes tus uploads at /files/\n")
    assert "Location" not in reply


async def test_every_answer_has_an_id(server: Served) -> None:
    first, second = await server.post({}), await server.post({})
    assert re.fullmatch("[0-9a-f]{16}", first["X-Request-ID"])
    assert first["X-Request-ID"] != second["X-Request-ID"]
    assert (await server.post({"X-Request-ID": "proxy-7.a_B"}))["X-Request-ID"] == "proxy-7.a_B"


@pytest.mark.parametrize("sent", ["a b", "<script>", "x" * 65, "", 'a"b', "\xe9", "a,b"])
async def test_an_id_that_could_harm_a_log_is_replaced(server: Served, sent: str) -> None:
    """X19."""
    lines = [*TUS.items(), ("X-Request-ID", sent)]
    assert re.fullmatch("[0-9a-f]{16}", (await server.request("OPTIONS", "/files/", lines))["X-Request-ID"])


METRICS = {
    "tuspy_uploads": "gauge",
    "tuspy_received_bytes_total": "counter",
    "tuspy_request_duration_seconds": "histogram",
    "tuspy_requests_in_flight": "gauge",
    "tuspy_commit_duration_seconds": "histogram",
    "tuspy_sweeps_total": "counter",
    "tuspy_swept_expired_uploads_total": "counter",
    "tuspy_swept_cleaned_uploads_total": "counter",
    "tuspy_swept_purged_rows_total": "counter",
    "tuspy_pool_used_bytes": "gauge",
    "tuspy_streams": "gauge",
    "tuspy_deliveries": "gauge",
    "tuspy_relay_lag_seconds": "gauge",
}
"""The names that dashboards are made of: with their units, as Prometheus wants them."""


async def metrics(server: Served) -> dict[str, float]:
    reply = await server.request("GET", "/metrics")
    assert reply.status == 200
    lines = [line for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_metrics_keep_their_names_and_kinds(server: Served) -> None:
    reply = await server.request("GET", "/metrics")
    assert reply["Content-Type"].startswith("text/plain; version=0.0.4")
    kinds = dict(line.split()[2:4] for line in reply.body.decode().splitlines() if line.startswith("# TYPE"))
    # `_created` series say when a counter began.
    assert {name: kind for name, kind in kinds.items() if not name.endswith("_created")} == METRICS


async def test_metrics_count_what_happens(server: Served) -> None:
    target = await server.create(10, b"hello")
    await server.create(5, b"hello")
    assert (await server.patch(target, 0, b"x")).status == 409
    seen = await metrics(server)
    assert seen['tuspy_uploads{status="uploading"}'] == 1
    assert seen['tuspy_uploads{status="finished"}'] == 1
    assert seen['tuspy_uploads{status="expired"}'] == 0
    assert seen["tuspy_received_bytes_total"] == 10
    assert seen['tuspy_request_duration_seconds_count{method="POST",status="201"}'] == 2
    assert seen['tuspy_request_duration_seconds_count{method="PATCH",status="409"}'] == 1
    assert seen["tuspy_commit_duration_seconds_count"] == 2
    assert seen["tuspy_requests_in_flight"] == 0
    assert seen["tuspy_pool_used_bytes"] == 0
    assert seen['tuspy_deliveries{status="waiting"}'] == seen['tuspy_deliveries{status="dead"}'] == 0


async def test_clients_cannot_make_labels(server: Served) -> None:
    """I10: made-up methods, paths and ids leave one series."""
    before = await metrics(server)
    for method in ("PROPFIND", "MKCOL", "TRACE", "REPORT", "SEARCH"):
        assert (await server.request(method, f"/files/{method}", TUS)).status == 405
    added = set(await metrics(server)) - set(before)
    assert {name for name in added if "_count{" in name} == {
        'tuspy_request_duration_seconds_count{method="other",status="405"}'
    }


SECRET = "hunter2"


async def test_logs_tell_what_happened_and_nothing_that_was_sent(server: Served, logs: list[EventDict]) -> None:
    """X19: no token, no path, no metadata, no query."""
    evil = base64.b64encode(f"{SECRET}\r\n{{}}".encode()).decode()
    fields = {"Authorization": f"Bearer {SECRET}", "Cookie": f"a={SECRET}", "X-Request-ID": "request-1"}
    reply = await server.post(
        {"Upload-Length": "10", "Upload-Metadata": f"{SECRET} {evil}", **BODY, **fields}, b"hello"
    )
    target = reply["Location"]
    await server.request("PATCH", f"{target}?token={SECRET}", {**BODY, "Upload-Offset": "5", **fields}, b"world")
    await server.request("GET", f"/files/%1b%0a{SECRET}", fields)
    await server.request("POST", "/files/", {**TUS, "Upload-Length": SECRET, **fields})
    names = [entry["event"] for entry in logs if entry["event"] != "request.finished"]
    assert names == ["upload.created", "upload.append.finished", "upload.append.finished"]
    ended = [(entry["method"], entry["status"]) for entry in logs if entry["event"] == "request.finished"]
    assert ended == [("POST", 201), ("PATCH", 204), ("GET", 404), ("POST", 400)]
    assert {entry["request_id"] for entry in logs} == {"request-1"}
    assert SECRET not in repr(logs)
    assert evil not in repr(logs)


async def test_a_client_that_leaves_in_its_body_is_499_in_the_log(server: Served, logs: list[EventDict]) -> None:
    target = await server.create(10)
    wire = await Wire.connect(server.port)
    await wire.send(
        f"PATCH {target} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 10\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\nhello".encode()
    )
    while await server.offset(target) < 5:
        pass
    await wire.close()
    while not [entry for entry in logs if entry.get("status") == 499]:
        await server.offset(target)
    ended = next(entry for entry in logs if entry["event"] == "upload.append.ended")
    assert (ended["reason"], ended["received_bytes"], ended["upload_offset"]) == ("ClientDisconnected", 5, 5)
