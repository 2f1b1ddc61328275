"""What goes into the API and comes out of it; the OpenAPI description is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator
from pydantic.alias_generators import to_camel

from tuspy_server.jobs.standing import JobStatus
from tuspy_server.ports import FileStatus
from tuspy_server.protocol.fields import MAX_INTEGER

NAME_BYTES: Final = 1024
TYPE_CHARACTERS: Final = 255
MOST_MEMBERS: Final = 64
MOST_FILES: Final = 100_000
"""What the setting `job_most_files` may be at most."""


def _at_most(most_bytes: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(text.encode()) > most_bytes:
            raise ValueError(f"must have {most_bytes} bytes at most")
        return text

    return AfterValidator(check)


def _is_small(value: object) -> object:
    if isinstance(value, dict) and len(value) > MOST_MEMBERS:
        raise ValueError(f"must have {MOST_MEMBERS} members at most")
    return value


class Asked(BaseModel):
    """From a client: taken as it is, without guesses at what was meant."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _has_few_members(cls, value: object) -> object:
        # Each unknown member would be an error of its own, and a body has room for many.
        return _is_small(value)


class FileAsked(Asked):
    """A file that is to be uploaded."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_BYTES), _at_most(NAME_BYTES)] = Field(
        description="Becomes `filename` of its metadata; 1024 bytes at most.", examples=["photo.jpg"]
    )
    length: int | None = Field(
        default=None, ge=0, le=MAX_INTEGER, description="Bytes; absent or null where it is not known yet."
    )
    type: str | None = Field(
        default=None,
        min_length=1,
        max_length=TYPE_CHARACTERS,
        description="Media type; becomes `filetype` of its metadata.",
        examples=["image/jpeg"],
    )
    metadata: Annotated[dict[str, str], BeforeValidator(_is_small)] = Field(
        default={}, description="Further metadata. Keys are visible ASCII without commas; values are any text."
    )


class FilesAsked(Asked):
    """Files of a job, all or none."""

    files: Annotated[list[FileAsked], FailFast()] = Field(max_length=MOST_FILES)


class ProgressAsked(Asked):
    """How far a client believes to have come. Those who follow the upload are told how far it has come indeed."""

    job_id: str | None = Field(default=None, min_length=1, max_length=64)
    upload_id: str = Field(min_length=1, max_length=64)
    bytes_uploaded: int = Field(ge=0, le=MAX_INTEGER)
    bytes_total: int | None = Field(default=None, ge=0, le=MAX_INTEGER)
    bytes_per_second: float | None = Field(default=None, ge=0, le=float(MAX_INTEGER), strict=False)


class Shown(BaseModel):
    """To a client."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_serialization_defaults_required=True,
        extra="forbid",
    )


class UploadShown(Shown):
    """One upload."""

    id: str
    url: str = Field(description="Where its bytes go (tus); absolute where the server knows its own origin.")
    job_id: str | None
    number: int | None = Field(description="Its place in its job, from 1.")
    name: str | None
    type: str | None
    metadata: dict[str, str]
    status: FileStatus
    offset: int = Field(description="Bytes that have arrived and are safe.")
    length: int | None
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None


class BytesShown(Shown):
    """Bytes of all files of a job."""

    uploaded: int
    total: int = Field(description="Of the files whose length is known.")


class JobSummary(Shown):
    """A job without its files."""

    id: str
    url: str
    status: JobStatus
    created_at: datetime
    cancelled_at: datetime | None
    total_count: int
    queued_count: int
    uploading_count: int
    processing_count: int
    completed_count: int
    failed_count: int
    cancelled_count: int
    expired_count: int
    bytes: BytesShown


class JobShown(JobSummary):
    """A job with some of its files."""

    files: list[UploadShown]
    next_after: int | None = Field(description="Ask with `after=` this for the files behind; null at the end.")


class FilesShown(Shown):
    """Files that were added to a job."""

    job_id: str
    files: list[UploadShown]


class JobsShown(Shown):
    """Jobs, the newest first."""

    jobs: list[JobSummary]
    next_before: str | None = Field(description="Ask with `before=` this for older ones; null at the end.")


class UploadsShown(Shown):
    """Uploads, the newest first."""

    uploads: list[UploadShown]
    next_before: str | None = Field(description="Ask with `before=` this for older ones; null at the end.")


class QuantilesShown(Shown):
    """Of the finished uploads; null without one."""

    median: float | None
    p95: float | None
    max: float | None


class StatsShown(Shown):
    """Sums over uploads."""

    total_count: int
    queued_count: int
    uploading_count: int
    processing_count: int
    completed_count: int
    failed_count: int
    cancelled_count: int
    expired_count: int
    success_rate: float | None = Field(
        description="Completed ones, as a part of those that were completed, failed or expired; null without any."
    )
    received_bytes: int = Field(description="Of all uploads, as far as they came.")
    finished_bytes: int = Field(description="Of the finished ones.")
    bytes_per_second: float | None = Field(
        description="Bytes of the finished ones by the time from their creation to their finish; null without any."
    )
    length: QuantilesShown
    duration_seconds: QuantilesShown
    errors: dict[str, int] = Field(description="Failed ones by reason.")


class ErrorShown(Shown):
    """What is wrong where."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the body.")
    detail: str


class Problem(BaseModel):
    """Why not (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the problem; see the reference of answers.")
    errors: list[ErrorShown] | None = None
