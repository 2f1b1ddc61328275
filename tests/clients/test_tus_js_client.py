"""tus-js-client 4 in Node against the real server: what most users of tus upload with."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.clients import tus_js
from tests.support.client import make_bytes, request, sha256
from tests.support.fixtures import MakeServer
from tests.support.process import MEBIBYTE, ServerProcess, wait_for

LENGTH = 20 * MEBIBYTE
CHUNK = 3 * MEBIBYTE


@pytest.fixture(scope="module")
def content() -> bytes:
    return make_bytes(LENGTH, seed=20)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> Path:
    path = tmp_path_factory.mktemp("content") / "twenty.bin"
    path.write_bytes(content)
    return path


def download(url: str) -> str:
    answer = request("GET", url, tus=False)
    assert answer.status == 200, answer
    return sha256(answer.body)


def methods(run: tus_js.Run) -> list[str]:
    return [event["method"] for event in run.of("answer")]


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        ({}, ["POST", "PATCH"]),
        ({"chunkSize": CHUNK}, ["POST", *["PATCH"] * 7]),
        ({"as": "file"}, ["POST", "PATCH"]),
        ({"uploadDataDuringCreation": True}, ["POST"]),
        ({"uploadDataDuringCreation": True, "chunkSize": CHUNK}, ["POST", *["PATCH"] * 6]),
        ({"overridePatchMethod": True, "chunkSize": CHUNK}, ["POST", *["POST"] * 7]),
        ({"addRequestId": True}, ["POST", "PATCH"]),
    ],
    ids=["whole", "chunks", "file", "creation", "creation-chunks", "override", "request-id"],
)
def test_twenty_megabytes(
    server: ServerProcess, file: Path, content: bytes, options: dict[str, Any], requests: list[str]
) -> None:
    """I2, with no request more than the client needs."""
    run = tus_js.run({"endpoint": server.url, "file": str(file), **options})
    assert methods(run) == requests
    assert download(run.url) == sha256(content)


def test_a_stream_of_unknown_length(server: ServerProcess, file: Path, content: bytes) -> None:
    """CREA-DEFER: the length is declared by the last PATCH."""
    options = {"as": "stream", "uploadLengthDeferred": True, "chunkSize": CHUNK}
    run = tus_js.run({"endpoint": server.url, "file": str(file), **options})
    assert run.of("chunk")[0]["total"] is None
    assert download(run.url) == sha256(content)


@pytest.mark.parametrize("by", ["findPreviousUploads", "uploadUrl"])
def test_an_aborted_upload_is_resumed_by_another_process(
    server: ServerProcess, file: Path, content: bytes, tmp_path: Path, by: str
) -> None:
    """I1, I4: the second run begins with a HEAD and sends what is missing."""
    common = {"endpoint": server.url, "file": str(file), "chunkSize": CHUNK, "storage": str(tmp_path / "urls.json")}
    aborted = tus_js.run({**common, "abortAt": 2 * CHUNK})
    accepted = aborted.of("chunk")[-1]["accepted"]
    assert 2 * CHUNK <= accepted < LENGTH
    resumed = tus_js.run(
        {**common, **({"resume": True} if by == "findPreviousUploads" else {"uploadUrl": aborted.url})}
    )
    assert methods(resumed)[0] == "HEAD"
    assert "POST" not in methods(resumed)
    assert resumed.of("chunk")[0]["accepted"] > accepted
    assert resumed.url == aborted.url
    assert download(resumed.url) == sha256(content)


def test_a_termination_leaves_nothing(make_server: MakeServer, file: Path) -> None:
    """TERM, I8."""
    server = make_server().start()
    before = server.files
    run = tus_js.run(
        {"endpoint": server.url, "file": str(file), "chunkSize": CHUNK, "abortAt": CHUNK, "terminate": True}
    )
    assert request("HEAD", run.url).status == 410
    wait_for(lambda: server.files == before, "nothing is left")


def test_metadata_in_every_script(server: ServerProcess, file: Path) -> None:
    """CREA-META: HEAD gives back what the client sent; a download is called by its file name."""
    metadata = {"filename": "søkn 概要 🎈.pdf", "filetype": "application/pdf", "empty": ""}
    run = tus_js.run({"endpoint": server.url, "file": str(file), "metadata": metadata})
    pairs = (pair.split(" ") for pair in request("HEAD", run.url).fields["upload-metadata"].split(","))
    assert {key: base64.b64decode(value[0]).decode() if value else "" for key, *value in pairs} == metadata
    disposition = request("HEAD", run.url, tus=False).fields["content-disposition"]
    assert "filename*=UTF-8''s%C3%B8kn%20%E6%A6%82%E8%A6%81%20%F0%9F%8E%88.pdf" in disposition


@pytest.mark.parametrize("options", [{}, {"uploadDataDuringCreation": True}], ids=["plain", "creation"])
def test_zero_bytes(server: ServerProcess, tmp_path: Path, options: dict[str, Any]) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    run = tus_js.run({"endpoint": server.url, "file": str(empty), **options})
    assert download(run.url) == sha256(b"")


def test_ten_uploads_at_once(server: ServerProcess, file: Path, content: bytes) -> None:
    run = tus_js.run({"endpoint": server.url, "file": str(file), "copies": 10, "chunkSize": CHUNK})
    urls = {event["url"] for event in run.of("success")}
    assert len(urls) == 10
    assert {download(url) for url in urls} == {sha256(content)}


@pytest.mark.parametrize("chunk_size", [None, CHUNK], ids=["whole", "chunks"])
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_restart_in_the_middle_is_ridden_out(
    make_server: MakeServer, file: Path, content: bytes, how: str, chunk_size: int | None
) -> None:
    """C01, C10 (I1, I2, I12): the client retries by itself, goes on where the server is, and never begins anew."""
    server = make_server(commit_interval_seconds=0.05).start()
    options: dict[str, Any] = {"as": "slow", "pauseMs": 5, "retryDelays": [200] * 60}
    if chunk_size is not None:
        options["chunkSize"] = chunk_size
    with tus_js.start({"endpoint": server.url, "file": str(file), **options}) as run:
        for event in run.follow():
            if event["event"] == "progress" and event["sent"] >= LENGTH // 3:
                break
        if how == "kill":
            server.kill()
        else:
            assert server.terminate() == 0
        server.start()
        run.finish()
    assert methods(run).count("POST") == 1
    assert "HEAD" in methods(run), "the body was not interrupted"
    assert download(run.url) == sha256(content)
