"""The adapters of one server: which ones the settings want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from tuspy_server.clock import SystemClock
from tuspy_server.compose.belonging import FilesBelong
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assemblies, Batches, BlobStore, Outbox, Peers, ProgressBus, UploadStore, Wakeup
from tuspy_server.settings import Settings
from tuspy_server.stores.filesystem.store import FilesystemBlobStore
from tuspy_server.stores.folder_lock import FolderLock
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.stores import PostgresStores
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.jobs import SqliteJobs
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore

if TYPE_CHECKING:
    from tuspy_server.stores.s3.capabilities import Capabilities
    from tuspy_server.stores.s3.client import S3Client
    from tuspy_server.stores.s3.opening import Look

DATABASE_NAME: Final = "tuspy.sqlite3"
FILES_NAME: Final = "files"
ATTEMPTS: Final = 5
"""Of one call to the bucket, within its deadline."""

PROBE_SECONDS: Final = 10.0
"""Deadline of one call of a probe: an operator waits for it."""
SETTLED_SECONDS: Final = 900.0
"""At least, before what a call of an ended upload may have left behind is looked for once more."""


class Service(Protocol):
    """Something beside the stores that is opened after the rows, and closed before them."""

    async def open(self) -> None:
        """Once, before it is used."""
        ...

    async def close(self) -> None:
        """May be called twice, and without `open`."""
        ...


class News(Wakeup, Peers, Protocol):
    """What processes tell each other."""


class MissingExtra(Exception):
    """The settings need packages that are not installed; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The adapters of one server.

    Attributes:
        lock: guards a folder that only one process may use.
        assemblies: where `blobs` works on after the last byte of an upload.
        news: from other processes on the same rows; without it there are none.
        services: what the stores use.
        jobs: on the same rows; without them there is no API.
        progress: to and from other processes; without it none is told across them.
    """

    uploads: UploadStore
    outbox: Outbox
    blobs: BlobStore
    pool: PagePool
    lock: FolderLock | None = None
    assemblies: Assemblies | None = None
    news: News | None = None
    services: Sequence[Service] = ()
    jobs: Batches | None = None
    progress: ProgressBus | None = None


def pick_stores(settings: Settings, seen: Capabilities | None = None) -> Stores:
    """SQLite and local files in one folder; PostgreSQL and a bucket; or PostgreSQL and local files.

    Args:
        settings: what the operator wants.
        seen: what somebody has seen the bucket do just now; else opening the stores tries it out.

    Raises:
        MissingExtra: a bucket needs the extra `s3`.
    """
    pool = PagePool(settings.pool_bytes)
    if settings.database_url is None:
        clock = SystemClock()
        database = Database(
            settings.data / DATABASE_NAME,
            durable=settings.durability == "disk",
            deadline_seconds=settings.storage_seconds,
        )
        uploads = SqliteUploadStore(database, clock)
        return Stores(
            uploads=uploads,
            outbox=SqliteOutbox(database, clock),
            blobs=_files(settings, pool),
            pool=pool,
            lock=FolderLock(settings.data),
            services=_guards(settings, uploads),
            jobs=SqliteJobs(database, clock),
        )
    rows = PostgresStores(postgres_options(settings))
    if settings.s3_bucket is None:
        return Stores(
            uploads=rows.uploads,
            outbox=rows.outbox,
            blobs=_files(settings, pool),
            pool=pool,
            lock=FolderLock(settings.data),
            news=rows.notifications,
            progress=rows.notifications,
            services=(*_guards(settings, rows.uploads), rows.notifications),
            jobs=rows.jobs,
        )
    client, blobs = _bucket(settings, pool, seen)
    return Stores(
        uploads=rows.uploads,
        outbox=rows.outbox,
        blobs=blobs,
        pool=pool,
        assemblies=rows.uploads,
        news=rows.notifications,
        progress=rows.notifications,
        services=(rows.notifications, client),
        jobs=rows.jobs,
    )


def _files(settings: Settings, pool: PagePool) -> FilesystemBlobStore:
    return FilesystemBlobStore(
        settings.data / FILES_NAME,
        pool,
        durable=settings.durability == "disk",
        deadline_seconds=settings.storage_seconds,
    )


def _guards(settings: Settings, uploads: UploadStore) -> tuple[Service, ...]:
    """Without syncs a power cut may take the rows and leave the files: no reason not to start."""
    return (FilesBelong(settings.data / FILES_NAME, uploads),) if settings.durability == "disk" else ()


def postgres_options(settings: Settings) -> PostgresOptions:
    """How the database of the settings is reached; they name one."""
    if settings.database_url is None:
        raise ValueError("the settings name no database_url")
    listen_url = settings.database_listen_url
    pooled = settings.database_pooling == "transaction"
    return PostgresOptions(
        url=settings.database_url.get_secret_value(),
        listen_url=None if listen_url is None else listen_url.get_secret_value(),
        listens=listen_url is not None or not pooled,
        connections=settings.database_connections,
        call_seconds=settings.database_seconds,
        prepared=not pooled,
        node_seconds=settings.node_seconds,
        settled_seconds=max(SETTLED_SECONDS, 3 * settings.storage_seconds),
    )


def bucket_client(settings: Settings, *, probes: bool = False) -> S3Client:
    """The way to the bucket of the settings, which name one; not opened yet.

    Args:
        settings: what the operator wants.
        probes: for one probe, which somebody waits for: with short deadlines, and one attempt a call, since some of
            its calls are meant to be refused.

    Raises:
        MissingExtra: it needs the extra `s3`.
    """
    if settings.s3_bucket is None:
        raise ValueError("the settings name no s3_bucket")
    try:
        # The extra is not installed everywhere.
        from tuspy_server.stores.s3 import client, values  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra(f"s3_bucket needs {error.name}, which comes with the extra: tuspy-server[s3]") from error
    return client.S3Client(
        values.S3Options(
            bucket=settings.s3_bucket,
            endpoint_url=settings.s3_endpoint_url,
            region=settings.s3_region,
            addressing_style=settings.s3_addressing,
            call_seconds=min(settings.storage_seconds, PROBE_SECONDS) if probes else settings.storage_seconds,
            attempt_seconds=min(settings.storage_seconds / 2, PROBE_SECONDS if probes else settings.storage_seconds),
            most_attempts=1 if probes else ATTEMPTS,
            slots=settings.s3_connections,
            checksums=settings.s3_checksums,
        )
    )


def bucket_look(settings: Settings) -> Look:
    """To be called once, before the bucket of the settings is used.

    Raises:
        MissingExtra: it needs the extra `s3`.
    """
    prober = bucket_client(settings, probes=True)
    from tuspy_server.stores.s3 import opening  # noqa: PLC0415  # not before the extra is known to be there

    return opening.Look(prober, settings.s3_prefix, longest_life_seconds(settings))


def _bucket(settings: Settings, pool: PagePool, seen: Capabilities | None) -> tuple[Service, BlobStore]:
    client = bucket_client(settings)
    from tuspy_server.stores.s3 import keys, opening, part_plan, store  # noqa: PLC0415  # as above

    most_part_bytes = settings.pool_bytes // 4
    plan = part_plan.PartPlan(most_part_bytes=most_part_bytes)
    if settings.s3_part_bytes is not None:
        plan = part_plan.PartPlan(
            part_bytes=settings.s3_part_bytes,
            deferred_part_bytes=settings.s3_part_bytes,
            most_part_bytes=most_part_bytes,
        )
    options = store.S3StoreOptions(
        plan=plan,
        keys=keys.Keys(settings.s3_key, settings.s3_prefix),
        bucket=settings.s3_bucket,
        storage_seconds=4 * settings.storage_seconds,
        link_seconds=round(settings.link_seconds),
    )
    blobs = store.S3BlobStore(client, pool, options, other=client.sibling)

    async def as_seen() -> Capabilities:
        return await bucket_look(settings)() if seen is None else seen

    return opening.ProbedBucket(client, blobs, as_seen), blobs


def longest_life_seconds(settings: Settings) -> float | None:
    """Of an unfinished upload; None for no end."""
    return settings.expires_cap_seconds if settings.expires_seconds else None
