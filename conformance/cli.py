"""The command line: `tus-conformance URL`."""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from conformance import __version__, report
from conformance.case import Case
from conformance.message import Closed
from conformance.runner import Result, run, select
from conformance.target import Options, Target, discover

USAGE_ERROR = 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
    parser = argparse.ArgumentParser(
        prog="tus-conformance", description="Judge a tus server by the URL at which it creates uploads."
    )
    add = parser.add_argument
    add("url", nargs="?", help="the creation URL, such as http://127.0.0.1:8080/files/")
    add("--version", action="version", version=__version__)
    add("--list", action="store_true", help="list the cases and judge nothing")
    add("--only", action="append", default=[], metavar="PATTERN", help="cases whose id matches, as CORE-PATCH-*")
    add("--skip", action="append", default=[], metavar="PATTERN", help="no cases whose id matches")
    add("--extension", action="append", default=[], metavar="NAME", help="cases of an extension, of user, or of rufh")
    add("--header", action="append", default=[], metavar="K: V", help="sent with each request, as credentials")
    add("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    add("--report", type=Path, metavar="FILE", help="write Markdown")
    add("--json", type=Path, metavar="FILE", help="write JSON")
    add("--timeout", type=_positive, default=90.0, metavar="SECONDS", help="longest time of a case (%(default)s)")
    add("--parallel", type=int, default=6, metavar="N", help="cases at a time (%(default)s)")
    add("--seed", type=int, metavar="N", help="of the random cases; by default another one each time, and printed")
    add("--small-uploads", type=int, default=1000, metavar="N", help="uploads of USER-SMALL-01 (%(default)s)")
    add("--no-cleanup", action="store_true", help="leave what was created on the server")
    add("--insecure", action="store_true", help="do not verify the server's TLS certificate")
    about = parser.add_argument_group("what only the operator knows; cases that need it are skipped otherwise")
    add = about.add_argument
    add("--max-size", type=int, metavar="BYTES", help="the limit that the server enforces")
    add("--expires-seconds", type=_positive, metavar="SECONDS", help="an unfinished upload expires so soon")
    add("--read-timeout-seconds", type=_positive, metavar="SECONDS", help="the server ends a stalled request so soon")
    add("--trusts-proxy", choices=("yes", "no"), help="whether the server believes X-Forwarded headers")
    add("--foreign-origin", metavar="ORIGIN", help="an origin that the server's CORS allow-list refuses")
    add("--restart-command", metavar="CMD", help="kills the server by -9 and ends when it serves again")
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or "\n" in text or "\r" in text:
        raise ValueError(f"--header wants 'Name: value', got {text!r}")
    return name.strip(), value.strip()


def options(args: argparse.Namespace) -> Options:
    """Turn parsed arguments into options. Raises ValueError for a value that makes no sense."""
    if args.parallel < 1 or args.small_uploads < 1:
        raise ValueError("--parallel and --small-uploads want a number of at least 1")
    return Options(
        headers=tuple(_header(text) for text in args.header),
        case_seconds=args.timeout,
        answer_seconds=min(35.0, args.timeout),
        parallel=args.parallel,
        seed=random.SystemRandom().randrange(1 << 31) if args.seed is None else args.seed,
        small_uploads=args.small_uploads,
        max_size=args.max_size,
        expires_seconds=args.expires_seconds,
        read_timeout_seconds=args.read_timeout_seconds,
        trusts_proxy=None if args.trusts_proxy is None else args.trusts_proxy == "yes",
        foreign_origin=args.foreign_origin,
        restart_command=args.restart_command,
        cleanup=not args.no_cleanup,
        verify_tls=not args.insecure,
    )


class Progress:
    """One line on a terminal that says how far the run is; silent elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._failed = total, 0, 0
        self._shown = sys.stderr.isatty()

    def __call__(self, result: Result) -> None:
        """Count one result."""
        self._done = min(self._done + 1, self._total)
        self._failed += result.status == "failed"
        if self._shown:
            print(f"\r{self._done}/{self._total}, {self._failed} failed  {result.id:<20}", end="", file=sys.stderr)

    def end(self) -> None:
        """Wipe the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr)


async def judge(url: str, chosen: Options, cases: Sequence[Case]) -> tuple[Target, list[Result]]:
    """Discover the target and run the cases. Raises Closed if nobody listens there."""
    target = await discover(url, chosen)
    progress = Progress(len(cases))
    results = await run(target, cases, progress)
    progress.end()
    return target, results


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 if a MUST rule failed, or 2 if nothing could be judged."""
    args = parser().parse_args(argv)
    # Hypothesis would leave a folder where the user stands.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "tus-conformance")))
    cases = select(args.only, args.extension, args.skip)
    if args.list:
        for case in cases:
            row = case.requirement
            print(f"{row.id:<16} {row.level:<9} {row.heading:<24} {row.request}")
        return 0
    try:
        chosen = options(args)
        if not args.url or urlsplit(args.url).scheme not in {"http", "https"} or not urlsplit(args.url).hostname:
            raise ValueError("give the http or https URL at which the server creates uploads")
        if not cases:
            raise ValueError("no case matches")
        target, results = asyncio.run(judge(args.url, chosen, cases))
    except (ValueError, Closed) as error:
        print(f"tus-conformance: {error}", file=sys.stderr)
        return USAGE_ERROR
    for path, text in (
        (args.junit, report.as_junit),
        (args.report, report.as_markdown),
        (args.json, report.as_json),
    ):
        if path:
            path.write_text(text(target, results), encoding="utf-8")
    for result in results:
        if result.status == "failed":
            print(report.failure(result) + "\n")
    print(f"{target.url}: {target.server or 'server not named'}, seed {chosen.seed}\n")
    print(report.table(results) + "\n")
    print(report.counts(results))
    return int(report.must_failed(results))
