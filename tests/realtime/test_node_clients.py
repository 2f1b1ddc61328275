"""A job of a hundred files, uploaded by tus-js-client to two nodes in turn, and followed by the clients that browsers
have: EventSource, WebSocket and @stomp/stompjs. Each sees every state, once and in order, also where its node goes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.production.fixtures import MakeNode
from tests.support.fixtures import need

FOLDER: Final = Path(__file__).parent / "node"
ON_RCLONE = pytest.mark.parametrize("gateway", ["rclone"], indirect=True)


@contextmanager
def run(script: str, options: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    node = shutil.which("node")
    if node is None:
        need("node")
    if not (FOLDER / "node_modules").exists():
        need(f"`npm ci` in {FOLDER}, which `make test` does")
    with subprocess.Popen(
        [node, script, json.dumps(options)], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def check(seen: list[dict[str, Any]], uploads: list[str]) -> None:
    """Every state of every upload, once, in the order of each."""
    assert {reader["name"] for reader in seen} == {"eventsource", "websocket", "stomp"}
    for reader in seen:
        wanted = [f"{kind} {upload}" for upload in uploads for kind in ("upload.created", "upload.finished")]
        assert Counter(reader["states"]) == Counter(wanted), reader["name"]
        for upload in uploads:
            ends = [state.split()[0] for state in reader["states"] if state.endswith(upload)]
            assert ends == ["upload.created", "upload.finished"]
        assert reader["gaps"] == 0


@ON_RCLONE
def test_each_client_sees_every_state_of_a_job(make_node: MakeNode) -> None:
    """N10, I6."""
    nodes = [make_node(), make_node()]
    for node in nodes:
        node.start()
    origins = [node.origin for node in nodes]
    with run("follow.mjs", {"origins": origins, "files": 100, "bytes": 60_000}) as process:
        events = list(said(process))
        assert process.wait(30) == 0, events[-3:]
    (live,) = (event for event in events if event["event"] == "live")
    seen = [event for event in events if event["event"] == "seen"]
    check(seen, live["uploads"])
    assert all(reader["opened"] == 1 for reader in seen)
    assert not [event for event in events if event["event"] == "refused"]


@ON_RCLONE
@pytest.mark.long
@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_each_client_comes_back_when_its_node_goes(make_node: MakeNode, how: str) -> None:
    """N10, C10: the node that all of them follow is restarted in the middle, twice."""
    nodes = [make_node(), make_node()]
    for node in nodes:
        node.start()
    origins = [node.origin for node in nodes]
    options = {"origins": origins, "files": 40, "bytes": 300_000, "atOnce": 4, "pauseMs": 50}
    events: list[dict[str, Any]] = []
    with run("follow.mjs", options) as process:
        for event in said(process):
            events.append(event)
            if event["event"] == "uploaded" and event["uploaded"] in (10, 20):
                if how == "kill":
                    nodes[1].kill()
                else:
                    assert nodes[1].terminate() == 0
                nodes[1].start()
        assert process.wait(30) == 0, events[-3:]
    (live,) = (event for event in events if event["event"] == "live")
    seen = [event for event in events if event["event"] == "seen"]
    check(seen, live["uploads"])
    assert all(reader["opened"] >= 2 for reader in seen)
