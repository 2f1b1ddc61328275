"""The bench in its short form: each shape is driven, checked and counted; no second is looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import book
from bench.book import Book
from bench.goals import s3_budget, s3_counted
from bench.method import wanted
from bench.s3_servers import OURS_S3, TUS_NODE_S3, find
from bench.s3_shapes import shapes
from bench.servers import OURS, SINK
from bench.shapes import Shape

REPOSITORY = Path(__file__).parents[2]
QUICK = shapes("quick")
RUN_SECONDS = 300
OF_S3 = ("s3-one", "s3-small", "s3-creation", "s3-hundred", "s3-chunks", "s3-head")


def run_quick(folder: Path, servers: str, *flags: str) -> Book:
    command = [sys.executable, "-m", "bench", "--quick", "--servers", servers, "--keep", str(folder / "kept"), *flags]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return book.load(folder / "kept")


def check_counts(made: Book, server: str, name: str) -> None:
    shape = shape_of(name)
    sample = made[shape.part].of(server, name)[0]
    assert sample.body_bytes == shape.body_bytes
    if shape.seconds:
        assert sample.requests > shape.requests, "a probe asks beside the uploads"
    else:
        assert sample.requests == shape.requests
    assert sample.reconnects == 0


def shape_of(name: str) -> Shape:
    return next(shape for shape in QUICK if shape.name == name)


def skip_unless_found(server: str) -> None:
    found, missing = find(None)
    if server not in [row.name for row in found]:
        pytest.skip("; ".join(reason for reason in missing if reason.startswith(server)))


def test_a_bare_upload_is_counted_to_the_byte(tmp_path: Path) -> None:
    """Ours and the ceiling, one shape of each kind: requests and bytes are what the shape says."""
    names = ("one", "small", "creation", "head")
    made = run_quick(tmp_path, f"{OURS},{SINK}", "--shapes", ",".join(names), "--folder", str(tmp_path))
    assert not made["files"].refusals
    for server in (OURS, SINK):
        for name in names:
            check_counts(made, server, name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"], "its data is gone"


@pytest.mark.long
def test_patches_into_a_filled_table_are_counted(tmp_path: Path) -> None:
    """As many rows as the shape says are there before (goal 8), and the load is the same as without."""
    servers = [server.name for server in find(None)[0] if server.name in (OURS, OURS_S3)]
    made = run_quick(tmp_path, ",".join(servers), "--only", "rows")
    assert not made["rows"].refusals
    for server in servers:
        for name in ("rows-none", "rows-many"):
            check_counts(made, server, name)


@pytest.mark.long
def test_ours_calls_s3_as_often_as_the_architecture_says(tmp_path: Path) -> None:
    """Goal 4: calls and bytes at the S3 endpoint, exactly; nothing is read back. tests/production/test_counts.py counts
    the same by other means, in `make test`, too."""
    assert OURS_S3 in [server.name for server in find(None)[0]]
    made = run_quick(tmp_path, OURS_S3, "--shapes", ",".join(OF_S3))
    assert not made["s3"].refusals
    for name in OF_S3:
        check_counts(made, OURS_S3, name)
        assert s3_counted(made["s3"], shape_of(name)) == {(*s3_budget(shape_of(name)), 0)}, name


@pytest.mark.long
@pytest.mark.timeout(RUN_SECONDS + 20)
def test_the_peer_on_s3_is_counted(tmp_path: Path) -> None:
    """What @tus/server asks of S3 is what its source says: the sink understands it."""
    skip_unless_found(TUS_NODE_S3)
    made = run_quick(tmp_path, TUS_NODE_S3, "--only", "s3")
    assert not made["s3"].refusals
    for name in OF_S3:
        check_counts(made, TUS_NODE_S3, name)
    assert made["s3"].of(TUS_NODE_S3, "s3-small")[0].s3_calls == 10 * shape_of("s3-small").uploads
    one = made["s3"].of(TUS_NODE_S3, "s3-hundred")[0]
    assert (one.s3_calls, one.s3_bytes[0] // shape_of("s3-hundred").upload_bytes) == (3 + 9, 1)


@pytest.mark.long
@pytest.mark.timeout(RUN_SECONDS + 20)
def test_every_shape_is_counted_on_every_server_that_is_here(tmp_path: Path) -> None:
    """Each shape on ours, in all variants, and on the peers; what cannot be had is left out."""
    found, _ = find(None)
    found = [server for server in found if server.store == "files"]
    made = run_quick(tmp_path, ",".join(server.name for server in found))
    assert not [row for results in made.values() for row in results.refusals]
    for server in found:
        for shape in QUICK:
            if wanted(server, shape):
                check_counts(made, server.name, shape.name)
    for shape in QUICK:
        if shape.name != "slow" and shape.part in ("files", "load", "growth"):
            # How often a body under way is committed is a matter of time.
            sample = made[shape.part].of(OURS, shape.name)[0]
            assert sample.commits is not None
            assert sample.commits >= (0 if shape.heads else shape.requests - shape.uploads), "a commit for each body"
