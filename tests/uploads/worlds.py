"""What a process leaves behind when it dies: stores in memory, or SQLite and files on a disk."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from tests.uploads.gates import Gates
from tests.uploads.stepping import SteppedLoop
from tuspy_server.model import Upload
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assemblies, BlobStore, Outbox, Peers, UploadStore
from tuspy_server.stores.filesystem.store import FilesystemBlobStore
from tuspy_server.stores.memory.blobs import MemoryBlobStore
from tuspy_server.stores.memory.uploads import MemoryUploadStore
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore


@dataclass(eq=False)
class Seat:
    """What one process has of a world."""

    uploads: UploadStore
    blobs: BlobStore
    assemblies: Assemblies | None = None
    peers: Peers | None = None


class World(ABC):
    """Stores, as the next process finds them after `kill`."""

    storage_seconds = 60.0

    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop

    @property
    @abstractmethod
    def uploads(self) -> UploadStore: ...

    @property
    @abstractmethod
    def outbox(self) -> Outbox: ...

    @abstractmethod
    def seat(self, gates: Gates) -> Seat:
        """Begin a process, whose gates these are."""

    def stand_still(self, seat: Seat, *, still: bool) -> None:
        """The process is paused, or goes on."""
        raise NotImplementedError

    @abstractmethod
    def kill(self, seat: Seat, *, power_cut: bool) -> None:
        """End a process; `power_cut`: what no sync has covered is lost, where the world can tell."""

    @abstractmethod
    def content(self, upload: Upload) -> tuple[bytes, int]:
        """The bytes that are stored, and how many of them are durable."""

    @abstractmethod
    def stored_ids(self) -> set[str]:
        """Uploads that have anything stored; what is not an object in its place by a name that says so."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""


class MemoryWorld(World):
    def __init__(self, loop: SteppedLoop) -> None:
        super().__init__(loop)
        self._rows = MemoryUploadStore(loop)
        self._blobs = MemoryBlobStore()

    @property
    def uploads(self) -> UploadStore:
        return self._rows

    @property
    def outbox(self) -> Outbox:
        return self._rows

    def seat(self, gates: Gates) -> Seat:
        self.loop.do(self._rows.open())
        return Seat(self._rows, self._blobs)

    def kill(self, seat: Seat, *, power_cut: bool) -> None:
        if not power_cut:
            for blob in self._blobs.blobs.values():
                blob.durable_bytes = len(blob.content)
        self._blobs.crash()

    def content(self, upload: Upload) -> tuple[bytes, int]:
        blob = self._blobs.blobs.get(upload.id)
        return (b"", 0) if blob is None else (bytes(blob.content), blob.durable_bytes)

    def stored_ids(self) -> set[str]:
        return set(self._blobs.blobs)

    def close(self) -> None:
        pass


class DiskWorld(World):
    """A kill leaves every write that the kernel has taken: power cuts have tests of their own."""

    def __init__(self, loop: SteppedLoop) -> None:
        super().__init__(loop)
        self._folder = tempfile.TemporaryDirectory(prefix="tuspy-machine-")
        self._files = Path(self._folder.name) / "files"
        self.pool = PagePool(16 << 20)
        self._renew()

    def _renew(self) -> None:
        path = Path(self._folder.name) / "db.sqlite3"
        database = Database(path, durable=False, deadline_seconds=60)
        self._uploads = SqliteUploadStore(database, self.loop)
        self._outbox = SqliteOutbox(database, self.loop)
        self._blobs = FilesystemBlobStore(self._files, self.pool, durable=False)
        ask, run = database._run, self._blobs._executor.run
        database._run = lambda *job: self.loop.in_turn(lambda: self.loop.create_task(ask(*job)))  # type: ignore[assignment,method-assign]
        self._blobs._executor.run = lambda function: self.loop.in_turn(lambda: run(function))  # type: ignore[method-assign]

    @property
    def uploads(self) -> UploadStore:
        return self._uploads

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    def seat(self, gates: Gates) -> Seat:
        self.loop.do(self._uploads.open())
        self.loop.do(self._blobs.open())
        return Seat(self._uploads, self._blobs)

    def kill(self, seat: Seat, *, power_cut: bool) -> None:
        self._end()

    def _end(self) -> None:
        self.loop.do(self._blobs.close())
        self.loop.do(self._uploads.close())
        self.loop.settle()
        self._renew()

    def content(self, upload: Upload) -> tuple[bytes, int]:
        path = self._blobs.path(upload.id)
        content = path.read_bytes() if path.exists() else b""
        return content, len(content)

    def stored_ids(self) -> set[str]:
        return {path.name for path in self._files.glob("*")}

    def close(self) -> None:
        self._end()
        self._folder.cleanup()
