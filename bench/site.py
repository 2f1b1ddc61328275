"""Where one server runs: its port and folder, and the services that it stands on, if it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

BUCKET: Final = "bench"
REGION: Final = "us-east-1"
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": REGION}


class Missing(Exception):
    """This server cannot run here; the text says why."""


class Site(NamedTuple):
    """What a server's command line is made of."""

    port: int
    data: Path
    """An empty folder."""
    s3_url: str = ""
    database_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How one server is started, and where it keeps what it took."""

    name: str
    version: str
    note: str
    """What it does before it acknowledges, and how it is set up."""
    command: Callable[[Site], Sequence[str]]
    store: Literal["files", "s3"] = "files"
    stored: Callable[[Path, str], Path] | None = None
    """The file of an upload, of the data folder and the last segment of its URL; None: there is no file."""
    stored_key: Callable[[str], str] | None = None
    """The object of an upload, of the last segment of its URL; None: the one whose key has that segment in it."""
    ours: bool = False
    variant: bool = False
    """A setting of ours that is no default: measured for the shapes, not for growth."""
    postgres: bool = False
    """Whether it wants a database."""
    most_repeats: int = 100
    environment: Mapping[str, str] = field(default_factory=dict)
