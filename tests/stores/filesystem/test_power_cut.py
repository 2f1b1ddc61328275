"""Fault D04: every offset that a sync has returned outlives a power cut, with the bytes that belong to it."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.contracts.blob_store import put, read
from tests.contracts.rows import new_id
from tests.stores.filesystem.power import Disk
from tests.stores.filesystem.rigs import FilesystemRig
from tuspy_server.protocol.errors import TusError
from tuspy_server.stores.folder_lock import FolderLock

SEED = int(os.environ.get("TUSPY_SEED", random.randrange(2**32)))


class Client:
    """Uploads in pieces of any size, and remembers what it was told is safe."""

    def __init__(self, rig: FilesystemRig, chance: random.Random) -> None:
        self.rig = rig
        self.chance = chance
        self.upload_id = new_id()
        self.content = chance.randbytes(600_000)
        self.acknowledged = 0
        self.deleted = False

    async def upload(self) -> None:
        with suppress(TusError):
            while self.acknowledged < len(self.content):
                await self._patch()
            if self.chance.random() < 0.2:
                await self.rig.delete(self.upload_id)
                self.deleted = True

    async def _patch(self) -> None:
        writer = await self.rig.open_writer(self.upload_id, self.acknowledged)
        try:
            sent = self.acknowledged
            for _ in range(self.chance.randint(1, 5)):
                count = self.chance.choice([1, 5000, 70_000, 150_000])
                await put(writer, self.content[sent : sent + count])
                sent = min(sent + count, len(self.content))
                if self.chance.random() < 0.6:
                    self.acknowledged = await self.rig.sync(writer)
            if self.chance.random() < 0.2:
                await writer.rollback(self.acknowledged)
        finally:
            writer.close()


@pytest.mark.parametrize("number", range(12))
async def test_every_synced_offset_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """I1, I3: also beside uploads that begin, end and are deleted in the same folders."""
    print(f"TUSPY_SEED={SEED}")
    chance = random.Random(SEED + number)
    disk = Disk(monkeypatch, tmp_path / "before")
    rig = FilesystemRig(tmp_path / "before" / "data" / "files")
    (tmp_path / "before").mkdir()
    lock = FolderLock(tmp_path / "before" / "data")
    lock.acquire()
    await rig.start()
    clients = [Client(rig, chance) for _ in range(6)]
    running = [asyncio.create_task(client.upload()) for client in clients]
    for _ in range(chance.randint(5, 400)):
        await asyncio.sleep(0)
    safe = {client.upload_id: client.acknowledged for client in clients if not client.deleted}
    disk.after_power_cut(tmp_path / "after", chance)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await rig.stop()
    lock.release()
    monkeypatch.undo()

    later = FilesystemRig(tmp_path / "after" / "data" / "files")
    await later.start()
    for client in clients:
        acknowledged = safe.get(client.upload_id)
        if acknowledged is None or client.deleted:
            continue
        client.rig, client.acknowledged = later, acknowledged
        assert await read_up_to(later, client) == client.content[:acknowledged]
        while client.acknowledged < len(client.content):
            await client._patch()
        assert await read_up_to(later, client) == client.content
    await later.stop()


async def read_up_to(rig: FilesystemRig, client: Client) -> bytes:
    if client.acknowledged == 0:
        return b""
    return await read(rig, client.upload_id, 0, client.acknowledged)
