"""Ports for the servers of one pytest process, and of the processes that it starts."""

from __future__ import annotations

import os

from trial.processes import FIRST_PORT, LAST_PORT, PORTS_VARIABLE


def keep_ports_apart() -> None:
    """Each of pytest-xdist's processes has a range of its own: a port is found some time before its server listens on
    it, and is kept while that is down."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    width = (LAST_PORT - FIRST_PORT) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    first = FIRST_PORT + width * int(worker.removeprefix("gw"))
    os.environ[PORTS_VARIABLE] = f"{first}-{first + width}"
