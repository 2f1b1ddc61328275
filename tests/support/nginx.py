"""Debian's nginx in front of a server, as a process of the test's own with a configuration of the test's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final, Self

from tests.support.fixtures import need
from tests.support.programs import find
from trial.processes import Child, free_port, listens

CONFIGURATION: Final = """
{user}
daemon off;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


class Nginx:
    """One nginx whose port outlives its restarts."""

    def __init__(self, folder: Path, server: str, *, http: str = "") -> None:
        """`server` is what stands in the server block, such as a location; `http` what stands before that block."""
        self.port = free_port()
        self.log_path = folder / "nginx.log"
        self._folder = folder
        self._blocks = {"server": server, "http": http}
        self._child: Child | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Skips the test where there is no nginx, but fails it in CI."""
        program = find("nginx") or need("nginx")
        # As root its workers would be somebody else, who may not enter the folders of tests.
        user = "user root;" if os.geteuid() == 0 else ""
        path = self._folder / "nginx.conf"
        path.write_text(CONFIGURATION.format(user=user, folder=self._folder, port=self.port, **self._blocks))
        child = Child([program, "-p", self._folder, "-c", path, "-e", self.log_path], self.log_path)
        self._child = child.wait_until(lambda: listens(self.port))
        return self

    def stop(self) -> None:
        """Requests under way are cut; does nothing when it does not run."""
        if self._child is not None:
            child, self._child = self._child, None
            child.end(signal.SIGTERM)
