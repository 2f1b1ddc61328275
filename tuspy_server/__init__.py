"""tuspy-server: a tus resumable-upload server that never loses an acknowledged byte or a finish event.

Start with `TusServer(Settings(data="uploads"))`: an ASGI app to mount, or `TusServer.app`, the whole site to serve.
"""

from tuspy_server.app import TusServer
from tuspy_server.model import Event, EventType, Upload, UploadStatus
from tuspy_server.protocol.errors import TusError, UploadGone, UploadNotFound
from tuspy_server.settings import Settings
from tuspy_server.version import VERSION

__version__ = VERSION

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
