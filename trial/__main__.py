"""`make serve-s3`: a tuspy-server on a PostgreSQL and an S3 gateway of its own, below one folder.

Rows and finished uploads survive a restart. The gateway keeps multipart uploads in memory: at its end, the uploads that
are larger than a part and unfinished are lost, and their clients begin anew.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from trial import lifeline
from trial.gateways import Bucket, Rclone
from trial.postgres import PostgresServer
from trial.processes import ServerTrouble

BUCKET: Final = "uploads"
DATABASE: Final = "tuspy"
START_SECONDS: Final = 20.0
END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def command(port: int, database_url: str, bucket: Bucket, data: Path) -> list[str]:
    """The server's own command line."""
    return [
        str(Path(sys.executable).parent / "tuspy-server"),
        *("--port", str(port)),
        *("--data", str(data)),
        *("--database-url", database_url),
        *("--s3-bucket", bucket.name),
        *("--s3-endpoint-url", bucket.endpoint_url),
        *("--s3-region", bucket.region),
        *("--s3-addressing", "path"),
    ]


def serve(port: int, data: Path) -> int:
    """Until a signal, or until the server ends by itself; its exit code."""
    with ExitStack() as stack:
        postgres = PostgresServer(data / "postgres")
        stack.callback(postgres.stop)
        postgres.start(START_SECONDS)
        gateway = Rclone(data / "s3")
        stack.callback(gateway.stop)
        bucket = gateway.start().make_bucket(BUCKET)
        database_url = postgres.ensure_database(DATABASE)
        print(f"uploads     http://127.0.0.1:{port}/files/")
        print(f"PostgreSQL  {database_url}")
        print(f"S3          {bucket.endpoint_url}/{bucket.name}  ({gateway.folder / 'objects' / bucket.name})")
        print(f"            AWS_ACCESS_KEY_ID={bucket.access_key_id} AWS_SECRET_ACCESS_KEY={bucket.secret_access_key}")
        print("Ctrl-C ends all three.", flush=True)
        server = subprocess.Popen(
            command(port, database_url, bucket, data / "server"),
            env={**os.environ, **bucket.environment},
            start_new_session=True,
        )
        lifeline.watch(server)
        _pass_on(server)
        code = server.wait()
        lifeline.forget(server.pid)
        return code


def _pass_on(server: subprocess.Popen[bytes]) -> None:
    """A first signal lets the server end in its own order, a second one in a hurry; the others end after it."""

    def tell(number: int, _frame: FrameType | None) -> None:
        server.send_signal(number)

    for number in END_SIGNALS:
        signal.signal(number, tell)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="trial", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--data", type=Path, default=Path("data-s3"))
    options = parser.parse_args()
    on_signal: Callable[[int, FrameType | None], None] = _end
    for number in END_SIGNALS:
        signal.signal(number, on_signal)
    try:
        return serve(options.port, options.data.absolute())
    except ServerTrouble as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
