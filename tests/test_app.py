"""`TusServer`: its life with and without a host, and what an application can do with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.web.served import Served, listen, settings, upload_id
from tests.web.wire import TUS
from tuspy_server import Event, Settings, TusServer, Upload, UploadGone, UploadNotFound, UploadStatus
from tuspy_server.protocol.errors import BytesMissing, Draining, NotFinished

UNKNOWN = "0" * 32


@asynccontextmanager
async def served(tus: TusServer) -> AsyncIterator[Served]:
    """The uploads alone, at the root, by a host that runs no lifespan."""
    async with listen(tus, lifespan=False) as port:
        yield Served(port, tus, "/")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    tus = TusServer(settings(tmp_path))
    async with tus.lifespan(), served(tus) as running:
        yield running


# --- life ------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_only_made_touches_nothing(tmp_path: Path) -> None:
    """So that an application may make it where it is imported."""
    TusServer(settings(tmp_path / "data"))
    assert list(tmp_path.iterdir()) == []


async def test_the_lifespan_composes_with_the_hosts_own(tmp_path: Path) -> None:
    tus = TusServer(settings(tmp_path))
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with tus.lifespan():
            seen.append("started")
            await tus.check()
            yield
        seen.append("stopped")

    host = Starlette(routes=[Mount("/files", tus)], lifespan=lifespan)
    async with listen(host) as port:
        assert (await Served(port, tus).post({"Upload-Length": "5"})).status == 201
    assert seen == ["started", "stopped"]
    with pytest.raises(Draining):
        await tus.find(UNKNOWN)


async def test_the_lifespan_can_be_the_hosts(tmp_path: Path) -> None:
    tus = TusServer(settings(tmp_path))
    async with listen(Starlette(routes=[Mount("/files", tus)], lifespan=tus.lifespan)) as port:
        assert (tmp_path / "tuspy.sqlite3").exists()
        assert (tmp_path / "files").stat().st_mode & 0o077 == 0, "names there are capabilities (I9)"
        assert (await Served(port, tus).post({"Upload-Length": "5"})).status == 201


async def test_without_a_lifespan_the_first_requests_start_it_once(tmp_path: Path) -> None:
    """A mounted app's lifespan is not run by its host; and first requests come several at once."""
    tus = TusServer(settings(tmp_path))
    async with served(tus) as server:
        replies = await asyncio.gather(*(server.post({"Upload-Length": "5"}) for _ in range(8)))
        assert [reply.status for reply in replies] == [201] * 8
    await tus.stop()


async def test_a_lookup_of_the_application_starts_it_too(tmp_path: Path) -> None:
    tus = TusServer(settings(tmp_path))
    with pytest.raises(UploadNotFound):
        await tus.find(UNKNOWN)
    await tus.stop()


async def test_start_and_stop_may_be_called_twice(tmp_path: Path) -> None:
    tus = TusServer(settings(tmp_path))
    await tus.stop()
    await tus.start()
    await tus.start()
    await tus.check()
    await tus.stop()
    await tus.stop()


async def test_a_stopped_server_stays_so_until_it_is_started_again(tmp_path: Path) -> None:
    """No late request may open the stores behind the back of a host that has closed them."""
    tus = TusServer(settings(tmp_path))
    async with tus.lifespan(), served(tus) as server:
        target = await server.create(10, b"hello")
    async with served(tus) as server:
        assert (await server.look(target)).status == 423
        await tus.start()
        assert await server.offset(target) == 5
    await tus.stop()


async def test_a_restart_keeps_every_upload(tmp_path: Path) -> None:
    """I1: by another `TusServer` on the same folder."""
    async with served(first := TusServer(settings(tmp_path))) as server:
        unfinished, done = await server.create(10, b"hello"), await server.create(5, b"whole")
    await first.stop()
    async with served(second := TusServer(settings(tmp_path))) as server:
        assert await server.offset(unfinished) == 5
        assert (await server.patch(unfinished, 5, b"world")).status == 204
        assert await server.content(unfinished) == b"helloworld"
        assert (await server.request("GET", done)).body == b"whole"
    await second.stop()


async def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """It names the way to more than one process; and the first one goes on."""
    first, second = TusServer(settings(tmp_path)), TusServer(settings(tmp_path))
    async with first.lifespan():
        with pytest.raises(
            OSError, match=r"another tuspy-server process uses the data folder .* PostgreSQL is the way to"
        ):
            await second.start()
        await first.check()
    async with second.lifespan():
        await second.check()


async def test_several_servers_live_in_one_process(tmp_path: Path) -> None:
    """Each on its folder, with its own hooks, limits and metrics."""
    large = TusServer(settings(tmp_path / "large"))
    small = TusServer(settings(tmp_path / "small", max_size=5))
    host = Starlette(routes=[Mount("/large", large), Mount("/small", small)])
    async with large.lifespan(), small.lifespan(), listen(host, lifespan=False) as port:
        one, other = Served(port, large, "/large/"), Served(port, small, "/small/")
        target = await one.create(10, b"hello")
        assert (await other.post({"Upload-Length": "10"})).status == 413
        assert (await other.look(target.replace("large", "small"))).status == 404
        assert b'tuspy_uploads{status="uploading"} 1.0' in await large.render_metrics()
        assert b'tuspy_uploads{status="uploading"} 0.0' in await small.render_metrics()


async def test_the_server_as_an_applications_root_runs_its_own_lifespan(tmp_path: Path) -> None:
    """`uvicorn module:tus`."""
    tus = TusServer(settings(tmp_path))
    async with listen(tus) as port:
        assert (tmp_path / "tuspy.sqlite3").exists()
        assert (await Served(port, tus, "/").post({"Upload-Length": "5"})).status == 201


def test_settings_default_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSPY_MAX_SIZE", "5MB")
    assert TusServer().settings.max_size == 5_000_000
    assert TusServer(Settings(max_size=7)).settings.max_size == 7


# --- hooks -----------------------------------------------------------------------------------------------------------


class Seen:
    """Events that hooks were called with, and a way to wait for them."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    async def next(self) -> Event:
        async with asyncio.timeout(20):
            return await self.events.get()


async def test_a_hook_is_called_for_its_events(server: Served) -> None:
    seen = Seen()

    @server.tus.on("upload.finished")
    async def finished(event: Event) -> None:
        await seen.events.put(event)

    await server.create(10, b"hello", metadata="filename YS50eHQ=")
    target = await server.create(5, b"hello", metadata="filename YS50eHQ=")
    event = await seen.next()
    assert (event.type, event.upload_id) == ("upload.finished", upload_id(target))
    assert event.data["metadata"] == {"filename": "a.txt"}
    assert event.data["upload_length"] == 5
    assert seen.events.empty()


async def test_a_plain_function_is_called_too_and_without_types_for_all(server: Served) -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()

    @server.tus.on()
    def everything(event: Event) -> None:
        loop.call_soon_threadsafe(seen.events.put_nowait, event)

    target = await server.create(5, b"hello")
    assert (await server.request("DELETE", target, TUS)).status == 204
    assert [(await seen.next()).type for _ in range(3)] == ["upload.created", "upload.finished", "upload.terminated"]


async def test_a_hook_that_fails_is_called_again_with_the_same_event(server: Served) -> None:
    seen = Seen()

    @server.tus.on("upload.finished")
    async def flaky(event: Event) -> None:
        await seen.events.put(event)
        if seen.events.qsize() == 1:
            raise RuntimeError("not yet")

    await server.create(5, b"hello")
    while seen.events.qsize() < 2:
        await server.offset(await server.create(10))
    assert await seen.next() == await seen.next()


async def test_events_of_an_earlier_life_reach_a_hook(tmp_path: Path) -> None:
    """I6: what a hook had not done when its server stopped is delivered after it starts."""
    first, began = TusServer(settings(tmp_path)), asyncio.Event()

    async def hang(event: Event) -> None:
        began.set()
        await asyncio.Event().wait()

    first.on("upload.finished", name="late")(hang)
    async with served(first) as server:
        target = await server.create(5, b"hello")
        async with asyncio.timeout(10):
            await began.wait()
    await first.stop()
    second, seen = TusServer(settings(tmp_path)), Seen()
    second.on("upload.finished", name="late")(seen.events.put)
    async with second.lifespan():
        assert (await seen.next()).upload_id == upload_id(target)


def test_hooks_that_cannot_be_are_refused(tmp_path: Path) -> None:
    tus = TusServer(settings(tmp_path))
    with pytest.raises(ValueError, match=r"upload\.done"):
        tus.on("upload.done")
    tus.on(name="one")(print)
    with pytest.raises(ValueError, match="a hook named one exists"):
        tus.on(name="one")(print)


# --- lookups ---------------------------------------------------------------------------------------------------------


async def read(tus: TusServer, identity: str, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([block async for block in tus.read(identity, start, stop)])


async def test_an_application_finds_reads_and_removes_uploads(server: Served) -> None:
    tus, identity = server.tus, upload_id(await server.create(10, b"helloworld", metadata="a YQ=="))
    upload = await tus.find(identity)
    assert isinstance(upload, Upload)
    assert (upload.status, upload.upload_offset, upload.upload_metadata) == (UploadStatus.FINISHED, 10, "a YQ==")
    assert await read(tus, identity) == b"helloworld"
    assert [await read(tus, identity, 2, 5), await read(tus, identity, 8, 99)] == [b"llo", b"ld"]
    assert await read(tus, identity, 10) == b""
    path = await tus.path(identity)
    assert path is not None
    assert await asyncio.to_thread(path.read_bytes) == b"helloworld"
    await tus.terminate(identity)
    assert not await asyncio.to_thread(path.exists)
    with pytest.raises(UploadGone):
        await tus.terminate(identity)
    with pytest.raises(NotFinished):
        await read(tus, identity)


async def test_an_unfinished_upload_is_not_read(server: Served) -> None:
    with pytest.raises(NotFinished):
        await read(server.tus, upload_id(await server.create(10, b"hello")))


async def test_bytes_that_the_disk_has_lost_are_an_error(server: Served) -> None:
    identity = upload_id(await server.create(5, b"hello"))
    path = await server.tus.path(identity)
    assert path is not None
    await asyncio.to_thread(path.unlink)
    with pytest.raises(BytesMissing):
        await read(server.tus, identity)


@pytest.mark.parametrize("identity", [UNKNOWN, "../../etc/passwd", "/etc/passwd", "", "\x00", "a\nb"])
async def test_no_made_up_id_is_found_or_becomes_a_path(server: Served, identity: str) -> None:
    """X01: applications hand on what a request names."""
    with pytest.raises(UploadNotFound):
        await server.tus.find(identity)
    with pytest.raises(UploadNotFound):
        await server.tus.path(identity)
    with pytest.raises(UploadNotFound):
        await read(server.tus, identity)
    with pytest.raises(UploadNotFound):
        await server.tus.terminate(identity)
