"""Rows of uploads as they lie in memory, with what belongs to them; shared by all nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from tuspy_server.model import PARTS_IN_FLIGHT, Upload, UploadStatus
from tuspy_server.ports import Job, Lifetime
from tuspy_server.stores.memory.recorded import Recorded

NODE_SECONDS: Final = 15.0
"""After which a node whose heart is silent is taken for dead."""


@dataclass(frozen=True, slots=True)
class Due:
    """When to clean up, and when once more: None for never. `status`: of the upload, when that became due."""

    status: UploadStatus
    at: datetime
    again_at: datetime | None = None


@dataclass(slots=True)
class Table:
    """All rows.

    Attributes:
        nodes: by the upload's id, that of its writer.
        silent: nodes whose heart has stopped, and when.
        visited: what cleanup a node was told of, by node and upload.
    """

    uploads: dict[str, Upload] = field(default_factory=dict)
    recorded: dict[str, Recorded] = field(default_factory=dict)
    cleanups: dict[str, Due] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    silent: dict[str, datetime] = field(default_factory=dict)
    visited: dict[tuple[str, str], UploadStatus] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def is_alive(self, node: str, now: datetime) -> bool:
        """Whether a heart has beaten lately."""
        since = self.silent.get(node)
        return since is None or now < since + timedelta(seconds=NODE_SECONDS)

    def delete(self, upload_id: str) -> None:
        """A row, and what belongs to it."""
        del self.uploads[upload_id], self.recorded[upload_id]
        self.nodes.pop(upload_id, None)


def fenced(upload: Upload) -> Upload:
    """The upload, whose writer has not let go: what it had under way may still land."""
    placement = upload.placement
    if placement is None:
        return upload
    contested_to = upload.upload_offset // placement.part_bytes + 1 + PARTS_IN_FLIGHT
    return replace(
        upload,
        placement=replace(placement, contested_to=max(placement.contested_to, contested_to), unsettled=True),
    )


def expires_at(
    now: datetime, created_at: datetime, lifetime: Lifetime | None, own_idle_seconds: float | None
) -> datetime | None:
    """The end of a lifetime, or of the time that the upload has of its own in its place; None for never."""
    idle_seconds = own_idle_seconds
    if idle_seconds is None and lifetime is not None:
        idle_seconds = lifetime.idle_seconds
    if idle_seconds is None:
        return None
    idle = now + timedelta(seconds=idle_seconds)
    return idle if lifetime is None else min(idle, created_at + timedelta(seconds=lifetime.cap_seconds))
