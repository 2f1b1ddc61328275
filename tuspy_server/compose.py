"""The composition root: the only module that picks adapters and joins them to the lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tuspy_server.clock import SystemClock
from tuspy_server.events.hooks import Hooks
from tuspy_server.events.relay import Relay
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.model import Upload
from tuspy_server.pages import PagePool
from tuspy_server.ports import Assemblies, BlobStore, Lifetime, Outbox, Peers, UploadStore, Wakeup
from tuspy_server.protocol.policy import Policy
from tuspy_server.settings import Settings
from tuspy_server.stores.filesystem.store import FilesystemBlobStore
from tuspy_server.stores.folder_lock import FolderLock
from tuspy_server.stores.sqlite.database import Database
from tuspy_server.stores.sqlite.outbox import SqliteOutbox
from tuspy_server.stores.sqlite.store import SqliteUploadStore
from tuspy_server.uploads.append import AppendOptions
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.sweeper import Sweeper
from tuspy_server.web.cors import Cors
from tuspy_server.web.endpoint import UploadsEndpoint
from tuspy_server.web.location import Locations
from tuspy_server.web.metrics import Metrics

DATABASE_NAME: Final = "tuspy.sqlite3"
FILES_NAME: Final = "files"


class News(Wakeup, Peers, Protocol):
    """What processes tell each other. Opened after the rows, and closed before them."""

    async def open(self) -> None:
        """Begin to listen."""
        ...

    async def close(self) -> None:
        """Listen no more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The adapters of one server.

    Attributes:
        lock: guards a folder that only one process may use.
        assemblies: where `blobs` works on after the last byte of an upload.
        news: from other processes on the same rows; without it there are none.
    """

    uploads: UploadStore
    outbox: Outbox
    blobs: BlobStore
    pool: PagePool
    lock: FolderLock | None = None
    assemblies: Assemblies | None = None
    news: News | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One server, put together and not yet started."""

    stores: Stores
    uploads: Uploads
    sweeper: Sweeper
    relay: Relay
    endpoint: UploadsEndpoint
    metrics: Metrics


def pick_stores(settings: Settings) -> Stores:
    """SQLite and local files in one folder."""
    durable = settings.durability == "disk"
    clock = SystemClock()
    pool = PagePool(settings.pool_bytes)
    database = Database(settings.data / DATABASE_NAME, durable=durable, deadline_seconds=settings.storage_seconds)
    return Stores(
        uploads=SqliteUploadStore(database, clock),
        outbox=SqliteOutbox(database, clock),
        blobs=FilesystemBlobStore(
            settings.data / FILES_NAME, pool, durable=durable, deadline_seconds=settings.storage_seconds
        ),
        pool=pool,
        lock=FolderLock(settings.data),
    )


def compose(settings: Settings, hooks: Hooks, stores: Stores | None = None, *, knows_all_hooks: bool = True) -> Parts:
    """Join everything; no I/O.

    Args:
        settings: what the operator wants.
        hooks: what the application has registered, and will.
        stores: replace those that the settings pick.
        knows_all_hooks: False where another process may come with more (a sweep from the command line): events that
            none of `hooks` wants are then kept for them.
    """
    stores = stores or pick_stores(settings)
    wakeup: Wakeup = stores.news or LocalWakeup()
    metrics = Metrics()
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
        observer=metrics,
        assemblies=stores.assemblies,
        peers=stores.news,
        finish_wait_seconds=settings.finish_wait_seconds,
    )
    return Parts(
        stores=stores,
        uploads=uploads,
        sweeper=Sweeper(
            uploads,
            stores.uploads,
            wakeup,
            metrics,
            gone_seconds=settings.gone_seconds,
            event_seconds=settings.event_seconds,
            events_are_awaited=lambda: bool(hooks.consumers) or not knows_all_hooks,
        ),
        relay=Relay(
            stores.outbox,
            hooks,
            wakeup,
            call_seconds=settings.hook_seconds,
            most_attempts=settings.hook_attempts,
        ),
        endpoint=UploadsEndpoint(
            uploads,
            stores.blobs,
            locations=Locations.from_settings(settings.public_url, settings.trusted_proxies),
            cors=Cors(settings.cors_origins, settings.cors_credentials),
            metrics=metrics,
            downloads=settings.download,
        ),
        metrics=metrics,
    )


async def look_at_expired(settings: Settings) -> Sequence[Upload]:
    """Uploads that a sweep would expire now, without a lock, beside a running server; nothing is changed.

    Raises:
        FileNotFoundError: there is no database in the data folder.
    """
    path = settings.data / DATABASE_NAME
    if not path.exists():
        raise FileNotFoundError(f"there is no {DATABASE_NAME} in {settings.data}")
    store = SqliteUploadStore(Database(path, durable=False, deadline_seconds=settings.storage_seconds), SystemClock())
    await store.open_to_look()
    try:
        return await store.expired(limit=1_000_000)
    finally:
        await store.close()
