"""What all commands begin and end with."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Final

from tuspy_server.cli.sources import Loaded, load
from tuspy_server.logs import configure

PROGRAM: Final = "tuspy-server"


def loaded(config: Path | None, flags: dict[str, object] | None, *, quiet: bool = False) -> Loaded:
    """The settings, with logs as they say.

    Args:
        config: see `--config`.
        flags: those that were given.
        quiet: of a command that says itself what it meets; logs of less than errors are for who asks for them.
    """
    found = load(flags or {}, config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # From here on things are opened and written, and Ctrl-C has to take them away again.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = found.settings
    if quiet and "log_level" not in found.given:
        settings = settings.model_copy(update={"log_level": "error"})
    configure(settings)
    return found


def fail(text: str, *, status: int = 1) -> int:
    """One line on stderr, and the status to exit with."""
    print(f"{PROGRAM}: {text}", file=sys.stderr)
    return status
