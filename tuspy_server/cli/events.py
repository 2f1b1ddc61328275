"""`tuspy-server events`: look at what has happened, and hand it on again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from tuspy_server.cli import showing_events
from tuspy_server.cli.common import fail, loaded
from tuspy_server.cli.flags import ConfigFlag, OtherFlags
from tuspy_server.cli.outbox import (
    COUNT,
    SHOWN,
    ConsumerFlag,
    JsonFlag,
    LimitFlag,
    UploadFlag,
    WrongPlace,
    check_text,
    counted,
    print_deliveries,
    run,
    whole_name,
)
from tuspy_server.cli.sources import printable
from tuspy_server.events.cloudevents import Cursor, cursor_of, parse_cursor
from tuspy_server.model import EventType
from tuspy_server.operations import outbox_of
from tuspy_server.ports import DeliveryFilter, DeliveryStatus, EventFilter, Outbox
from tuspy_server.settings import Settings

events_app = App(name="events", help="Look at what has happened to uploads, and hand it on again.")

LOOK_SECONDS: Final = 0.5
"""Between two looks of `events tail`."""

PAGE: Final = 500

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

TypeFlag = Annotated[
    list[_TypeName] | None, Parameter(name="--type", negative=(), help="Only of this type, such as upload.finished.")
]
JobFlag = Annotated[str | None, Parameter(name="--job", validator=check_text, help="Only of this job.")]
AfterFlag = Annotated[str | None, Parameter(help="Only what came later: a cursor, or 0 for all.")]


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

    return run(show())


@events_app.command(name="tail")
def tail_events(
    *,
    after: AfterFlag = None,
    upload_id: UploadFlag = None,
    job_id: JobFlag = None,
    types: TypeFlag = None,
    limit: Annotated[int | None, Parameter(validator=COUNT, help="End after this many.")] = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    flags: OtherFlags = None,
) -> int:
    """Print events as they come, until Ctrl-C."""
    settings = loaded(config, flags, quiet=True).settings
    wanted = _Wanted(_filter(upload_id, job_id, types), as_json, settings.cloudevents_source)
    return run(_tail(settings, wanted, after, limit))


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
            whole = await whole_name(outbox, consumer)
            last = None if up_to is None else (await _cursor(outbox, up_to)).position
            start = (await _cursor(outbox, after or "0")).position
            count = await outbox.replay(whole, start, last, only)
            print(f"{counted(count, 'event')} will be delivered to {printable(whole)}")

    return run(replay())


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
    return run(print_deliveries(loaded(config, flags, quiet=True).settings, only, limit, as_json=as_json))


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


def _filter(upload_id: str | None, job_id: str | None, types: list[_TypeName] | None) -> EventFilter:
    return EventFilter(upload_id=upload_id, job_id=job_id, types=frozenset(map(EventType, types or ())))
