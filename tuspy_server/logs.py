"""Logs of a process: structlog and the standard library through one renderer, to stderr.

Only the command line calls `configure`; an application that mounts `TusServer` keeps its own logging.
"""

from __future__ import annotations

import io
import logging
import os
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
    renderer = _json_renderer if as_json else _console_renderer()
    stderr = cast("TextIO", _Stderr())  # all that is asked of it is to write
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [structlog.processors.format_exc_info, renderer] if as_json else [escape_controls, renderer]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
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
    """stderr without a buffer and without errors: a full disk under a log file must not fail an upload."""

    def write(self, text: str) -> int:
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while rest:
                rest = rest[os.write(STDERR, rest) :]
        except OSError:
            pass  # there is nobody left to tell
        return len(text)


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


def _json_renderer(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    # ensure_ascii escapes every control character but one.
    line = structlog.processors.JSONRenderer(ensure_ascii=True)(logger, method, event)
    return str(line).replace("\x7f", "\\u007f")


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    colors = _is_terminal() and "NO_COLOR" not in os.environ
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_exception)


def _write_exception(
    stream: TextIO, exc_info: ExcInfo | tuple[type[BaseException], BaseException, TracebackType]
) -> None:
    """A traceback in lines that no message of an exception can forge or leave."""
    lines = [line for entry in traceback.format_exception(*exc_info) for line in entry.rstrip("\n").split("\n")]
    stream.writelines(f"\n    | {escape(line)}" for line in lines)
