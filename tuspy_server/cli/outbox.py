"""What the commands on events and deliveries share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from tuspy_server.cli import showing_events
from tuspy_server.cli.common import fail
from tuspy_server.cli.sources import printable
from tuspy_server.operations import outbox_of
from tuspy_server.ports import DeliveryFilter, Outbox
from tuspy_server.settings import Settings

SHOWN: Final = 100
"""Lines, unless somebody wants more."""

MOST: Final = 2**31 - 1
"""More lines than anybody waits for, and fewer than any database takes for a mistake."""


def check_text(_: object, value: str | None) -> None:
    """Of an argument that a database is to be asked for. The shell hands on bytes, and some are no text.

    Raises:
        ValueError: it is none.
    """
    if value is not None and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("Must be UTF-8.")


COUNT: Final = Number(gte=0, lte=MOST)

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), help="One JSON object a line.")]
LimitFlag = Annotated[int, Parameter(validator=COUNT, help="Show at most this many.")]
UploadFlag = Annotated[str | None, Parameter(name="--upload", validator=check_text, help="Only of this upload.")]
ConsumerFlag = Annotated[str | None, Parameter(help="Only to this hook or webhook.")]


class WrongPlace(Exception):
    """What was to be looked at is not there; the text says what."""


def run(work: Coroutine[Any, Any, None]) -> int:
    """To its end; the status to exit with."""
    try:
        asyncio.run(work)
    except WrongPlace as error:
        return fail(str(error))
    return 0


async def print_deliveries(settings: Settings, only: DeliveryFilter, limit: int, *, as_json: bool) -> None:
    """The newest first."""
    async with outbox_of(settings, changes=False) as outbox:
        found = await outbox.deliveries(await with_whole_name(outbox, only), limit)
    print(showing_events.deliveries(found, as_json=as_json), end="")


async def with_whole_name(outbox: Outbox, only: DeliveryFilter) -> DeliveryFilter:
    """See `whole_name`."""
    return only if only.consumer is None else replace(only, consumer=await whole_name(outbox, only.consumer))


async def whole_name(outbox: Outbox, name: str) -> str:
    """The whole name of a consumer, of which what stands behind its kind is enough where one alone is meant."""
    known = [registered.consumer.name for registered in await outbox.consumers()]
    meant = [whole for whole in known if name in (whole, whole.partition(":")[2])]
    if len(meant) == 1 or name in meant:
        return meant[0] if len(meant) == 1 else name
    there_are = f"there are {', '.join(map(printable, known))}" if known else "there is none"
    raise WrongPlace(f"no hook or webhook is called {printable(name)}; {there_are}")


def counted(count: int, one: str, many: str | None = None) -> str:
    """Such as `1 event`."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"
