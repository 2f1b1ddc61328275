"""Commands of `tuspy-server`, and how their errors are told: in one line, on stderr.

Exit status: 0 done, 1 it did not work, 2 the command or the settings are wrong.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from tuspy_server.app import TusServer
from tuspy_server.cli import checking, health, showing, trouble
from tuspy_server.cli.common import PROGRAM, fail, loaded
from tuspy_server.cli.deliveries import deliveries_app
from tuspy_server.cli.events import events_app
from tuspy_server.cli.flags import ConfigFlag, OtherFlags, ServeFlags
from tuspy_server.cli.sources import WrongSettings, did_you_mean, load, printable
from tuspy_server.compose import bucket_look, pick_stores
from tuspy_server.edge import server, workers
from tuspy_server.logs import STDERR, configure
from tuspy_server.operations import migrate as migrate_database
from tuspy_server.settings import Settings
from tuspy_server.stores.folder_lock import FolderInUse
from tuspy_server.version import VERSION

if TYPE_CHECKING:  # it comes with the extra `s3` alone
    from tuspy_server.stores.s3.capabilities import Capabilities

app = App(
    name=PROGRAM,
    version=f"{PROGRAM} {VERSION}",
    help="Take resumable uploads (tus 1.0.0) over HTTP, and lose none of them.",
    help_epilogue=(
        "Every setting is a flag (--max-size), a variable (TUSPY_MAX_SIZE) and a key of the TOML file (max_size); "
        "flags go over variables, variables over the file. Sizes take units: 5GB, 64MiB."
    ),
)
config_app = App(name="config", help="Look at the settings.")
app.command(config_app)
app.command(events_app)
app.command(deliveries_app)


@app.command(sort_key=0)
@app.default
def serve(*, config: ConfigFlag = None, flags: ServeFlags = None) -> int:
    """Serve uploads until SIGTERM or Ctrl-C (this is what happens without a command)."""
    settings = loaded(config, flags).settings

    def on_listening(host: str, port: int) -> None:
        print(showing.banner(settings, host, port), flush=True)

    if settings.workers > 1:
        workers.run_workers(settings, partial(_work, _seen(settings)), on_listening)
    else:
        server.run(TusServer(settings), settings, on_listening)
    return 0


def _seen(settings: Settings) -> Capabilities:
    """The bucket is tried out once, and not by every worker. SIGTERM ends it as Ctrl-C does: what was written goes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return asyncio.run(bucket_look(settings)())


def _work(seen: Capabilities, settings: Settings, listeners: list[socket.socket], on_ready: Callable[[], None]) -> None:
    configure(settings)
    try:
        server.run(TusServer(settings, stores=pick_stores(settings, seen)), settings, lambda *_: on_ready(), listeners)
    except trouble.expected() as error:
        raise workers.WorkerFailed(trouble.reason(error)) from error


@app.command
def migrate(*, config: ConfigFlag = None, flags: OtherFlags = None) -> int:
    """Bring the tables in PostgreSQL up to date. Every start does so by itself; running servers may go on."""
    settings = loaded(config, flags, quiet=True).settings
    if settings.database_url is None:
        return fail("there is no --database-url; the embedded database is brought up to date by every start", status=2)
    before, after = asyncio.run(migrate_database(settings))
    print(showing.migration(settings, before, after))
    return 0


@app.command
def sweep(
    *,
    dry_run: Annotated[bool, Parameter(negative=(), help="List what is due, change nothing.")] = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """Remove unfinished uploads past their expiry, once. A running server does so by itself."""
    settings = loaded(config, flags, quiet=True).settings
    if settings.s3_bucket is None and not settings.data.is_dir():
        return fail(f"there is no data folder {settings.data}")
    try:
        report = asyncio.run(TusServer(settings).sweep(dry_run=dry_run))
    except FolderInUse:
        return fail(
            f"a running server holds the data folder {settings.data} and sweeps it by itself; "
            "--dry-run lists what is due"
        )
    print(showing.sweep_report(report, dry_run=dry_run))
    return 0


@app.command
def check(*, config: ConfigFlag = None, flags: OtherFlags = None) -> int:
    """Try out everything that a server needs: settings, address, database, and folder or bucket."""
    return asyncio.run(checking.check(loaded(config, flags, quiet=True)))


@app.command(name="health")
def health_command(
    url: Annotated[str | None, Parameter(help="Server to ask; else the one that the settings describe.")] = None,
    /,
    *,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """Ask a running server whether it is ready; exit status 0 if it is."""
    answer = health.ask(url or health.url_of(loaded(config, flags).settings))
    print(answer.text, file=sys.stdout if answer.ready else sys.stderr)
    return 0 if answer.ready else 1


@config_app.command(name="show")
def config_show(*, config: ConfigFlag = None, flags: ServeFlags = None) -> int:
    """Print the settings that a server would have now, as TOML, and where each comes from."""
    print(showing.settings_as_toml(load(flags or {}, config)))
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit. `arguments` replaces those of the process."""
    _hold_standard_streams()
    status = _run(sys.argv[1:] if arguments is None else list(arguments))
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's own end is no place for a traceback either
    sys.exit(status)


def _hold_standard_streams() -> None:
    # Where one of them is closed, the next file to be opened takes its number, and the database gets the logs.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def _run(arguments: list[str]) -> int:
    try:
        status = app(arguments, exit_on_error=False, print_error=False, verbose=False, result_action="return_value")
    except WrongSettings as error:
        return fail(str(error), status=2)
    except CycloptsError as error:
        return fail(_usage(error), status=2)
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter complains of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except trouble.expected() as error:
        return fail(trouble.reason(error))
    except KeyboardInterrupt:
        return server.INTERRUPTED
    return status if isinstance(status, int) else 0


def _usage(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        word = error.unused_tokens[0]
        commands = [name for name in app if not name.startswith("-")]
        if word in commands:
            return f"the command comes before its flags: {PROGRAM} {word} …"
        hint = did_you_mean(word, commands) or f"; there are {', '.join(commands)}"
        return f"{printable(word)} is no command{hint}"
    return f"{' '.join(str(error).split())} See {PROGRAM} --help."
