"""The API of jobs and lists, and the streams of events."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field, SecretStr, field_validator

from tuspy_server.settings.events import EventSettings
from tuspy_server.settings.kinds import DAY_SECONDS, Seconds, Texts

_NAME: Final = re.compile(r"\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class ApiSettings(EventSettings):
    """Who may ask for more than the one upload or job whose id it knows, and what jobs may be."""

    api_token: SecretStr | None = Field(
        default=None, description="Bearer token that opens lists, sums and all events; unset: they are closed."
    )
    api_open: bool = Field(default=False, description="Whether they are open to everybody, without a token.")
    api_hosts: Texts = Field(
        default=(),
        description="Names by which api_open holds, besides public_url's, addresses and local names; * for any.",
    )
    stream_heartbeat_seconds: Seconds = Field(
        default=15.0, gt=0, description="Most silence of a stream of events (/events, /ws)."
    )
    stream_most: int = Field(default=10_000, ge=0, description="Most streams of events that are open in one process.")
    job_most_files: int = Field(default=10_000, ge=1, le=100_000, description="Most files of one job.")
    job_seconds: Seconds = Field(
        default=30 * DAY_SECONDS,
        gt=0,
        description="How long a job is kept after it was made; longer while one of its files is open.",
    )
    job_by_metadata: bool = Field(default=False, description="Whether an upload may join a job by its metadata `job`.")

    @field_validator("api_hosts")
    @classmethod
    def _hosts_are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_NAME.fullmatch(name) for name in names):
            raise ValueError("each must be * or a name such as upload.example.org, without a port")
        return names
