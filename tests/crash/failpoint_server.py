"""The server as the command line runs it, but for one point in its stores at which it kills itself.

`TEST_FAILPOINT=commit:after:2` ends the process with SIGKILL when the second `commit` has done its work, and before
anybody can learn so. On PostgreSQL and S3 the names say whose method it is, `uploads.commit:after:2`, and the calls of
the S3 client are points, too: `s3.upload_part:before:1`. Without the variable it is an ordinary server with the hook of
`tests.support.events`.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from tests.support.events import add_hook
from tuspy_server import Settings, TusServer
from tuspy_server.compose import Stores, pick_stores
from tuspy_server.edge.server import run
from tuspy_server.logs import configure
from tuspy_server.ports import BlobWriter, Claimed
from tuspy_server.stores.filesystem import calls
from tuspy_server.stores.s3.store import S3BlobStore

FAILPOINT_VARIABLE: Final = "TEST_FAILPOINT"
HANG_VARIABLE: Final = "TEST_HANG"
"""From which sync of a file on the disk hangs."""

FAILPOINT_SERVER: Final = (sys.executable, "-m", "tests.crash.failpoint_server")

UPLOAD_METHODS: Final = ("create", "claim", "commit", "finish", "end", "cleaned")
SWEEP_METHODS: Final = ("expire",)
OUTBOX_METHODS: Final = ("relay", "lease", "delivered")
BLOB_METHODS: Final = ("open_writer", "clean")
WRITER_METHODS: Final = ("sync", "finish", "rollback")

ASSEMBLY_METHODS: Final = ("complete", "assembly", "adopt", "cleanup")
PRODUCTION_BLOB_METHODS: Final = (*BLOB_METHODS, "assemble")
S3_METHODS: Final = (
    *("put_object", "create_multipart", "upload_part", "copy_part", "complete_multipart", "abort_multipart"),
    *("list_parts", "list_multiparts", "list_objects", "head_object", "read_object", "delete_objects"),
)


PROBE: Final = "tmp/probe/"
"""In the keys of readiness, which is asked before anything else."""


class Failpoint:
    """The one place where this process ends."""

    def __init__(self, text: str) -> None:
        """`text`: `method:before:n` or `method:after:n`, n counted from 1; for the outbox, which is asked all the time,
        from the first finish on; for `adopt`, those that found something."""
        self.method, self.side, nth = text.split(":")
        self._left = int(nth)
        self._finished = False

    def reached(self, method: str, side: Literal["before", "after"]) -> None:
        is_idle = method.removeprefix("outbox.") in OUTBOX_METHODS and not self._finished
        if (method, side) != (self.method, self.side) or is_idle:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self, target: object, methods: tuple[str, ...], prefix: str = "") -> None:
        """Put the point around methods of one object; the rest of it stays as it is."""
        for method in methods:
            setattr(target, method, self._around(prefix + method, getattr(target, method)))

    def arm_writers(
        self, open_writer: Callable[..., Awaitable[BlobWriter]], prefix: str = ""
    ) -> Callable[..., Awaitable[BlobWriter]]:
        async def armed(claimed: Claimed, *, held_back: bool) -> BlobWriter:
            writer = await open_writer(claimed, held_back=held_back)
            self.arm(writer, WRITER_METHODS, prefix)
            return writer

        return armed

    def _around(self, method: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def armed(*arguments: Any, **named: Any) -> Any:
            if PROBE in str(arguments[:1]):
                return await call(*arguments, **named)
            self.reached(method, "before")
            result = await call(*arguments, **named)
            self._finished = self._finished or method.endswith("finish")
            if result is not None or not method.endswith("adopt"):
                self.reached(method, "after")
            return result

        return armed


def hang_in_sync(nth: int) -> None:
    """The disk hangs at the n-th sync and at every later one, in a thread that nothing can cancel."""
    make_durable, counted = calls.make_durable, itertools.count(1)

    def hang(descriptor: int, folder: calls.Folder | None) -> None:
        if next(counted) >= nth:
            time.sleep(3600)
        make_durable(descriptor, folder)

    calls.make_durable = hang


def armed_stores(settings: Settings, failpoint: Failpoint) -> Stores:
    stores = pick_stores(settings)
    if stores.assemblies is not None:
        return armed_production(stores, failpoint)
    failpoint.arm(stores.uploads, UPLOAD_METHODS + SWEEP_METHODS)
    failpoint.arm(stores.outbox, OUTBOX_METHODS)
    failpoint.arm(stores.blobs, BLOB_METHODS)
    # By name, as `arm` does: a method of an instance cannot be assigned in the eyes of a type checker.
    name = "open_writer"
    setattr(stores.blobs, name, failpoint.arm_writers(stores.blobs.open_writer))
    return stores


def armed_production(stores: Stores, failpoint: Failpoint) -> Stores:
    failpoint.arm(stores.uploads, UPLOAD_METHODS + SWEEP_METHODS + ASSEMBLY_METHODS, "uploads.")
    failpoint.arm(stores.outbox, OUTBOX_METHODS, "outbox.")
    failpoint.arm(stores.blobs, PRODUCTION_BLOB_METHODS, "blobs.")
    name = "open_writer"
    setattr(stores.blobs, name, failpoint.arm_writers(stores.blobs.open_writer, "writer."))
    assert isinstance(stores.blobs, S3BlobStore)
    failpoint.arm(stores.blobs._bucket, S3_METHODS, "s3.")
    return stores


def main() -> None:
    settings = Settings()
    configure(settings)
    text = os.environ.get(FAILPOINT_VARIABLE)
    if HANG_VARIABLE in os.environ:
        hang_in_sync(int(os.environ[HANG_VARIABLE]))
    tus = TusServer(settings, stores=armed_stores(settings, Failpoint(text)) if text else None)
    add_hook(tus)
    run(tus, settings, lambda *_: None)


if __name__ == "__main__":
    main()
