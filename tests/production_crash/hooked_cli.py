"""`tuspy-server` as the command line runs it, with the hook of `tests.support.events`."""

from __future__ import annotations

from tests.support.events import add_hook
from tuspy_server import Settings, TusServer
from tuspy_server.edge.server import run
from tuspy_server.logs import configure


def main() -> None:
    settings = Settings()
    configure(settings)
    tus = TusServer(settings)
    add_hook(tus)
    run(tus, settings, lambda *_: None)


if __name__ == "__main__":
    main()
