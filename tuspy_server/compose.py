"""The composition root: the only module that picks adapters and joins them to the lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from tuspy_server.clock import SystemClock
from tuspy_server.events.blocking import BlockingHooks
from tuspy_server.events.gate import GateChain, HookGate
from tuspy_server.events.hooks import Hooks
from tuspy_server.events.relay import Relay
from tuspy_server.events.retries import hook_retries, webhook_retries
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.events.webhooks.gate import HttpGate, gate_over_http
from tuspy_server.events.webhooks.sender import Senders
from tuspy_server.jobs.service import Jobs
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assemblies, BlobStore, Lifetime, Outbox, Peers, ProgressBus, UploadStore, Wakeup
from tuspy_server.protocol.policy import Policy
from tuspy_server.settings import DAY_SECONDS, Settings
from tuspy_server.stores.filesystem.store import FilesystemBlobStore
from tuspy_server.stores.folder_lock import FolderLock
from tuspy_server.stores.postgres.options import PostgresOptions
from tuspy_server.stores.postgres.stores import PostgresStores
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.jobs import SqliteJobs
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.means import AppendOptions
from tuspy_server.uploads.observer import Observers
from tuspy_server.uploads.sweeper import Chore, Sweeper
from tuspy_server.web.api.api import ApiOptions, ApiParts, Batches, make_api
from tuspy_server.web.api.endpoint import ApiEndpoint
from tuspy_server.web.authority import Authority
from tuspy_server.web.cors import Cors
from tuspy_server.web.endpoint import UploadsEndpoint
from tuspy_server.web.location import Locations
from tuspy_server.web.metrics import Metrics
from tuspy_server.web.streams import Streams, make_streams

if TYPE_CHECKING:
    from tuspy_server.stores.s3.client import S3Client

DATABASE_NAME: Final = "tuspy.sqlite3"
FILES_NAME: Final = "files"
FORGET_SECONDS: Final = 30 * DAY_SECONDS
"""Without a word of a consumer, before what would wait for it is given up."""
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


class Outgoing(Protocol):
    """Connections to others, opened when they are needed."""

    async def close(self) -> None:
        """May be called twice, and without anything open."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One server, put together and not yet started."""

    stores: Stores
    uploads: Uploads
    sweeper: Sweeper
    relay: Relay
    endpoint: UploadsEndpoint
    authority: Authority
    streams: Streams
    metrics: Metrics
    outgoing: Sequence[Outgoing] = ()
    """To be closed when nothing is sent any more."""
    jobs: Jobs | None = None
    api: ApiEndpoint | None = None


def pick_stores(settings: Settings) -> Stores:
    """SQLite and local files in one folder; PostgreSQL and a bucket; or PostgreSQL and local files.

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
        return Stores(
            uploads=SqliteUploadStore(database, clock),
            outbox=SqliteOutbox(database, clock),
            blobs=_files(settings, pool),
            pool=pool,
            lock=FolderLock(settings.data),
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
            services=(rows.notifications,),
            jobs=rows.jobs,
        )
    client, blobs = _bucket(settings, pool)
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


def _bucket(settings: Settings, pool: PagePool) -> tuple[Service, BlobStore]:
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
    prober = bucket_client(settings, probes=True)
    prefix, longest_seconds = settings.s3_prefix, longest_life_seconds(settings)
    return opening.ProbedBucket(client, blobs, prober, prefix=prefix, longest_seconds=longest_seconds), blobs


def _gate_over_http(settings: Settings, blobs: BlobStore) -> list[HttpGate]:
    if settings.hook_url is None:
        return []
    return [
        gate_over_http(
            settings.hook_url.get_secret_value(),
            settings.hook_kinds,
            deadline_seconds=settings.hook_url_seconds,
            secret=None if settings.hook_secret is None else settings.hook_secret.get_secret_value(),
            local_path=partial(_local_path, blobs),
        )
    ]


def _local_path(blobs: BlobStore, upload_id: str) -> str | None:
    path = blobs.path(upload_id)
    return None if path is None else str(path)


def longest_life_seconds(settings: Settings) -> float | None:
    """Of an unfinished upload; None for no end."""
    return settings.expires_cap_seconds if settings.expires_seconds else None


def compose(
    settings: Settings,
    hooks: Hooks,
    stores: Stores | None = None,
    *,
    blocking: BlockingHooks | None = None,
) -> Parts:
    """Join everything; no I/O.

    Args:
        settings: what the operator wants.
        hooks: what the application has registered, and will.
        stores: replace those that the settings pick.
        blocking: whom the application wants to be asked first.
    """
    stores = stores or pick_stores(settings)
    wakeup: Wakeup = stores.news or LocalWakeup()
    metrics = Metrics()
    blocking = blocking or BlockingHooks(settings.hook_seconds)
    authority = Authority(
        blocking,
        api_token=None if settings.api_token is None else settings.api_token.get_secret_value(),
        api_open=settings.api_open,
    )
    streams = make_streams(
        settings, authority, log=stores.outbox, uploads=stores.uploads, jobs=stores.jobs, bus=stores.progress
    )
    over_http = _gate_over_http(settings, stores.blobs)
    gate = GateChain([HookGate(blocking), *over_http])
    senders = Senders(
        settings.endpoints,
        webhook_retries(settings.webhook_days * DAY_SECONDS),
        settings.cloudevents_source,
        local_path=partial(_local_path, stores.blobs),
    )
    locations = Locations.from_settings(settings.public_url, settings.trusted_proxies)
    cors = Cors(settings.cors_origins, settings.cors_credentials)
    lifetime = None
    if settings.expires_seconds:
        lifetime = Lifetime(idle_seconds=settings.expires_seconds, cap_seconds=settings.expires_cap_seconds)
    uploads = Uploads(
        store=stores.uploads,
        blobs=stores.blobs,
        wakeup=wakeup,
        policy=Policy(
            tus_max_size=settings.max_size,
            max_header_bytes=settings.max_header_bytes,
            max_metadata_bytes=settings.max_metadata_bytes,
            checksum_max_bytes=settings.checksum_max_bytes,
            expiration=lifetime is not None,
        ),
        options=AppendOptions(
            commit_interval_seconds=settings.commit_interval_seconds,
            body_idle_seconds=settings.body_idle_seconds,
            storage_seconds=settings.storage_seconds,
            lifetime=lifetime,
        ),
        head_wait_seconds=settings.head_wait_seconds,
        observer=Observers(metrics, streams.progress),
        assemblies=stores.assemblies,
        peers=stores.news,
        finish_wait_seconds=settings.finish_wait_seconds,
        gate=gate,
        job_by_metadata=settings.job_by_metadata,
    )
    jobs, api = None, None
    chores: list[Chore] = []
    if stores.jobs is not None:
        jobs = Jobs(
            store=stores.jobs,
            uploads=uploads,
            gate=gate,
            wakeup=wakeup,
            most_files=settings.job_most_files,
            end_seconds=settings.storage_seconds,
        )
        chores = [jobs.recover, partial(jobs.purge, settings.job_seconds)]
        api = make_api(
            ApiParts(
                jobs=jobs,
                store=stores.jobs,
                uploads=stores.uploads,
                authority=authority,
                locations=locations,
                cors=cors,
                metrics=metrics,
                heard=lambda upload, _: streams.progress.progressed(upload),
            ),
            ApiOptions(
                path=settings.path,
                max_header_bytes=settings.max_header_bytes,
                body_idle_seconds=settings.body_idle_seconds,
            ),
        )
    return Parts(
        stores=stores,
        uploads=uploads,
        jobs=jobs,
        api=api,
        sweeper=Sweeper(
            uploads,
            stores.uploads,
            wakeup,
            metrics,
            gone_seconds=settings.gone_seconds,
            event_seconds=settings.event_seconds,
            chores=(*chores, partial(stores.outbox.forget_consumers, FORGET_SECONDS)),
        ),
        relay=Relay(
            stores.outbox,
            lambda: [
                *hooks.recipients(settings.hook_seconds, hook_retries(settings.hook_attempts)),
                *senders.recipients,
            ],
            wakeup,
            streams.feed.advance,
        ),
        endpoint=UploadsEndpoint(
            uploads,
            stores.blobs,
            authority=authority,
            locations=locations,
            cors=cors,
            metrics=metrics,
            downloads=settings.download,
        ),
        authority=authority,
        streams=streams,
        metrics=metrics,
        outgoing=(senders, *over_http),
    )
