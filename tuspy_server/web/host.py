"""Whether the uvicorn that serves us stops: it waits for streams to end, but tells nobody before they have."""

from __future__ import annotations

import signal
from typing import Any


def host_is_stopping() -> bool:
    """Whether a uvicorn that somebody else started has been told to exit. Ours drains by itself."""
    server: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
