"""Nodes of the production pair: processes on one PostgreSQL and one bucket; a test may kill and pause them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.support.client import CONNECTION_LOST, TusUpload, request
from tests.support.events import EVENTS_VARIABLE, HOOKED_APP, finished_event_ids
from tests.support.process import MEBIBYTE, UPLOAD_ID, ServerProcess, wait_for
from tests.support.strict_s3.remote import StrictProcess

PART_BYTES: Final = 5 * MEBIBYTE
"""The least that S3 allows, so that a few megabytes are several parts."""

NODE_SECONDS: Final = 2.0
HOOKED_CLI: Final = (HOOKED_APP[0], "-m", "tests.production_crash.hooked_cli")


class Node(ServerProcess):
    """One process; its events go to the file that all nodes share."""

    def __init__(
        self, folder: Path, production: Production, program: Sequence[str], settings: dict[str, object]
    ) -> None:
        super().__init__(folder, program=program, settings=settings)
        self._production = production

    def launch(self, **variables: str) -> None:
        given = {**self._production.strict.bucket.environment, EVENTS_VARIABLE: str(self._production.events)}
        super().launch(**{**given, **variables})

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)


@dataclass
class Production:
    """What the nodes share.

    Attributes:
        prefix: of all keys of this test, in a bucket that others use, too.
        objects: the folder in which the gateway keeps the objects of the bucket.
    """

    folder: Path
    dsn: str
    strict: StrictProcess
    objects: Path
    prefix: str
    nodes: list[Node] = field(default_factory=list)

    @property
    def events(self) -> Path:
        return self.folder / "events"

    def node(self, program: Sequence[str] = HOOKED_CLI, /, **settings: object) -> Node:
        """One more, not started yet."""
        given: dict[str, object] = {
            "database_url": self.dsn,
            "s3_bucket": self.strict.bucket.name,
            "s3_endpoint_url": self.strict.bucket.endpoint_url,
            "s3_region": self.strict.bucket.region,
            "s3_addressing": "path",
            "s3_prefix": self.prefix,
            "s3_part_bytes": PART_BYTES,
            "node_seconds": NODE_SECONDS,
            **settings,
        }
        node = Node(self.folder / f"node-{len(self.nodes)}", self, program, given)
        self.nodes.append(node)
        return node

    def on(self, node: Node, upload: TusUpload) -> TusUpload:
        """The same upload as its client reaches it through another node."""
        return TusUpload(f"{node.url}{upload.id}", acknowledged=upload.acknowledged)

    # --- what there is -------------------------------------------------------------------------------------------

    def sql(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """As nobody's node, by a connection past every proxy."""

        async def fetched() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.dsn)
            try:
                return [dict(row) for row in await connection.fetch(statement, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(fetched())

    def row(self, upload: TusUpload) -> dict[str, Any]:
        (row,) = self.sql("SELECT * FROM uploads WHERE id = $1", upload.id)
        return row

    @property
    def keys(self) -> set[str]:
        """Objects and multipart uploads, the latter by `multipart:` and their key."""
        top = self.objects / self.prefix
        found = {str(path.relative_to(self.objects)) for path in top.rglob("*") if path.is_file()}
        keys: list[str] = self.strict.ask("state")["multiparts"]
        multiparts = {f"multipart:{key}" for key in keys if key.startswith(self.prefix)}
        return found | multiparts

    def leftovers(self) -> set[str]:
        """Keys that no live row accounts for: of a finished upload everything but its object, of one that has ended
        otherwise, or that no row knows, everything (I8)."""
        rows = {row["id"]: row for row in self.sql("SELECT id, status, object_key FROM uploads")}
        left = set()
        for key in self.keys:
            ids = UPLOAD_ID.findall(key)
            row = rows.get(ids[0]) if ids else None
            is_object = row is not None and row["status"] == "finished" and row["object_key"] == key
            is_under_way = row is not None and row["status"] in ("uploading", "completing")
            if not is_object and not is_under_way:
                left.add(key)
        return left

    def finished_events(self) -> dict[str, int]:
        """How many different ids the finished events of each upload had."""
        return {upload_id: len(ids) for upload_id, ids in finished_event_ids(self.events).items()}

    # --- what must hold ------------------------------------------------------------------------------------------

    def assert_finished_once(self, *uploads: TusUpload) -> None:
        """Each has its finished event, under one id, in the database and at the hook (I6, I7)."""
        ids = {upload.id for upload in uploads}
        wait_for(lambda: ids <= set(self.finished_events()), "finished events arrive")
        assert all(count == 1 for count in self.finished_events().values()), self.finished_events()
        for upload in uploads:
            rows = self.sql("SELECT id FROM events WHERE upload_id = $1 AND type = 'upload.finished'", upload.id)
            assert len(rows) == 1, rows

    def assert_nothing_left(self, seconds: float = 30) -> None:
        """I8: by the cleanup of each end, and of an unsettled one by its second visit, brought forward here."""
        try:
            wait_for(self._is_first_visit_over, "each end has been cleaned up after", seconds)
            self.sql("UPDATE cleanups SET due_at = now()")
            wait_for(lambda: not self.leftovers(), "nothing is left without a live row", seconds)
            wait_for(lambda: not self.sql("SELECT FROM cleanups"), "no cleanup is left", seconds)
        except AssertionError as error:
            raise AssertionError(f"{self.leftovers()} {self.sql('SELECT * FROM cleanups')}") from error

    def _is_first_visit_over(self) -> bool:
        return not self.sql("SELECT FROM cleanups WHERE again_at IS NOT NULL")

    def close(self) -> None:
        for node in self.nodes:
            node.close()
            print(f"--- {node.log_path}\n{node.log_tail()}")


def persevere(upload: TusUpload, content: bytes, *, chunk: int = 1 << 30, seconds: float = 60) -> Counter[str]:
    """As a good client does it: HEAD, PATCH from there, and again after what says that it should come again. Gives how
    often each method had which status."""
    answers: Counter[str] = Counter()

    def is_finished() -> bool:
        try:
            answer = request("HEAD", upload.url)
            answers[f"HEAD {answer.status}"] += 1
            assert answer.status in (200, 423), answer
            if answer.status == 423:
                return False
            offset = upload.acknowledge(int(answer.fields["upload-offset"]))
            while offset < len(content):
                answer = upload.patch(content[offset : offset + chunk])
                answers[f"PATCH {answer.status}"] += 1
                assert answer.status in (204, 409, 423, 503), answer
                assert answer.status != 503 or "retry-after" in answer.fields
                if answer.status != 204:
                    return False
                offset = upload.acknowledged
        except CONNECTION_LOST:
            answers["lost"] += 1
            return False
        return True

    wait_for(is_finished, "the upload is finished", seconds)
    return answers


def environment_seed(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)
