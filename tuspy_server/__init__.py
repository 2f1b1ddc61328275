"""tuspy-server: a tus resumable-upload server that never loses an acknowledged byte or a finish event.

Start with `TusServer(Settings(data="uploads"))`: an ASGI app to mount, or `TusServer.app`, the whole site to serve.
"""

from tuspy_server.access import Grant, Intent, RequestContext
from tuspy_server.app import TusServer
from tuspy_server.model import Event, EventType, Upload, UploadStatus
from tuspy_server.ports import Creation, Proposal, StoredUpload
from tuspy_server.protocol.errors import Forbidden, Refused, TusError, Unauthorized, UploadGone, UploadNotFound
from tuspy_server.settings import Settings, Webhook
from tuspy_server.version import VERSION

__version__ = VERSION

__all__ = [
    "Creation",
    "Event",
    "EventType",
    "Forbidden",
    "Grant",
    "Intent",
    "Proposal",
    "Refused",
    "RequestContext",
    "Settings",
    "StoredUpload",
    "TusError",
    "TusServer",
    "Unauthorized",
    "Upload",
    "UploadGone",
    "UploadNotFound",
    "UploadStatus",
    "Webhook",
    "__version__",
]
