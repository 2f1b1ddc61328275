"""Logs of a process: structlog and the standard library through one renderer, to stderr.

Only the command line calls `configure`; an application that mounts `TusServer` keeps its own logging.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import logging
import os
import threading
import time
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import ExcInfo, Processor

from tuspy_server.settings import Settings

STDERR: Final = 2
LIBRARY_LEVEL: Final = logging.WARNING
"""What uvicorn and asyncio say below it is of no use to an operator; `log_level = "debug"` shows it all the same."""


def configure(settings: Settings) -> None:
    """Set up logging for this process, once, before anything logs."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not _is_terminal())
    stderr = _Stderr()
    atexit.register(stderr.flush)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _Timestamp(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, _json_renderer] if as_json else [escape_controls, _console_renderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(cast("TextIO", stderr))  # all that is asked of it is to write and to flush
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level if level == logging.DEBUG else max(level, LIBRARY_LEVEL))
    logging.captureWarnings(capture=True)


def _is_terminal() -> bool:
    return os.isatty(STDERR)


class _Stderr(io.TextIOBase):
    """stderr without errors: a full disk under a log file must not fail an upload.

    Lines of one round of the event loop go out together, at its end: a system call each would cost more than the rest
    of the line. Outside of a loop nothing waits.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._adding = threading.Lock()
        self._writing = threading.Lock()
        self._due_in: asyncio.AbstractEventLoop | None = None

    def write(self, text: str) -> int:
        with self._adding:
            self._lines.append(text)
        return len(text)

    def flush(self) -> None:
        with self._writing:
            with self._adding:
                lines, self._lines = self._lines, []
            rest = memoryview("".join(lines).encode("utf-8", "backslashreplace"))
            try:
                while rest:
                    rest = rest[os.write(STDERR, rest) :]
            except OSError:
                pass  # there is nobody left to tell

    def flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._due_in = None
        self.flush()


class _Lines:
    """What structlog writes to. Trouble is told at once: what comes next may be the end of the process."""

    def __init__(self, stderr: _Stderr) -> None:
        self._stderr = stderr

    def _soon(self, line: str) -> None:
        self._stderr.write(f"{line}\n")
        self._stderr.flush_soon()

    def _now(self, line: str) -> None:
        self._stderr.write(f"{line}\n")
        self._stderr.flush()

    debug = info = msg = _soon
    warn = warning = err = error = failure = fatal = critical = exception = log = _now


class _Timestamp:
    """Adds the time, ISO 8601 in UTC; what is the same for a whole second is made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        event["timestamp"] = f"{self._text}.{nanoseconds // 1000:06d}Z"
        return event


def escape(text: str) -> str:
    r"""Every character that could move a cursor, end a line or reverse its order becomes visible: `\x1b`, `\n`."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def escape_controls(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape keys and values for a terminal (fault X19). Values that are no texts are escaped in their `repr`."""
    return {
        escape(key): value if key == "exc_info" or isinstance(value, (int, float)) else _escaped(value)
        for key, value in event.items()
    }


def _escaped(value: object) -> str:
    return escape(value if isinstance(value, str) else repr(value))


# ensure_ascii escapes every control character but one. What is no JSON is told as structlog tells it, by its `repr`.
_encode: Final = json.JSONEncoder(ensure_ascii=True, default=repr).encode


def _json_renderer(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    line = _encode(event)
    return line.replace("\x7f", "\\u007f") if "\x7f" in line else line


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    colors = _is_terminal() and "NO_COLOR" not in os.environ
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_exception)


def _write_exception(
    stream: TextIO, exc_info: ExcInfo | tuple[type[BaseException], BaseException, TracebackType]
) -> None:
    """A traceback in lines that no message of an exception can forge or leave."""
    lines = [line for entry in traceback.format_exception(*exc_info) for line in entry.rstrip("\n").split("\n")]
    stream.writelines(f"\n    | {escape(line)}" for line in lines)
