"""tuspy-server: a tus resumable-upload server that never loses an acknowledged byte or a finish event.

    from tuspy_server import TusServer, Settings
"""

from tuspy_server.app import TusServer
from tuspy_server.model import Event, EventType, Upload, UploadStatus
from tuspy_server.protocol.errors import TusError, UploadGone, UploadNotFound
from tuspy_server.settings import Settings
from tuspy_server.version import VERSION as __version__

__all__ = [
    "Event",
    "EventType",
    "Settings",
    "TusError",
    "TusServer",
    "Upload",
    "UploadGone",
    "UploadNotFound",
    "UploadStatus",
    "__version__",
]
