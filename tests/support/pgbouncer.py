"""Debian's PgBouncer in transaction mode in front of the PostgreSQL of the tests."""

from __future__ import annotations

import os
import pwd
import signal
from pathlib import Path
from typing import Final, Self

from tests.support.fixtures import need
from tests.support.programs import find
from trial.postgres import SUPERUSER, UNPRIVILEGED
from trial.processes import Child, free_port, listens

CONFIGURATION: Final = """
[databases]
* = host=127.0.0.1 port={postgres_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
admin_users = {user}
pool_mode = transaction
max_client_conn = 1000
default_pool_size = {pool_size}
"""


class PgBouncer:
    """One PgBouncer whose port outlives its restarts."""

    def __init__(self, folder: Path, postgres_port: int, *, pool_size: int = 20) -> None:
        """`folder` is one that anybody may enter: as root it runs as somebody else."""
        self.port = free_port()
        self.log_path = folder / "pgbouncer.log"
        self._folder = folder
        self._postgres_port = postgres_port
        self._pool_size = pool_size
        self._child: Child | None = None

    def dsn(self, database: str) -> str:
        """The same database, past the pooler. Its console is the database `pgbouncer`."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Skips the test where there is no PgBouncer, but fails it in CI."""
        program = find("pgbouncer") or need("pgbouncer")
        (self._folder / "users.txt").write_text(f'"{SUPERUSER}" ""\n')
        path = self._folder / "pgbouncer.ini"
        path.write_text(
            CONFIGURATION.format(
                folder=self._folder,
                port=self.port,
                postgres_port=self._postgres_port,
                pool_size=self._pool_size,
                user=SUPERUSER,
            )
        )
        user = pwd.getpwnam(UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
        child = Child([program, path], self.log_path, user=user)
        self._child = child.wait_until(lambda: listens(self.port))
        return self

    def stop(self) -> None:
        """At once; does nothing when it does not run."""
        if self._child is not None:
            child, self._child = self._child, None
            child.end(signal.SIGTERM)
