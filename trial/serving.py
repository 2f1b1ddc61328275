"""`make serve-s3`: a tuspy-server on a PostgreSQL and an S3 gateway of its own, below one folder.

Rows and finished uploads survive a restart. The gateway keeps multipart uploads in memory: at its end, the uploads that
are larger than a part and unfinished are lost, and their clients begin anew.
"""

from __future__ import annotations

import argparse
import fcntl
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
from trial.processes import END_SIGNALS, ServerTrouble, listens, signals_held

BUCKET: Final = "uploads"
DATABASE: Final = "tuspy"
START_SECONDS: Final = 20.0
LAST_PORT: Final = 65_535


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
    """Until a signal, or until the server ends by itself; its exit code.

    Raises:
        ServerTrouble: one of the three cannot start here; the message says what to do where that is known.
    """
    with ExitStack() as stack:
        stack.callback(os.close, _locked(data))
        if listens(port):
            raise ServerTrouble(f"another process listens on 127.0.0.1:{port}: name another port by PORT=")
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
        with signals_held():
            server = subprocess.Popen(
                command(port, database_url, bucket, data / "server"),
                env={**os.environ, **bucket.environment},
                start_new_session=True,
            )
            stack.callback(_end_server, server)
            lifeline.watch(server)
        told = _pass_on(server)
        code = server.wait()
        # A server that was still being imported ends by the signal; that is as good an end.
        return 0 if -code in told else code


def _locked(data: Path) -> int:
    """The descriptor of a lock on the folder, which is made where needed: two trials would be two PostgreSQLs on it."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise ServerTrouble(f"the folder {data} cannot be used: {reason}; name another by DATA=") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ServerTrouble(
            f"another make serve-s3 uses the folder {data}: end it, or name another by DATA="
        ) from error
    return descriptor


def _end_server(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait()
    lifeline.forget(server.pid)


def _pass_on(server: subprocess.Popen[bytes]) -> list[int]:
    """A first signal lets the server end in its own order, a second one in a hurry; the others end after it.

    Returns: the signals, as they come.
    """
    told: list[int] = []

    def tell(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        server.send_signal(number)

    for number in END_SIGNALS:
        signal.signal(number, tell)
    return told


def _end(number: int, _frame: FrameType | None) -> None:
    for each in END_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one must not break off the end of what runs already
    raise SystemExit(128 + number)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {LAST_PORT}, and is {text!r}")
    return int(text)


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="serve-s3", usage="PORT=8080 DATA=data-s3 make serve-s3")
    parser.add_argument("--port", type=_port, default=8080)
    parser.add_argument("--data", type=Path, default=Path("data-s3"))
    options = parser.parse_args()
    on_signal: Callable[[int, FrameType | None], None] = _end
    for number in END_SIGNALS:
        signal.signal(number, on_signal)
    try:
        return serve(options.port, options.data.absolute())
    except (ServerTrouble, OSError) as error:
        print(f"serve-s3: {error}", file=sys.stderr)
        return 1
