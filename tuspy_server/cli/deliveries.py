"""`tuspy-server deliveries`: how events come to hooks and webhooks, and what to do where they do not."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from tuspy_server.cli import showing_events
from tuspy_server.cli.common import fail, loaded
from tuspy_server.cli.flags import ConfigFlag, OtherFlags
from tuspy_server.cli.outbox import (
    SHOWN,
    ConsumerFlag,
    JsonFlag,
    LimitFlag,
    UploadFlag,
    check_text,
    counted,
    print_deliveries,
    run,
    whole_name,
    with_whole_name,
)
from tuspy_server.cli.sources import printable
from tuspy_server.operations import outbox_of
from tuspy_server.ports import DeliveryFilter, DeliveryStatus

deliveries_app = App(name="deliveries", help="Look at how events come to hooks and webhooks.")

EventFlag = Annotated[str | None, Parameter(name="--event", validator=check_text, help="Only of the event of this id.")]
StatusFlag = Annotated[DeliveryStatus | None, Parameter(help="Only those that stand so.")]
NameArgument = Annotated[str, Parameter(help="Name of the hook or webhook.")]


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
    return run(print_deliveries(loaded(config, flags, quiet=True).settings, only, limit, as_json=as_json))


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
            count = await outbox.retry_now(await with_whole_name(outbox, only))
            print(f"{counted(count, 'delivery', 'deliveries')} will be tried again")

    return run(retry())


@deliveries_app.command(name="consumers")
def list_consumers(*, as_json: JsonFlag = False, config: ConfigFlag = None, flags: OtherFlags = None) -> int:
    """List the hooks and webhooks that get deliveries."""
    settings = loaded(config, flags, quiet=True).settings

    async def show() -> None:
        async with outbox_of(settings, changes=False) as outbox:
            print(showing_events.consumers(await outbox.consumers(), as_json=as_json), end="")

    return run(show())


@deliveries_app.command(name="enable")
def enable_consumer(name: NameArgument, /, *, config: ConfigFlag = None, flags: OtherFlags = None) -> int:
    """Deliver to a webhook again that has been disabled (it answered 410). What is dead stays so: see `retry`."""
    settings = loaded(config, flags, quiet=True).settings

    async def enable() -> None:
        async with outbox_of(settings, changes=True) as outbox:
            whole = await whole_name(outbox, name)
            await outbox.enable(whole)
            print(f"{printable(whole)} is given events from now on")

    return run(enable())


@deliveries_app.command(name="forget")
def forget_consumer(name: NameArgument, /, *, config: ConfigFlag = None, flags: OtherFlags = None) -> int:
    """Forget a hook or webhook that is not there any more, with what waits for it. Uploads that it was to process have
    failed, unless others process them. One that a server still has is known again within the hour."""
    settings = loaded(config, flags, quiet=True).settings

    async def forget() -> None:
        async with outbox_of(settings, changes=True) as outbox:
            whole = await whole_name(outbox, name)
            await outbox.unregister(whole)
            print(f"{printable(whole)} is forgotten")

    return run(forget())
