"""The command line: `tuspy-server`."""

from __future__ import annotations

import signal
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit. `arguments` replaces those of the process."""
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # In the imports a KeyboardInterrupt is a traceback, or lost in a callback of C; and nothing is open yet.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tuspy_server.cli.commands import main as run  # noqa: PLC0415

    run(arguments)


__all__ = ["main"]
