"""The bench in its short form: each shape is driven, checked and counted; no second is looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.results import Results
from bench.servers import OURS, SINK, TUS_NODE, TUSPYSERVER, find
from bench.shapes import shapes

REPOSITORY = Path(__file__).parents[2]
QUICK = shapes("quick")
RUN_SECONDS = 300


def run_quick(folder: Path, servers: str, *flags: str) -> Results:
    command = [sys.executable, "-m", "bench", "--quick", "--servers", servers, "--folder", str(folder), *flags]
    kept = folder / "results.json"
    done = subprocess.run(
        [*command, "--json", str(kept)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Results.load(kept)


def check_counts(results: Results, server: str, name: str) -> None:
    shape = next(shape for shape in QUICK if shape.name == name)
    sample = results.of(server, name)[0]
    assert sample.body_bytes == shape.body_bytes
    if shape.seconds:
        assert sample.requests > shape.requests, "a probe asks beside the uploads"
    else:
        assert sample.requests == shape.requests
    assert sample.reconnects == 0


def test_a_bare_upload_is_counted_to_the_byte(tmp_path: Path) -> None:
    """Ours and the ceiling, one shape of each kind: requests and bytes are what the shape says."""
    names = ("one", "small", "creation", "head")
    results = run_quick(tmp_path, f"{OURS},{SINK}", "--shapes", ",".join(names))
    assert not results.refusals
    for server in (OURS, SINK):
        for name in names:
            check_counts(results, server, name)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"], "its data is gone"


@pytest.mark.long
@pytest.mark.timeout(RUN_SECONDS + 20)
def test_every_shape_is_counted_on_every_server_that_is_here(tmp_path: Path) -> None:
    """Each shape on ours, in all variants, and on the peers; what cannot be had is left out."""
    found, _ = find(None)
    results = run_quick(tmp_path, ",".join(server.name for server in found))
    assert not results.refusals
    for server in found:
        for shape in QUICK:
            if shape.group == "shapes" or server.name in (OURS, TUS_NODE, TUSPYSERVER):
                check_counts(results, server.name, shape.name)
    for shape in QUICK:
        if shape.name != "slow":  # how often a body under way is committed is a matter of time
            sample = results.of(OURS, shape.name)[0]
            assert sample.commits is not None
            assert sample.commits >= (0 if shape.heads else shape.requests - shape.uploads), "a commit for each body"
