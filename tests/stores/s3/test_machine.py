"""Many seeds of one upload each: nodes that die, pause and come back, clients that send other bytes, calls that land
late, are lost, or are refused. Whatever happens: what was counted is in the object, and nothing else is left."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from tests.stores.s3.harness import KIB, Node, Site, Writing
from tests.support.memory_bucket import MemoryBucket, Rule
from tuspy_server.model import PARTS_IN_FLIGHT, UploadStatus
from tuspy_server.protocol.errors import BytesMissing, TusError

PART = 64 * KIB
SEEDS = 150


class Machine:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        keeps_metadata = self.chance.random() < 0.8
        self.bucket = MemoryBucket(random_etags=self.chance.random() < 0.3, keeps_metadata=keeps_metadata)
        self.bucket.ignores_conditions = not keeps_metadata and self.chance.random() < 0.5
        self.site = Site(
            self.bucket,
            part_bytes=PART,
            pool_bytes=self.chance.choice([1, 2, 4, 16]) << 20,
            wait_seconds=0.05,
            storage_seconds=5,
            puts_single=keeps_metadata,
        )
        self.site.add_node()
        few, some, many = 3, 2 * PARTS_IN_FLIGHT + 1, 3 * PARTS_IN_FLIGHT + 2  # also past what a claim contests
        self.length = self.chance.choice(
            [0, 1, PART - 1, PART, PART + 1, few * PART, some * PART + 13, many * PART + 1]
        )
        self.rules: list[Rule] = []
        self.paused: list[asyncio.Task[None]] = []
        self.upload_id = ""

    async def run(self) -> None:
        upload = await self.site.create(self.length)
        self.upload_id = upload.id
        for _ in range(self.chance.randint(1, 12)):
            if (await self.site.row(upload.id)).status is not UploadStatus.UPLOADING:
                break
            self.disturb()
            await self.patch(self.chance.choice(self.site.nodes))
            if self.chance.random() < 0.3:
                self.land_one()
        await self.end()

    def disturb(self) -> None:
        if self.chance.random() < 0.5:
            return
        operation = self.chance.choice(
            [
                "PutObject",
                "PutObject",
                "UploadPart",
                "UploadPart",
                "UploadPartCopy",
                "HeadObject",
                "CreateMultipartUpload",
                "CompleteMultipartUpload",
            ]
        )
        kind = self.chance.choice(["late", "late", "lost", "refuse", "hold", "hold"])
        make = getattr(self.bucket, kind)
        skipped = iter([False] * self.chance.randint(0, 2))
        self.rules.append(make(operation, matches=lambda _: next(skipped, True)))

    def land_one(self) -> None:
        if self.rules:
            rule = self.rules.pop(self.chance.randrange(len(self.rules)))
            rule.times = 0
            rule.release()
            rule.land()

    async def patch(self, node: Node) -> None:
        """One PATCH of new bytes; where a call of it is held it is left behind, paused."""
        task = asyncio.create_task(self.one_patch(node))
        await asyncio.wait({task}, timeout=None if not self.holds() else 0.05)
        if not task.done():
            self.paused.append(task)
        elif task.exception() is not None:
            raise AssertionError from task.exception()

    def holds(self) -> bool:
        return bool(self.rules)

    async def one_patch(self, node: Node) -> None:
        row = await self.site.row(self.upload_id)
        offset = row.upload_offset
        left = self.length - offset
        count = left if self.chance.random() < 0.4 else self.chance.randint(0, left)
        content = self.chance.randbytes(count)
        held_back = self.chance.random() < 0.2
        writing: Writing | None = None
        with suppress(TusError):
            writing = await self.site.patch(self.upload_id, node=node, held_back=held_back)
        if writing is None:
            await self.release()
            return
        try:
            await self.send(writing, content, offset, held_back=held_back)
        except TusError:
            await self.settle(writing)
        except BytesMissing:
            # For one that was fenced while it was paused: its multipart upload is complete, or the object newer.
            assert (await self.site.row(self.upload_id)).writer != writing.upload.writer
            writing.writer.close()

    async def send(self, writing: Writing, content: bytes, offset: int, *, held_back: bool) -> None:
        position = 0
        while position < len(content):
            step = self.chance.choice([1, 1000, 20_000, PART, 3 * PART])
            await writing.put(content[position : position + step], self.chance.choice([500, 70_000]))
            position = min(position + step, len(content))
            if not held_back and self.chance.random() < 0.3:
                flush = self.chance.random() < 0.5
                await writing.commit(flush=flush)
        fate = self.chance.random()
        if fate < 0.1:
            return  # killed: nobody closes anything
        if fate < 0.2:
            await self.settle(writing, discard=True)
        elif offset + len(content) == self.length:
            await writing.finish()
        else:
            await writing.leave()

    async def settle(self, writing: Writing, *, discard: bool = False) -> None:
        """What the lifecycle does after trouble."""
        with suppress(TusError):
            if not discard:
                writing.uncommitted = writing.uncommitted.and_then(await writing.writer.sync(flush=False))
            row = await writing.count(release=True)
            if discard and row is not None:
                await writing.writer.rollback(row.upload_offset)
        writing.writer.close()

    async def release(self) -> None:
        """A claim whose writer could not be opened is cleared."""
        await self.site.rows.release_writers(set)

    async def end(self) -> None:
        """All is well again: the upload goes on to its end, late calls land somewhere in between."""
        for rule in self.rules:
            rule.times = 0
        for _ in range(20):
            row = await self.site.row(self.upload_id)
            if row.status is not UploadStatus.UPLOADING:
                break
            if self.chance.random() < 0.5:
                self.land_one()
            await self.last_patch(self.chance.choice(self.site.nodes))
        while self.rules:
            self.land_one()
        if self.paused:
            await asyncio.wait(self.paused, timeout=20)
            assert all(task.done() for task in self.paused)
            for task in self.paused:
                if task.exception() is not None:
                    raise AssertionError from task.exception()
        row = await self.site.row(self.upload_id)
        if row.status is UploadStatus.COMPLETING:
            row = await self.site.reassemble(row.id)
        assert row.status is UploadStatus.FINISHED
        counted = self.site.counted.get(row.id, bytearray())
        assert len(counted) == self.length
        assert await self.site.read(self.upload_id) == counted
        await self.site.clean_later()
        assert self.bucket.objects.keys() == {f"uploads/{row.id}"}
        assert not self.bucket.multiparts

    async def last_patch(self, node: Node) -> None:
        offset = (await self.site.row(self.upload_id)).upload_offset
        content = self.chance.randbytes(self.length - offset)
        try:
            writing = await self.site.patch(self.upload_id, node=node)
        except TusError:
            await self.release()
            return
        try:
            await writing.put(content)
            await writing.finish()
        except TusError:
            await self.settle(writing)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_counted_bytes_are_in_the_object_and_nothing_else_is_left(seed: int) -> None:
    """I1, I2, I5, I8; faults K05, S01, S02, S06, S07, S08, C01."""
    machine = Machine(seed)
    await machine.run()
    for node in machine.site.nodes:
        await node.blobs.close()
