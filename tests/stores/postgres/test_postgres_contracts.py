"""The PostgreSQL adapters keep the contracts of their ports."""

from __future__ import annotations

from tests.contracts.assemblies import AssembliesContract
from tests.contracts.outbox import OutboxContract
from tests.contracts.upload_endings import UploadEndingsContract
from tests.contracts.upload_store import UploadStoreContract


class TestPostgresUploadStore(UploadStoreContract):
    pass


class TestPostgresUploadEndings(UploadEndingsContract):
    pass


class TestPostgresOutbox(OutboxContract):
    pass


class TestPostgresAssemblies(AssembliesContract):
    pass
