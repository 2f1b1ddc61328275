"""The SQLite adapters keep the contracts of their ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.catalogue import CatalogueContract
from tests.contracts.consumers import ConsumersContract
from tests.contracts.event_log import EventLogContract
from tests.contracts.jobs import JobStoreContract
from tests.contracts.outbox import OutboxContract
from tests.contracts.processing import ProcessingContract
from tests.contracts.rig import ManualClock
from tests.contracts.upload_endings import UploadEndingsContract
from tests.contracts.upload_facts import UploadFactsContract
from tests.contracts.upload_store import UploadStoreContract
from tests.stores.sqlite.rigs import SqliteRig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SqliteRig]:
    rig = SqliteRig(ManualClock(), tmp_path / "db.sqlite3")
    await rig.start()
    yield rig
    await rig.stop()


class TestSqliteUploadStore(UploadStoreContract):
    pass


class TestSqliteUploadEndings(UploadEndingsContract):
    pass


class TestSqliteOutbox(OutboxContract):
    pass


class TestSqliteCatalogue(CatalogueContract):
    pass


class TestSqliteJobStore(JobStoreContract):
    pass


class TestSqliteUploadFacts(UploadFactsContract):
    pass


class TestSqliteProcessing(ProcessingContract):
    pass


class TestSqliteConsumers(ConsumersContract):
    pass


class TestSqliteEventLog(EventLogContract):
    pass
