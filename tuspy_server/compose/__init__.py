"""The composition root: the only package that picks adapters, and joins them to the lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from tuspy_server.compose.stores import (
    DATABASE_NAME,
    FILES_NAME,
    MissingExtra,
    Stores,
    bucket_client,
    bucket_look,
    longest_life_seconds,
    pick_stores,
    postgres_options,
)
from tuspy_server.events.blocking import BlockingHooks
from tuspy_server.events.gate import GateChain, HookGate
from tuspy_server.events.hooks import Hooks
from tuspy_server.events.relay import Relay
from tuspy_server.events.retries import hook_retries, webhook_retries
from tuspy_server.events.wakeup import LocalWakeup
from tuspy_server.events.webhooks.gate import HttpGate, gate_over_http
from tuspy_server.events.webhooks.sender import Senders
from tuspy_server.jobs.service import Jobs
from tuspy_server.ports import BlobStore, Gate, Lifetime, Wakeup
from tuspy_server.protocol.policy import Policy
from tuspy_server.settings import DAY_SECONDS, Settings
from tuspy_server.uploads.lifecycle import Uploads
from tuspy_server.uploads.means import AppendOptions
from tuspy_server.uploads.observer import Observer, Observers
from tuspy_server.uploads.sweeper import Chore, Sweeper
from tuspy_server.web.api.api import ApiOptions, ApiParts, make_api
from tuspy_server.web.api.endpoint import ApiEndpoint
from tuspy_server.web.authority import Authority
from tuspy_server.web.cors import Cors
from tuspy_server.web.endpoint import UploadsEndpoint
from tuspy_server.web.hosts import Hosts
from tuspy_server.web.location import Locations
from tuspy_server.web.metrics import Metrics
from tuspy_server.web.origins import Origins
from tuspy_server.web.streams import Streams, make_streams

__all__ = [
    "DATABASE_NAME",
    "FILES_NAME",
    "MissingExtra",
    "Parts",
    "Stores",
    "bucket_client",
    "bucket_look",
    "compose",
    "longest_life_seconds",
    "pick_stores",
    "postgres_options",
]

FORGET_SECONDS: Final = 30 * DAY_SECONDS
"""Without a word of a consumer, before what would wait for it is given up."""


class Outgoing(Protocol):
    """Connections to others, opened when they are needed."""

    async def close(self) -> None:
        """May be called twice, and without anything open."""
        ...


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
    cors = Cors(settings.cors_origins, settings.cors_credentials)
    authority = Authority(
        blocking,
        api_token=None if settings.api_token is None else settings.api_token.get_secret_value(),
        api_open=settings.api_open,
        api_hosts=Hosts.of(settings.api_hosts, settings.public_url),
        api_origins=Origins(cors, settings.public_url, any_counts=False),
    )
    streams = make_streams(
        settings, authority, log=stores.outbox, uploads=stores.uploads, jobs=stores.jobs, bus=stores.progress
    )
    over_http = _gate_over_http(settings, stores.blobs)
    gate = GateChain([HookGate(blocking), *over_http])
    senders = _senders(settings, stores.blobs)
    locations = Locations.from_settings(settings.public_url, settings.trusted_proxies)
    uploads = _uploads(settings, stores, wakeup, Observers(metrics, streams.progress), gate)
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
        served = ApiParts(
            jobs=jobs,
            store=stores.jobs,
            uploads=stores.uploads,
            authority=authority,
            locations=locations,
            cors=cors,
            metrics=metrics,
            heard=lambda upload, _: streams.progress.progressed(upload),
        )
        api = make_api(served, _api_options(settings))
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
            streams.feed,
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


def _uploads(settings: Settings, stores: Stores, wakeup: Wakeup, observer: Observer, gate: Gate) -> Uploads:
    lifetime = None
    if settings.expires_seconds:
        lifetime = Lifetime(idle_seconds=settings.expires_seconds, cap_seconds=settings.expires_cap_seconds)
    return Uploads(
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
        observer=observer,
        assemblies=stores.assemblies,
        peers=stores.news,
        finish_wait_seconds=settings.finish_wait_seconds,
        gate=gate,
        job_by_metadata=settings.job_by_metadata,
    )


def _senders(settings: Settings, blobs: BlobStore) -> Senders:
    return Senders(
        settings.endpoints,
        webhook_retries(settings.webhook_days * DAY_SECONDS),
        settings.cloudevents_source,
        local_path=partial(_local_path, blobs),
    )


def _api_options(settings: Settings) -> ApiOptions:
    return ApiOptions(
        path=settings.path,
        max_header_bytes=settings.max_header_bytes,
        body_idle_seconds=settings.body_idle_seconds,
    )


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
