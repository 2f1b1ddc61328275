"""`tuspy-server events` and `tuspy-server deliveries`: look at what has happened, and send it again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from tuspy_server.cli import showing_events
from tuspy_server.cli.common import fail, loaded
from tuspy_server.cli.flags import ConfigFlag, OtherFlags
from tuspy_server.cli.sources import printable
from tuspy_server.events.cloudevents import Cursor, cursor_of, parse_cursor
from tuspy_server.model import EventType
from tuspy_server.operations import outbox_of
from tuspy_server.ports import DeliveryFilter, DeliveryStatus, EventFilter, Outbox
from tuspy_server.settings import Settings

events_app = App(name="events", help="Look at what has happened to uploads, and hand it on again.")
deliveries_app = App(name="deliveries", help="Look at how events come to hooks and webhooks.")

LOOK_SECONDS: Final = 0.5
"""Between two looks of `events tail`."""

PAGE: Final = 500
SHOWN: Final = 100

_TypeName = Literal[
    "upload.created",
    "upload.finished",
    "upload.terminated",
    "upload.expired",
    "upload.failed",
    "upload.processed",
    "upload.processing_failed",
]
"""The values of `EventType`: those of an enumeration would be taken by the names of its members."""

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), help="One JSON object a line.")]
LimitFlag = Annotated[int, Parameter(help="Show at most this many.")]
UploadFlag = Annotated[str | None, Parameter(name="--upload", help="Only of this upload.")]
JobFlag = Annotated[str | None, Parameter(name="--job", help="Only of this job.")]
TypeFlag = Annotated[
    list[_TypeName] | None, Parameter(name="--type", negative=(), help="Only of this type, such as upload.finished.")
]
AfterFlag = Annotated[str | None, Parameter(help="Only what came later: a cursor, or 0 for all.")]
ConsumerFlag = Annotated[str | None, Parameter(help="Only to this hook or webhook.")]
EventFlag = Annotated[str | None, Parameter(name="--event", help="Only of the event of this id.")]
StatusFlag = Annotated[DeliveryStatus | None, Parameter(help="Only those that stand so.")]


class WrongPlace(Exception):
    """What was to be looked at is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    only: EventFilter
    as_json: bool
    source: str


@events_app.command(name="list")
def list_events(
    *,
    after: AfterFlag = None,
    upload_id: UploadFlag = None,
    job_id: JobFlag = None,
    types: TypeFlag = None,
    limit: LimitFlag = SHOWN,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """List events, the oldest first; without --after those of the last positions."""
    settings = loaded(config, flags, quiet=True).settings
    wanted = _Wanted(_filter(upload_id, job_id, types), as_json, settings.cloudevents_source)

    async def show() -> None:
        async with outbox_of(settings, changes=False) as outbox:
            start = await _start(outbox, after, limit)
            found = await outbox.events(start, limit, wanted.only)
            print(showing_events.events(found, wanted.source, as_json=as_json), end="")

    return _run(show())


@events_app.command(name="tail")
def tail_events(
    *,
    after: AfterFlag = None,
    upload_id: UploadFlag = None,
    job_id: JobFlag = None,
    types: TypeFlag = None,
    limit: Annotated[int | None, Parameter(help="End after this many.")] = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """Print events as they come, until Ctrl-C."""
    settings = loaded(config, flags, quiet=True).settings
    wanted = _Wanted(_filter(upload_id, job_id, types), as_json, settings.cloudevents_source)
    return _run(_tail(settings, wanted, after, limit))


@events_app.command(name="replay")
def replay_events(
    consumer: Annotated[str, Parameter(help="Name of the hook or webhook.")],
    /,
    *,
    after: AfterFlag = None,
    up_to: Annotated[str | None, Parameter(help="Only what came up to this cursor.")] = None,
    upload_id: UploadFlag = None,
    job_id: JobFlag = None,
    types: TypeFlag = None,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """Deliver events again, or for the first time, to one hook or webhook. Needs --after, --upload or --job."""
    settings = loaded(config, flags, quiet=True).settings
    if after is None and upload_id is None and job_id is None:
        return fail("say what is to be delivered again: --after CURSOR (0 for everything), --upload or --job", status=2)
    only = _filter(upload_id, job_id, types)

    async def replay() -> None:
        async with outbox_of(settings, changes=True) as outbox:
            whole = await _known(outbox, consumer)
            last = None if up_to is None else (await _cursor(outbox, up_to)).position
            start = (await _cursor(outbox, after or "0")).position
            count = await outbox.replay(whole, start, last, only)
            print(f"{_counted(count, 'event')} will be delivered to {printable(whole)}")

    return _run(replay())


@events_app.command(name="dead")
def dead_events(
    *,
    consumer: ConsumerFlag = None,
    upload_id: UploadFlag = None,
    limit: LimitFlag = SHOWN,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """List what a hook or webhook was not given after all tries. `deliveries retry` tries again."""
    only = DeliveryFilter(consumer=consumer, upload_id=upload_id, status=DeliveryStatus.DEAD)
    return _run(_list_deliveries(loaded(config, flags, quiet=True).settings, only, limit, as_json=as_json))


@deliveries_app.command(name="list")
def list_deliveries(
    *,
    consumer: ConsumerFlag = None,
    status: StatusFlag = None,
    upload_id: UploadFlag = None,
    event_id: EventFlag = None,
    limit: LimitFlag = SHOWN,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """List deliveries, the newest first."""
    only = DeliveryFilter(consumer=consumer, status=status, upload_id=upload_id, event_id=event_id)
    return _run(_list_deliveries(loaded(config, flags, quiet=True).settings, only, limit, as_json=as_json))


@deliveries_app.command(name="retry")
def retry_deliveries(
    *,
    consumer: ConsumerFlag = None,
    status: StatusFlag = None,
    upload_id: UploadFlag = None,
    event_id: EventFlag = None,
    everything: Annotated[bool, Parameter(name="--all", negative=(), help="All that wait or are dead.")] = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """Try again now what waits for its next try, or is dead. A running server begins within five seconds."""
    settings = loaded(config, flags, quiet=True).settings
    if not everything and all(wanted is None for wanted in (consumer, status, upload_id, event_id)):
        return fail("say what is to be tried: --consumer, --status, --upload, --event or --all", status=2)
    only = DeliveryFilter(consumer=consumer, status=status, upload_id=upload_id, event_id=event_id)

    async def retry() -> None:
        async with outbox_of(settings, changes=True) as outbox:
            count = await outbox.retry_now(await _whole(outbox, only))
            print(f"{_counted(count, 'delivery', 'deliveries')} will be tried again")

    return _run(retry())


def _run(work: Coroutine[Any, Any, None]) -> int:
    try:
        asyncio.run(work)
    except WrongPlace as error:
        return fail(str(error))
    return 0


async def _list_deliveries(settings: Settings, only: DeliveryFilter, limit: int, *, as_json: bool) -> None:
    async with outbox_of(settings, changes=False) as outbox:
        found = await outbox.deliveries(await _whole(outbox, only), limit)
    print(showing_events.deliveries(found, as_json=as_json), end="")


async def _tail(settings: Settings, wanted: _Wanted, after: str | None, limit: int | None) -> None:
    async with outbox_of(settings, changes=False) as outbox:
        place = await _cursor(outbox, after) if after is not None else None
        position = await outbox.last_position() if place is None else place.position
        left = limit
        while left is None or left > 0:
            # What came between two looks but is not wanted is not looked at again.
            last = await outbox.last_position()
            while found := await outbox.events(position, PAGE if left is None else min(left, PAGE), wanted.only, last):
                print(
                    showing_events.events(found, wanted.source, as_json=wanted.as_json, head=False), end="", flush=True
                )
                position = cursor_of(found[-1]).position
                left = None if left is None else left - len(found)
                if left == 0:
                    return
            position = max(position, last)
            await asyncio.sleep(LOOK_SECONDS)


async def _start(outbox: Outbox, after: str | None, limit: int) -> int:
    if after is None:
        return max(await outbox.last_position() - limit, 0)
    return (await _cursor(outbox, after)).position


async def _cursor(outbox: Outbox, text: str) -> Cursor:
    cursor = parse_cursor(text)
    if cursor is None:
        raise WrongPlace(f"{printable(text)} is no cursor; events list shows them")
    if not cursor.names(await outbox.event_at(cursor.position)):
        raise WrongPlace(f"the event of the cursor {printable(text)} is not there any more; 0 begins with the oldest")
    return cursor


async def _whole(outbox: Outbox, only: DeliveryFilter) -> DeliveryFilter:
    return only if only.consumer is None else replace(only, consumer=await _known(outbox, only.consumer))


async def _known(outbox: Outbox, name: str) -> str:
    """The whole name of a consumer, of which what stands behind its kind is enough where one alone is meant."""
    known = [registered.consumer.name for registered in await outbox.consumers()]
    meant = [whole for whole in known if name in (whole, whole.partition(":")[2])]
    if len(meant) == 1 or name in meant:
        return meant[0] if len(meant) == 1 else name
    there_are = f"there are {', '.join(map(printable, known))}" if known else "there is none"
    raise WrongPlace(f"no hook or webhook is called {printable(name)}; {there_are}")


def _filter(upload_id: str | None, job_id: str | None, types: list[_TypeName] | None) -> EventFilter:
    return EventFilter(upload_id=upload_id, job_id=job_id, types=frozenset(map(EventType, types or ())))


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"
