"""The command line: `tuspy-server`."""

from tuspy_server.cli.commands import main

__all__ = ["main"]
