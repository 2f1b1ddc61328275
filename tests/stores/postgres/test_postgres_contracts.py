"""The PostgreSQL adapters keep the contracts of their ports."""

from __future__ import annotations

from tests.contracts.assemblies import AssembliesContract
from tests.contracts.assembly_endings import AssemblyEndingsContract
from tests.contracts.catalogue import CatalogueContract
from tests.contracts.consumers import ConsumersContract
from tests.contracts.event_log import EventLogContract
from tests.contracts.jobs import JobStoreContract
from tests.contracts.outbox import OutboxContract
from tests.contracts.processing import ProcessingContract
from tests.contracts.upload_endings import UploadEndingsContract
from tests.contracts.upload_facts import UploadFactsContract
from tests.contracts.upload_store import UploadStoreContract


class TestPostgresUploadStore(UploadStoreContract):
    pass


class TestPostgresUploadFacts(UploadFactsContract):
    pass


class TestPostgresUploadEndings(UploadEndingsContract):
    pass


class TestPostgresOutbox(OutboxContract):
    pass


class TestPostgresConsumers(ConsumersContract):
    pass


class TestPostgresProcessing(ProcessingContract):
    pass


class TestPostgresEventLog(EventLogContract):
    pass


class TestPostgresJobs(JobStoreContract):
    pass


class TestPostgresCatalogue(CatalogueContract):
    pass


class TestPostgresAssemblies(AssembliesContract):
    pass


class TestPostgresAssemblyEndings(AssemblyEndingsContract):
    pass
