"""What a process logs: one line an event, whatever a client puts into it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cli import environment

SAYING: Final = """
    import logging, structlog, sys, warnings
    from tuspy_server.logs import configure
    from tuspy_server.settings import Settings

    EVIL = "x\\n2026-01-01 [info] forged\\x1b[2J\\r\\x7f\\x9b\\u2028\\u202e"
    configure(Settings(log_format=sys.argv[1], log_level=sys.argv[2]))
    structlog.contextvars.bind_contextvars(request_id="r1")
    log = structlog.get_logger("tuspy_server.test")
    log.info("plain", path=EVIL, nested={EVIL: EVIL}, raw=EVIL.encode(), count=3, nothing=None, surrogate="\\udc80")
    log.debug("detail")
    logging.getLogger("uvicorn.error").error("library said %s", EVIL)
    logging.getLogger("uvicorn.error").info("started")
    warnings.warn(EVIL)
    try:
        raise ValueError(EVIL)
    except ValueError:
        log.exception("broken")
        logging.getLogger("other").exception("broken too")
"""


def say(tmp_path: Path, log_format: str, log_level: str = "info") -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SAYING), log_format, log_level],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"", "logs go to stderr"
    return done.stderr.decode()


def json_events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n") if line]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_character_of_a_value_reaches_the_terminal(log_format: str, tmp_path: Path) -> None:
    """Fault X19: line ends, escapes and direction marks in paths, messages and exceptions come out as text."""
    text = say(tmp_path, log_format)
    assert text.endswith("\n")
    assert all(letter.isprintable() for letter in text if letter != "\n")
    assert not any(line.startswith("2026-01-01") for line in text.split("\n"))


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    """Every event, ours and those of libraries, has a level, a time in UTC and the request's id."""
    events = json_events(say(tmp_path, "json"))
    assert len(events) == 5
    assert events[0]["event"] == "plain"
    assert (events[0]["count"], events[0]["nothing"]) == (3, None)
    assert events[0]["path"].startswith("x\n2026-01-01 [info] forged\x1b")
    for event in events:
        assert event["request_id"] == "r1"
        assert event["level"] in ("info", "warning", "error")
        assert event["timestamp"].endswith("Z")
        assert abs((datetime.now(UTC) - datetime.fromisoformat(event["timestamp"])).total_seconds()) < 600
    assert "ValueError: x\n" in events[3]["exception"]


def test_auto_is_json_where_no_terminal_is(tmp_path: Path) -> None:
    """Under a supervisor the lines are for machines."""
    assert json_events(say(tmp_path, "auto"))[0]["event"] == "plain"


def test_level_hides_what_is_less_severe(tmp_path: Path) -> None:
    """`error` shows errors alone; `debug` shows everything, the chatter of libraries too."""
    assert {event["level"] for event in json_events(say(tmp_path, "json", "error"))} == {"error"}
    shown = [event["event"] for event in json_events(say(tmp_path, "json", "debug"))]
    assert "detail" in shown
    assert "started" in shown


def test_full_disk_under_the_log_fails_nothing(tmp_path: Path) -> None:
    """Where a line cannot be written it is lost, and the request that wrote it goes on."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SAYING), "json", "info"],
            cwd=tmp_path,
            env=environment(),
            stderr=full,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0


ROUNDS: Final = """
    import asyncio, os, structlog, sys
    from tuspy_server.logs import configure
    from tuspy_server.settings import Settings

    configure(Settings(log_format="json"))
    log = structlog.get_logger("tuspy_server.test")

    async def say(*names):
        for name in names:
            log.info(name)

    async def say_in_a_thread():
        log.info("before")
        await asyncio.to_thread(log.info, "in a thread")

    log.info("outside")
    asyncio.run(say("one", "two"))
    asyncio.run(say("three"))
    asyncio.run(say_in_a_thread())
    async def trouble():
        log.info("four")
        log.warning("trouble")
        os._exit(0)
    asyncio.run(trouble())
"""


def test_lines_wait_for_nothing_but_the_end_of_a_round_and_not_behind_trouble(tmp_path: Path) -> None:
    """Lines are written together where a loop runs; none is lost or late where it ends, in threads, or in a crash."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ROUNDS)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    said = [event["event"] for event in json_events(done.stderr.decode())]
    assert said == ["outside", "one", "two", "three", "before", "in a thread", "four", "trouble"]
