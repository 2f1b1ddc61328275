"""PostgreSQL fails, through the whole server: HEAD says 423, never 5xx, POST and PATCH 503; then all goes on."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final

import asyncpg
import pytest

from tests.production_crash.production import Node, Production, environment_seed, persevere
from tests.stores.postgres.proxy import EXECUTED, PostgresProxy
from tests.support.client import Answer, OpenPatch, TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE, wait_for
from trial.postgres import PostgresServer, Stop

SEED: Final = environment_seed("DATABASE_SEED", 9)
CONTENT: Final = make_bytes(12 * MEBIBYTE, seed=SEED)
SMALL: Final = CONTENT[: 256 << 10]


@contextmanager
def in_a_thread(dsn: str) -> Iterator[PostgresProxy]:
    """The proxy, in a loop of its own. What a test sets in it is seen by the next message."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = PostgresProxy(dsn)
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def proxy(production: Production) -> Iterator[PostgresProxy]:
    with in_a_thread(production.dsn) as proxy:
        yield proxy
        production.close()


def unencrypted(proxy: PostgresProxy) -> str:
    """The proxy reads what is said, so nobody asks it for TLS."""
    return f"{proxy.dsn}?sslmode=disable"


@contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Nobody else reads or writes a row meanwhile."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(dsn))
    loop.run_until_complete(connection.execute("BEGIN; LOCK TABLE uploads IN ACCESS EXCLUSIVE MODE"))
    try:
        yield
    finally:
        loop.run_until_complete(connection.execute("ROLLBACK"))
        loop.run_until_complete(connection.close())
        loop.close()


def patched(upload: TusUpload, content: bytes) -> Answer:
    return upload.patch(content[upload.acknowledged :])


def assert_told_to_come_again(node: Node, upload: TusUpload, content: bytes) -> None:
    with ThreadPoolExecutor() as threads:
        head = threads.submit(request, "HEAD", upload.url)
        patch = threads.submit(patched, upload, content)
        post = threads.submit(request, "POST", node.url, {"Upload-Length": "5"})
    assert head.result().status == 423, head.result()
    for answer in (patch.result(), post.result()):
        assert answer.status == 503, answer
        assert "retry-after" in answer.fields
    assert "retry-after" in head.result().fields


def assert_whole(production: Production, *uploads: TusUpload, content: bytes) -> None:
    for upload in uploads:
        assert sha256(upload.download()) == sha256(content)
    production.assert_finished_once(*uploads)


@pytest.mark.long
def test_connections_killed_in_the_commit(production: Production, proxy: PostgresProxy) -> None:
    """B01, B02 (I3, I6, I12): what a statement did is not heard, again and again; its outcome is found in the row."""
    chance = random.Random(SEED)
    # A lease whose answer is lost hides its events for the time of a hook and half a minute.
    settings = {"database_url": unencrypted(proxy), "database_seconds": 5, "hook_seconds": 1}
    node = production.node(commit_interval_seconds=0.02, **settings).start()
    ended = threading.Event()
    cuts = 0

    def cut() -> None:
        nonlocal cuts
        while not ended.wait(chance.uniform(0.05, 0.25)):
            cuts += not proxy.cut_at
            proxy.cut_at = EXECUTED

    with ThreadPoolExecutor() as threads:
        cutting = threads.submit(cut)
        try:
            uploads = []
            for _ in range(8):
                answer = request("POST", node.url, {"Upload-Length": str(len(SMALL))})
                assert answer.status in (201, 503), answer
                if answer.status == 201:
                    uploads.append(TusUpload(f"{node.url}{answer.fields['location'].rpartition('/')[2]}"))
            for number, upload in enumerate(uploads):
                print(persevere(upload, SMALL, chunk=chance.choice((1 << 30, 70_001)) if number else 70_001))
        finally:
            ended.set()
            cutting.result()
    proxy.cut_at = frozenset()
    assert uploads
    print(f"{cuts} cuts")
    assert cuts > 1
    wait_for(lambda: {upload.id for upload in uploads} <= set(production.finished_events()), "all events arrive", 60)
    assert_whole(production, *uploads, content=SMALL)


def test_backends_killed(production: Production) -> None:
    """B01 (I3, I12): by the database's own administrator."""
    node = production.node(commit_interval_seconds=0.02).start()
    upload = TusUpload.create(node.url, len(CONTENT))
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.05):
            production.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with ThreadPoolExecutor() as threads:
        killing = threads.submit(kill)
        try:
            print(persevere(upload, CONTENT, chunk=MEBIBYTE))
        finally:
            ended.set()
            killing.result()
    assert_whole(production, upload, content=CONTENT)
    production.assert_nothing_left()


@pytest.mark.parametrize("mode", [pytest.param(Stop.FAST, marks=pytest.mark.long), Stop.IMMEDIATE])
def test_the_database_restarts_under_an_upload(
    production: Production, postgres_server: PostgresServer, mode: Stop
) -> None:
    """B03 (I1, I12): the body that is coming, and one that comes while it is away."""
    node = production.node(database_seconds=2, commit_interval_seconds=0.05).start()
    running = TusUpload.create(node.url, len(CONTENT))
    idle = TusUpload.create(node.url, len(SMALL), body=SMALL[:1000])
    with OpenPatch(running, len(CONTENT)) as patch:
        patch.send(CONTENT[: 6 * MEBIBYTE])
        wait_for(lambda: running.head() == 6 * MEBIBYTE, "it has arrived")
        postgres_server.stop(mode)
        try:
            assert_told_to_come_again(node, idle, SMALL)
            patch.send(CONTENT[6 * MEBIBYTE : 11 * MEBIBYTE])
        finally:
            postgres_server.start()
        patch.send(CONTENT[11 * MEBIBYTE :])
        answer = patch.answer()
        assert answer is not None
        assert answer.status in (204, 423, 503), answer
    print(answer.status, persevere(running, CONTENT), persevere(idle, SMALL))
    assert_whole(production, running, content=CONTENT)
    assert_whole(production, idle, content=SMALL)
    production.assert_nothing_left()


def test_a_database_that_says_nothing_any_more(production: Production, proxy: PostgresProxy) -> None:
    """B04 (I10, I12): deadlines end the calls; when it speaks again there is nothing to restart."""
    node = production.node(database_url=unencrypted(proxy), database_seconds=1.5).start()
    upload = TusUpload.create(node.url, len(SMALL), body=SMALL[:1000])
    proxy.silent = True
    assert_told_to_come_again(node, upload, SMALL)
    assert_told_to_come_again(node, upload, SMALL)
    proxy.silent = False
    print(persevere(upload, SMALL))
    assert_whole(production, upload, content=SMALL)


@pytest.mark.long
def test_two_hundred_slow_patches_hold_no_connection(production: Production) -> None:
    """B05 (I12): with a pool of two."""
    node = production.node(database_connections=2).start()
    with ExitStack() as stack:
        uploads = []
        for _ in range(200):
            upload = TusUpload.create(node.url, len(SMALL))
            stack.enter_context(OpenPatch(upload, len(SMALL))).send(SMALL[:10])
            uploads.append(upload)
        wait_for(lambda: len(production.sql("SELECT FROM uploads WHERE writer IS NOT NULL")) == 200, "all are claimed")
        assert [upload.head() for upload in uploads[:10]] == [10] * 10
        quick = TusUpload.create(node.url, len(SMALL))
        quick.finish(SMALL)
        assert_whole(production, quick, content=SMALL)


def test_a_pool_that_is_exhausted(production: Production) -> None:
    """B05 (I12): every call waits for its deadline, and none of them for ever."""
    node = production.node(database_connections=2, database_seconds=1.5).start()
    uploads = [TusUpload.create(node.url, len(SMALL), body=SMALL[:1000]) for _ in range(8)]
    with locked(production.dsn), ThreadPoolExecutor() as threads:
        list(threads.map(lambda upload: assert_told_to_come_again(node, upload, SMALL), uploads[:4]))
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda upload: persevere(upload, SMALL), uploads))
    assert_whole(production, *uploads, content=SMALL)
    production.assert_nothing_left()


def test_behind_a_pooler_nodes_hear_each_other(production: Production, pooled_dsn: str) -> None:
    """B07 (I4, I5): transaction mode, and LISTEN past it. HEAD on B is answered with what A holds."""
    settings = {
        "database_url": pooled_dsn,
        "database_listen_url": production.dsn,
        "database_pooling": "transaction",
        "head_wait_seconds": 10,
    }
    first, second = production.node(**settings), production.node(**settings)
    first.launch()
    second.start()
    first.wait_ready()
    upload = TusUpload.create(first.url, len(CONTENT))
    there = production.on(second, upload)
    with OpenPatch(upload, len(CONTENT)) as patch:
        patch.send(CONTENT[:12345])
        wait_for(lambda: there.head() == 12345, "B gives what A holds")
        began = time.monotonic()
        assert there.head() == 12345
        print(f"asked in {time.monotonic() - began:.3f} s")
        while there.acknowledged < len(CONTENT):
            assert there.patch(CONTENT[there.acknowledged :][: 3 * MEBIBYTE + 1]).status == 204
    assert_whole(production, there, content=CONTENT)
    doomed = TusUpload.create(first.url, len(CONTENT), body=CONTENT[:1000])
    assert production.on(second, doomed).delete() == 204
    assert request("HEAD", doomed.url).status == 410
    production.assert_nothing_left()


def test_nodes_that_start_at_once_on_an_empty_database(production: Production) -> None:
    """C14 (I12): one makes the tables, and the others wait for it."""
    nodes = [production.node() for _ in range(3)]
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_ready()
    upload = TusUpload.create(nodes[0].url, len(SMALL))
    production.on(nodes[2], upload).finish(SMALL)
    assert_whole(production, production.on(nodes[1], upload), content=SMALL)
