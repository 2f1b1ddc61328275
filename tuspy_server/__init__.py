"""tuspy-server: a tus resumable-upload server that never loses an acknowledged byte or a finish event.

Start with `TusServer(Settings(data="uploads"))`: an ASGI app to mount, or `TusServer.app`, the whole site to serve.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tuspy_server.version import VERSION

if TYPE_CHECKING:
    from tuspy_server.access import Grant, Intent, RequestContext
    from tuspy_server.app import TusServer
    from tuspy_server.model import Event, EventType, Upload, UploadStatus
    from tuspy_server.ports import Creation, Proposal, StoredUpload
    from tuspy_server.protocol.errors import Forbidden, Refused, TusError, Unauthorized, UploadGone, UploadNotFound
    from tuspy_server.settings import Settings, Webhook
else:
    # Imported when asked for: the command line must say what Ctrl-C does before half a second of imports.
    _HOMES = {
        "access": ("Grant", "Intent", "RequestContext"),
        "app": ("TusServer",),
        "model": ("Event", "EventType", "Upload", "UploadStatus"),
        "ports": ("Creation", "Proposal", "StoredUpload"),
        "protocol.errors": ("Forbidden", "Refused", "TusError", "Unauthorized", "UploadGone", "UploadNotFound"),
        "settings": ("Settings", "Webhook"),
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


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
