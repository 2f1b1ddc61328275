"""What the lifecycle needs from the outside: the ports, with their contracts in prose.

Adapters in `stores/` implement them; `tests/contracts/` holds one suite a port that every adapter passes. An adapter
translates its driver's errors once, at its edge, into `tuspy_server.protocol.errors`; what it cannot name it lets pass.
"""

from tuspy_server.ports.blobs import BlobStore, BlobWriter
from tuspy_server.ports.outbox import Delivery, Outbox
from tuspy_server.ports.outside import BODY_EXTENSION, BodySource, Clock, Peers, Wakeup
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
    "BlobStore",
    "BlobWriter",
    "BodySource",
    "Claim",
    "Claimed",
    "Cleanup",
    "Clock",
    "Commit",
    "Delivery",
    "DraftEvent",
    "Ending",
    "EventDraft",
    "Lifetime",
    "NewUpload",
    "Outbox",
    "Peers",
    "Stored",
    "StoredPart",
    "StoredPiece",
    "UploadStore",
    "Wakeup",
]
