"""The shapes that want an S3 endpoint: as fast as it can answer, and with the latency of a real one."""

from __future__ import annotations

import dataclasses

from bench.shapes import GIBIBYTE, KIBIBYTE, MEBIBYTE, Part, Pick, Shape, Size, Unit, amount, file_shapes, picker

LATENCY_MS = 30.0


def shapes(size: Size) -> list[Shape]:
    """All shapes of a size, in the order in which they are shown."""
    pick = picker(size)
    return [*file_shapes(size), *_fast(pick), *_alone(size, pick), *_late(pick), *_events(pick)]


def _fast(pick: Pick) -> list[Shape]:
    one, many, uploads, connections = pick(12, 1024) * MEBIBYTE, pick(1, 64) * MEBIBYTE, pick(4, 24), pick(2, 8)
    hundred = pick(20, 100) * MEBIBYTE
    small = _small("s3", "s3-small", pick(4, 16), pick(32, 1000))
    return [
        _stream("s3", "s3-one", f"1 × {amount(one)}, one PATCH", one),
        dataclasses.replace(
            _stream("s3", "s3-many", f"{uploads} × {amount(many)}, {connections} at once", many),
            connections=connections,
            uploads=uploads,
        ),
        small,
        dataclasses.replace(
            small,
            name="s3-creation",
            title=f"1 KiB, creation-with-upload, {small.connections} at once",
            in_creation=True,
            most_repeats=2,
        ),
        Shape(
            name="s3-head",
            title=f"HEAD, {small.connections} at once",
            part="s3",
            group="shapes",
            unit=Unit.REQUESTS,
            connections=small.connections,
            heads=pick(64, 2000),
            most_repeats=1,
        ),
        _in_chunks("s3", "s3-chunks", hundred, repeats=2),
        dataclasses.replace(_stream("s3", "s3-hundred", f"{amount(hundred)}, one PATCH", hundred), most_repeats=2),
    ]


def _alone(size: Size, pick: Pick) -> list[Shape]:
    uploads, seconds = pick(20, 1000), pick(2, 20)
    slow = Shape(
        name="s3-slow",
        title=f"{uploads:,} uploads at 1 KiB/s for {seconds} s",
        part="s3",
        group="slow",
        unit=Unit.LATENCY,
        connections=uploads,
        uploads=uploads,
        seconds=seconds,
        ours_only=True,
        most_repeats=1,
    )
    if size == "quick":
        return [slow]
    eight = _stream("s3", "s3-memory", "8 × 1 GiB at once", GIBIBYTE)
    fifteen = _stream("s3", "s3-fifteen", "1 × 15 GiB, one PATCH", 15 * GIBIBYTE)
    return [
        dataclasses.replace(eight, group="memory", connections=8, uploads=8, ours_only=True, most_repeats=1),
        slow,
        dataclasses.replace(fifteen, ours_only=True, most_repeats=1),
        dataclasses.replace(_in_chunks("s3", "s3-many-chunks", GIBIBYTE, repeats=1), ours_only=True),
    ]


def _late(pick: Pick) -> list[Shape]:
    hundred, gibibyte = pick(20, 100) * MEBIBYTE, pick(12, 1024) * MEBIBYTE
    late = [
        dataclasses.replace(_small("latency", "late-one", 1, pick(2, 20)), unit=Unit.TIME, title="1 KiB, one client"),
        _small("latency", "late-small", pick(8, 64), pick(16, 640)),
        dataclasses.replace(
            _stream("latency", "late-hundred", f"{amount(hundred)}, one PATCH", hundred), unit=Unit.TIME
        ),
        dataclasses.replace(_in_chunks("latency", "late-chunks", hundred, repeats=1), unit=Unit.TIME),
        _stream("latency", "late-gibibyte", f"1 × {amount(gibibyte)}, one PATCH", gibibyte),
    ]
    late = [
        dataclasses.replace(shape, latency_ms=LATENCY_MS, title=f"{shape.title}, {LATENCY_MS:g} ms a call")
        for shape in late
    ]
    twins = [
        _small("latency", "prompt-small", pick(8, 64), pick(16, 640)),
        _stream("latency", "prompt-gibibyte", f"1 × {amount(gibibyte)}, one PATCH", gibibyte),
    ]
    return [
        *late,
        *(
            dataclasses.replace(shape, ours_only=True, title=f"{shape.title}, no latency", most_repeats=2)
            for shape in twins
        ),
    ]


def _stream(part: Part, name: str, title: str, upload_bytes: int) -> Shape:
    return Shape(
        name=name,
        title=title,
        part=part,
        group="shapes",
        unit=Unit.STREAM,
        connections=1,
        uploads=1,
        upload_bytes=upload_bytes,
    )


def _in_chunks(part: Part, name: str, upload_bytes: int, *, repeats: int) -> Shape:
    whole = _stream(part, name, f"{amount(upload_bytes)} in 1 MiB PATCHes", upload_bytes)
    return dataclasses.replace(whole, chunk_bytes=MEBIBYTE, most_repeats=repeats)


def _small(part: Part, name: str, connections: int, uploads: int) -> Shape:
    return Shape(
        name=name,
        title=f"1 KiB, POST + PATCH, {connections} at once",
        part=part,
        group="shapes",
        unit=Unit.UPLOADS,
        connections=connections,
        uploads=uploads,
        upload_bytes=KIBIBYTE,
    )


def _events(pick: Pick) -> list[Shape]:
    uploads, subscribers, hooked = pick(10, 100), pick(40, 1000), pick(20, 2500)
    return [
        Shape(
            name="events-late",
            title=f"{uploads} uploads finish at once, {subscribers:,} subscribers on two nodes",
            part="events",
            group="events",
            unit=Unit.LATE,
            connections=subscribers,
            uploads=uploads,
            ours_only=True,
        ),
        Shape(
            name="events-deliver",
            title=f"{2 * hooked:,} events to one webhook on the same machine",
            part="events",
            group="events",
            unit=Unit.DELIVERIES,
            connections=pick(4, 16),
            uploads=hooked,
            in_creation=True,
            ours_only=True,
        ),
    ]
