"""What the lifecycle needs from the outside: the ports, with their contracts in prose.

Adapters in `stores/` implement them; `tests/contracts/` holds one suite a port that every adapter passes. An adapter
translates its driver's errors once, at its edge, into `tuspy_server.protocol.errors`; what it cannot name it lets pass.
"""

from tuspy_server.ports.blobs import BlobStore, BlobWriter
from tuspy_server.ports.gate import Creation, Gate, OpenGate, Proposal, StoredUpload
from tuspy_server.ports.jobs import (
    Batches,
    Catalogue,
    FileStatus,
    Job,
    JobCounts,
    JobStore,
    NewFile,
    UploadFilter,
    UploadSums,
    file_status,
)
from tuspy_server.ports.outbox import (
    Consumer,
    Delivery,
    DeliveryFilter,
    DeliveryRecord,
    DeliveryStatus,
    EventFilter,
    EventLog,
    Outbox,
    RegisteredConsumer,
)
from tuspy_server.ports.outside import BODY_EXTENSION, BodySource, Clock, Peers, Progress, ProgressBus, Wakeup
from tuspy_server.ports.records import (
    Assembly,
    Claim,
    Claimed,
    Cleanup,
    Commit,
    DraftEvent,
    Ending,
    EventDraft,
    Lifetime,
    NewUpload,
    Stored,
    StoredPart,
    StoredPiece,
)
from tuspy_server.ports.uploads import Assemblies, UploadStore

__all__ = [
    "BODY_EXTENSION",
    "Assemblies",
    "Assembly",
    "Batches",
    "BlobStore",
    "BlobWriter",
    "BodySource",
    "Catalogue",
    "Claim",
    "Claimed",
    "Cleanup",
    "Clock",
    "Commit",
    "Consumer",
    "Creation",
    "Delivery",
    "DeliveryFilter",
    "DeliveryRecord",
    "DeliveryStatus",
    "DraftEvent",
    "Ending",
    "EventDraft",
    "EventFilter",
    "EventLog",
    "FileStatus",
    "Gate",
    "Job",
    "JobCounts",
    "JobStore",
    "Lifetime",
    "NewFile",
    "NewUpload",
    "OpenGate",
    "Outbox",
    "Peers",
    "Progress",
    "ProgressBus",
    "Proposal",
    "RegisteredConsumer",
    "Stored",
    "StoredPart",
    "StoredPiece",
    "StoredUpload",
    "UploadFilter",
    "UploadStore",
    "UploadSums",
    "Wakeup",
    "file_status",
]
