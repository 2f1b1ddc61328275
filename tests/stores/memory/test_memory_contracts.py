"""The in-memory adapters keep the contracts of their ports."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.assemblies import AssembliesContract
from tests.contracts.assembly_endings import AssemblyEndingsContract
from tests.contracts.blob_store import BlobStoreContract, put
from tests.contracts.catalogue import CatalogueContract
from tests.contracts.consumers import ConsumersContract
from tests.contracts.event_log import EventLogContract
from tests.contracts.jobs import JobStoreContract
from tests.contracts.outbox import OutboxContract
from tests.contracts.processing import ProcessingContract
from tests.contracts.rig import ManualClock
from tests.contracts.rows import new_id
from tests.contracts.upload_endings import UploadEndingsContract
from tests.contracts.upload_facts import UploadFactsContract
from tests.contracts.upload_store import UploadStoreContract
from tests.stores.memory.rigs import MemoryBlobRig, MemoryStoreRig


@pytest.fixture
async def rig() -> AsyncIterator[MemoryStoreRig]:
    rig = MemoryStoreRig(ManualClock())
    await rig.start()
    yield rig
    await rig.stop()


class TestMemoryUploadStore(UploadStoreContract):
    pass


class TestMemoryUploadEndings(UploadEndingsContract):
    pass


class TestMemoryAssemblies(AssembliesContract):
    pass


class TestMemoryAssemblyEndings(AssemblyEndingsContract):
    pass


class TestMemoryOutbox(OutboxContract):
    pass


class TestMemoryCatalogue(CatalogueContract):
    pass


class TestMemoryJobStore(JobStoreContract):
    pass


class TestMemoryUploadFacts(UploadFactsContract):
    pass


class TestMemoryProcessing(ProcessingContract):
    pass


class TestMemoryConsumers(ConsumersContract):
    pass


class TestMemoryEventLog(EventLogContract):
    pass


class TestMemoryBlobStore(BlobStoreContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[MemoryBlobRig]:
        rig = MemoryBlobRig()
        await rig.start()
        yield rig
        await rig.stop()

    async def test_a_crash_loses_exactly_what_no_sync_has_covered(self, rig: MemoryBlobRig) -> None:
        """Fault D04: the state machine stands on this."""
        upload_id = new_id()
        writer = await rig.open_writer(upload_id, 0)
        await put(writer, b"abc")
        await rig.sync(writer)
        await put(writer, b"def")
        rig.blobs.crash()
        assert bytes(rig.blobs.blobs[upload_id].content) == b"abc"
