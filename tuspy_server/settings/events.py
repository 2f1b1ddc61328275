"""Hooks and webhooks."""

from __future__ import annotations

from pydantic import Field

from tuspy_server.settings.kinds import Seconds
from tuspy_server.settings.stores import StoreSettings


class EventSettings(StoreSettings):
    """How events are delivered, and hooks asked."""

    hook_seconds: Seconds = Field(default=60.0, gt=0, description="Deadline of one call of a Python hook.")
    hook_attempts: int = Field(
        default=20, ge=1, description="Calls of a failing hook before its event is given up as dead."
    )
