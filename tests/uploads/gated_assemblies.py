"""Uploads in `completing`, behind gates: `ports.Assemblies`."""

from __future__ import annotations

from collections.abc import Set

from tests.uploads.gated import Witness
from tests.uploads.gates import Gates
from tuspy_server.model import Upload
from tuspy_server.ports import Assemblies, Assembly, Cleanup, Commit


class GatedAssemblies:
    """See `ports.Assemblies`."""

    def __init__(self, assemblies: Assemblies, gates: Gates, witness: Witness) -> None:
        self._assemblies = assemblies
        self._gates = gates
        self._witness = witness

    async def complete(self, commit: Commit) -> Upload | None:
        async def work() -> Upload | None:
            upload = await self._assemblies.complete(commit)
            if upload is not None:
                self._witness.completing(commit, upload)
            return upload

        return await self._gates.call("complete", work)

    async def assembly(self, upload_id: str) -> Assembly:
        return await self._gates.call("assembly", lambda: self._assemblies.assembly(upload_id))

    async def adopt(self, writer: str, upload_id: str | None, held: Set[str]) -> Upload | None:
        return await self._gates.call("adopt", lambda: self._assemblies.adopt(writer, upload_id, held))

    async def cleanup(self, upload_id: str) -> Cleanup | None:
        return await self._gates.call("cleanup", lambda: self._assemblies.cleanup(upload_id))

    async def tried(self, upload_id: str, writer: str) -> int:
        return await self._gates.call("tried", lambda: self._assemblies.tried(upload_id, writer))
