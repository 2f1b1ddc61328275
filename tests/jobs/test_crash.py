"""A job whose server dies in the middle of what it has begun is brought to its end by the next one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crash.failpoint_server import FAILPOINT_SERVER, FAILPOINT_VARIABLE
from tests.support.client import CONNECTION_LOST, Answer, request
from tests.support.events import EVENTS_VARIABLE, finished_event_ids
from tests.support.fixtures import MakeServer, make_server
from tests.support.process import ServerProcess, wait_for

__all__ = ["make_server"]

SWEEP_SECONDS = 0.2


def ask(server: ServerProcess, method: str, path: str, body: object = None) -> Answer | None:
    """None where the server died of it."""
    content = None if body is None else json.dumps(body).encode()
    try:
        return request(method, f"{server.origin}{path}", {"Content-Type": "application/json"}, content, tus=False)
    except CONNECTION_LOST:
        return None


def the_job(server: ServerProcess) -> dict[str, Any]:
    """The only one."""
    listed = ask(server, "GET", "/api/jobs")
    assert listed is not None
    (job,) = json.loads(listed.body)["jobs"]
    found = ask(server, "GET", f"/api/jobs/{job['id']}")
    assert found is not None
    shown: dict[str, Any] = json.loads(found.body)
    return shown


@pytest.mark.parametrize("point", ["claim:before:1", "claim:after:2", "finish:before:1", "finish:after:2"])
def test_files_without_bytes_are_finished_after_a_crash(make_server: MakeServer, point: str) -> None:
    """C07, I6: their maker never heard of them, and their events come all the same."""
    server = make_server(program=FAILPOINT_SERVER, sweep_interval_seconds=SWEEP_SECONDS, api_open=True)
    events = server.folder / "events"
    server.start(**{FAILPOINT_VARIABLE: point, EVENTS_VARIABLE: str(events)})
    files = [{"name": f"empty-{number}", "length": 0} for number in range(5)] + [{"name": "other", "length": 3}]
    assert ask(server, "POST", "/api/jobs", {"files": files}) is None
    server.wait_exit()
    server.start(**{EVENTS_VARIABLE: str(events)})
    wait_for(lambda: the_job(server)["completedCount"] == 5, "the files without bytes are finished")
    wait_for(lambda: len(finished_event_ids(events)) == 5, "their events are delivered")
    job = the_job(server)
    assert [file["status"] for file in job["files"]] == ["COMPLETED"] * 5 + ["QUEUED"]
    assert all(len(ids) == 1 for ids in finished_event_ids(events).values())


@pytest.mark.parametrize("point", ["end:before:1", "end:after:1", "end:before:7"])
def test_a_job_is_cancelled_to_its_end_after_a_crash(make_server: MakeServer, point: str) -> None:
    """I12."""
    server = make_server(program=FAILPOINT_SERVER, sweep_interval_seconds=SWEEP_SECONDS, api_open=True)
    events = {EVENTS_VARIABLE: str(server.folder / "events")}
    server.start(**{FAILPOINT_VARIABLE: point}, **events)
    files = [{"name": f"file-{number}", "length": 5} for number in range(10)]
    made = ask(server, "POST", "/api/jobs", {"files": files})
    assert made is not None
    assert made.status == 201
    assert ask(server, "DELETE", f"/api/jobs/{json.loads(made.body)['id']}") is None
    server.wait_exit()
    server.start(**events)
    wait_for(lambda: the_job(server)["cancelledCount"] == 10, "all files are ended")
    assert the_job(server)["status"] == "CANCELLED"
