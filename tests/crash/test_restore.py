"""The database is not the one that belongs to the files: an older copy, an empty or damaged one, somebody else's."""

from __future__ import annotations

import asyncio
import http.client
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest

from tests.docs.pages import DOCS, served
from tests.support.cli import run
from tests.support.client import TusUpload, make_bytes, request, sha256
from tests.support.fixtures import MakeServer
from tests.support.process import ServerProcess
from tests.web.served import settings, upload_id
from tuspy_server import Settings, TusServer
from tuspy_server.cli.trouble import reason

CONTENT = make_bytes(100_000, seed=9)
OTHER = make_bytes(100_000, seed=90)


def new_expiry(tool: str) -> str:
    """The statement of docs/how-to/backup.md that gives unfinished uploads new time, for `sqlite3` or `psql`."""
    page = (DOCS / "how-to" / "backup.md").read_text("utf-8")
    found = re.search(rf'^ *\$ {tool} [^\n]*?"(UPDATE uploads [^"]+)"', page, re.MULTILINE)
    assert found is not None
    return found[1]


def begun(server: ServerProcess, count: int) -> TusUpload:
    upload = TusUpload.create(server.url, len(CONTENT))
    assert upload.patch(CONTENT[:count]).status == 204
    return upload


def query(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def finished_events(server: ServerProcess, upload: TusUpload) -> list[Any]:
    found = query(server.data / "tuspy.sqlite3", "SELECT id, type, upload_id FROM events")
    return [event_id for event_id, kind, upload_id in found if (kind, upload_id) == ("upload.finished", upload.id)]


def first_event(server: ServerProcess, cursor: str) -> str:
    """What a stream says first to a reader who has come as far as `cursor`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", "/events", headers={"Last-Event-ID": cursor})
        answer = connection.getresponse()
        while line := answer.readline():
            if line.startswith(b"event:"):
                return line.decode().partition(":")[2].strip()
        raise AssertionError("the stream ended")
    finally:
        connection.close()


def test_an_older_database_offers_no_byte_that_is_not_there(make_server: MakeServer, tmp_path: Path) -> None:
    """D09 (I2, I3, I6): offsets fall to those of the copy, `check` says so, nothing is mixed, and the same finish is
    the same event. What expired meanwhile can be given time."""
    server = make_server(api_open=True).start()
    path = server.data / "tuspy.sqlite3"
    further, done, gone, expired = (begun(server, 1000) for _ in range(4))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "copy")) as copy:
        source.backup(copy)
    assert further.patch(CONTENT[1000:5000]).status == 204
    done.finish(CONTENT)
    assert gone.delete() == 204
    late = TusUpload.create(server.url, len(CONTENT), body=CONTENT)
    assert server.terminate() == 0
    events_before = finished_events(server, done)
    ((position, event_id),) = query(path, "SELECT position, id FROM events ORDER BY position DESC LIMIT 1")

    shutil.copy(tmp_path / "copy", path)
    query(path, f"UPDATE uploads SET expires_at = 1 WHERE id = '{expired.id}'")
    query(path, new_expiry("sqlite3"))
    said = run(tmp_path, "check", "--data", str(server.data), "--port", "0").stdout
    assert f"1 uploads ({gone.id}) count bytes that are not there" in said
    assert f"1 uploads ({late.id}) have a file and no row" in said
    assert "2 uploads" in said
    assert "have more bytes than their row counts (1 of them all)" in said

    server.start()
    assert first_event(server, f"{position}-{event_id[:8]}") == "gap"
    for upload in (further, done, expired):
        upload.acknowledged = 0  # the one thing that may take an offset back
        assert upload.head() == 1000
    assert further.patch(CONTENT[5000:], 5000).status == 409
    mixed = CONTENT[:1000] + OTHER[1000:]
    further.finish(mixed)
    assert sha256(further.download()) == sha256(mixed)
    for upload in (done, expired):
        upload.finish(CONTENT)
        assert sha256(upload.download()) == sha256(CONTENT)
    assert gone.patch(CONTENT[1000:]).status == 410
    assert request("HEAD", gone.url).status == 410
    assert request("HEAD", late.url).status == 404
    assert server.file_of(late.id).read_bytes() == CONTENT, "left for the operator"
    assert finished_events(server, done) == events_before


async def test_unfinished_uploads_are_given_time_on_postgres(postgres_dsn: str, tmp_path: Path) -> None:
    """D09: by the statement of the page, those alone that would expire."""
    async with served(TusServer(settings(tmp_path, database_url=postgres_dsn))) as server:
        upload = upload_id(await server.create(5))
        connection = await asyncpg.connect(postgres_dsn)
        try:
            await connection.execute("UPDATE uploads SET expires_at = now() - interval '1 day'")
            assert await connection.execute(new_expiry("psql")) == "UPDATE 1"
            left = await connection.fetchval("SELECT expires_at - now() FROM uploads WHERE id = $1", upload)
            assert timedelta(days=6) < left <= timedelta(days=7)
        finally:
            await connection.close()


# --- databases that cannot be served ---------------------------------------------------------------------------------


def _other_program(path: Path, statement: str) -> None:
    path.unlink()
    query(path, statement)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "the database knows none"),
    "empty": (lambda path: path.write_bytes(b""), "the database knows none"),
    "a new one": (lambda path: query(path, "DELETE FROM uploads"), "the database knows none"),
    "garbage": (lambda path: path.write_bytes(OTHER), "file is not a database: {path}; restore it"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:6000]), "malformed: {path}; restore it"),
    "of another program": (
        lambda path: _other_program(path, "CREATE TABLE uploads (name)"),
        "{path} is a database of another program",
    ),
    "of another program with versions": (
        lambda path: _other_program(path, "PRAGMA user_version = 7"),
        "{path} is a database of another program",
    ),
    "a folder": (_a_folder, "unable to open database file: {path}"),
}


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one upload, of a server that has stopped."""
    server = ServerProcess(tmp_path_factory.mktemp("whole"))
    try:
        server.start()
        TusUpload.create(server.url, len(CONTENT), body=CONTENT)
        assert server.terminate() == 0
    finally:
        server.close()
    return server.data


async def try_to_start(data: Path) -> str:
    """The reason why it does not."""
    tus = TusServer(Settings(data=data))
    try:
        await tus.start()
    except Exception as error:  # whatever hinders it
        return reason(error)
    await tus.stop()
    raise AssertionError("it has started")


@pytest.mark.parametrize("name", UNUSABLE)
async def test_a_database_that_is_the_wrong_one_is_not_served(whole_folder: Path, tmp_path: Path, name: str) -> None:
    """D08, D09: to serve on would tell every client to begin anew. Put right, it is served as it was."""
    data = tmp_path / "data"
    shutil.copytree(whole_folder, data)
    path = data / "tuspy.sqlite3"
    spoil, text = UNUSABLE[name]
    await asyncio.to_thread(spoil, path)
    assert text.format(path=path) in await try_to_start(data)
    if path.is_dir():
        path.rmdir()
    shutil.copy(whole_folder / "tuspy.sqlite3", path)
    (upload_id,) = (file.name for file in (data / "files").iterdir())
    tus = TusServer(Settings(data=data))
    async with tus.lifespan():
        assert (await tus.find(upload_id)).upload_offset == len(CONTENT)


async def test_a_log_whose_database_is_away_is_kept(whole_folder: Path, tmp_path: Path) -> None:
    """D09 (I1): SQLite would delete it, and with it every row that it has not yet copied over."""
    data = tmp_path / "data"
    shutil.copytree(whole_folder, data)
    (data / "tuspy.sqlite3").unlink()
    log = data / "tuspy.sqlite3-wal"
    log.write_bytes(OTHER)
    assert "is there without the database" in await try_to_start(data)
    assert log.read_bytes() == OTHER


@pytest.mark.parametrize("durability", ["process", "disk"])
async def test_files_that_nothing_synced_hinder_no_start(
    tmp_path: Path, durability: Literal["process", "disk"]
) -> None:
    """With `durability = "process"` a power cut may take the rows alone. Folders are nobody's upload."""
    data = tmp_path / "data"
    (data / "files" / "moved_away").mkdir(parents=True)
    if durability == "process":
        (data / "files" / ("0" * 32)).write_bytes(b"abc")
    tus = TusServer(Settings(data=data, durability=durability))
    async with tus.lifespan():
        await tus.check()
