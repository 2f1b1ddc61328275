"""tuspy (the `tusclient` package) against the real server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage
from tusclient.storage.interface import Storage
from tusclient.uploader.uploader import AsyncUploader, Uploader

from tests.support.client import make_bytes, request, sha256
from tests.support.fixtures import MakeServer
from tests.support.process import MEBIBYTE, ServerProcess

CONTENT = make_bytes(10 * MEBIBYTE, seed=10)
CHUNK = 3 * MEBIBYTE


def download(url: str | None) -> str:
    assert url is not None
    answer = request("GET", url, tus=False)
    assert answer.status == 200, answer
    return sha256(answer.body)


@contextmanager
def opened(urls: str) -> Iterator[Storage]:
    storage = FileStorage(urls)  # type: ignore[no-untyped-call]  # tuspy's storages have no types
    try:
        yield storage
    finally:
        storage.close()  # type: ignore[no-untyped-call]


def upload_with(uploader: Uploader) -> str:
    uploader.upload()
    return str(uploader.url)


@pytest.mark.parametrize("chunk_size", [CHUNK, len(CONTENT)], ids=["chunks", "whole"])
@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksum"])
def test_upload(server: ServerProcess, chunk_size: int, checksum: bool) -> None:
    """I2; with Upload-Checksum, each chunk's SHA-1 is verified."""
    client = TusClient(server.url)
    url = upload_with(client.uploader(file_stream=io.BytesIO(CONTENT), chunk_size=chunk_size, upload_checksum=checksum))
    assert download(url) == sha256(CONTENT)


async def test_upload_with_its_async_client(server: ServerProcess) -> None:
    # aiohttp warns of larger ones.
    chunk_size = MEBIBYTE // 2
    uploader: AsyncUploader = TusClient(server.url).async_uploader(
        file_stream=io.BytesIO(CONTENT), chunk_size=chunk_size
    )
    await uploader.upload()
    assert download(uploader.url) == sha256(CONTENT)


def test_metadata(server: ServerProcess) -> None:
    metadata = {"filename": "søkn.txt", "filetype": "text/plain"}
    url = upload_with(TusClient(server.url).uploader(file_stream=io.BytesIO(b"x"), metadata=metadata))
    pairs = dict(pair.split(" ") for pair in request("HEAD", url).fields["upload-metadata"].split(","))
    assert base64.b64decode(pairs["filename"]).decode() == "søkn.txt"
    assert base64.b64decode(pairs["filetype"]).decode() == "text/plain"


# By path alone can it find its URLs again, and then it leaves each file that it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_server_is_resumed_by_the_stored_url(make_server: MakeServer, tmp_path: Path) -> None:
    """C01 (I1, I4): another process of the client finds the URL in its storage and goes on."""
    server = make_server().start()
    file = tmp_path / "content"
    file.write_bytes(CONTENT)
    urls = str(tmp_path / "urls.json")
    with opened(urls) as storage:
        first = TusClient(server.url).uploader(str(file), chunk_size=CHUNK, store_url=True, url_storage=storage)
        first.upload(stop_at=2 * CHUNK)
        assert first.offset == 2 * CHUNK
    server.kill()
    server.start()
    with opened(urls) as storage:
        second = TusClient(server.url).uploader(str(file), chunk_size=CHUNK, store_url=True, url_storage=storage)
        assert (second.url, second.offset) == (first.url, 2 * CHUNK)
        second.upload()
    assert download(second.url) == sha256(CONTENT)
