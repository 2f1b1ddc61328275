"""URLs of uploads and jobs, as the client that asks sees them."""

from __future__ import annotations

from collections.abc import Callable

from tuspy_server.web.api.routes import Call
from tuspy_server.web.location import Locations


class Addresses:
    """As `Location` of the uploads: absolute where the origin is known for certain, else a path."""

    def __init__(self, locations: Locations, path: str) -> None:
        """`path` of the creation URL, below the site."""
        self._locations = locations
        self._path = path.rstrip("/")

    def uploads(self, call: Call) -> Callable[[str], str]:
        """Makes an upload's URL of its id; made once for many."""
        base = self._locations.location({**call.scope, "root_path": call.root + self._path}, call.head, "")
        return lambda upload_id: base + upload_id

    def job(self, call: Call, job_id: str) -> str:
        """Where a job is looked at."""
        return self._locations.location({**call.scope, "root_path": f"{call.root}/api/jobs"}, call.head, job_id)
