"""Extension expiration."""

import asyncio
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from conformance.case import Skip, case
from conformance.client import Tus
from conformance.expect import expect, expect_status
from conformance.message import Response

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4}"
    r" \d{2}:\d{2}:\d{2} GMT"
)


async def _life(tus: Tus) -> tuple[Response, Response, Response]:
    created = await tus.post({"Upload-Length": "10"})
    expect_status(created, 201)
    url = tus.location(created)
    head = await tus.head(url)
    patched = await tus.patch(url, 0, b"hello")
    expect_status(patched, 204)
    return created, head, patched


def _expires(*responses: Response) -> bool:
    return any(response.get("Upload-Expires") for response in responses)


def _well_formed(response: Response) -> None:
    value = response.get("Upload-Expires") or ""
    expect(bool(IMF_FIXDATE.fullmatch(value)), f"an IMF-fixdate in GMT with a two-digit day, got {value!r}", response)
    when = parsedate_to_datetime(value)
    expect(when.strftime("%a") == value[:3], f"the right day of the week, got {value!r}", response)
    expect(when > datetime.now(UTC), f"an instant in the future, got {value!r}", response)


@case("EXP-01")
async def patch_says_when_the_upload_expires(tus: Tus) -> None:
    created, head, patched = await _life(tus)
    known = _expires(created, head) or tus.target.options.expires_seconds is not None
    if not known and not _expires(patched):
        raise Skip("no response carries Upload-Expires: uploads do not seem to expire")
    expect(_expires(patched), "Upload-Expires in the response to PATCH, as the upload expires", patched)


@case("EXP-02")
async def post_says_when_the_upload_expires(tus: Tus) -> None:
    created, head, patched = await _life(tus)
    if tus.target.options.expires_seconds is None and not _expires(created, head):
        if _expires(patched):
            raise Skip("only PATCH carries Upload-Expires: expiry may not be known at creation")
        raise Skip("no response carries Upload-Expires: uploads do not seem to expire")
    expect(_expires(created), "Upload-Expires in the response to POST, as expiry is known at creation", created)


@case("EXP-03")
async def upload_expires_is_an_imf_fixdate(tus: Tus) -> None:
    carriers = [response for response in await _life(tus) if _expires(response)]
    if not carriers:
        raise Skip("no response carries Upload-Expires: uploads do not seem to expire")
    for response in carriers:
        _well_formed(response)


@case("EXP-04")
async def head_may_say_when_the_upload_expires(tus: Tus) -> None:
    created, head, patched = await _life(tus)
    if _expires(head):
        _well_formed(head)
    elif _expires(created, patched):
        tus.note("HEAD does not carry Upload-Expires, which would help clients that resume")


def _seconds(tus: Tus) -> float:
    seconds = tus.target.options.expires_seconds
    if seconds is None:
        raise Skip("give --expires-seconds if uploads expire soon")
    return seconds


async def _expired(tus: Tus) -> str:
    url = await tus.create(10)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    # Expiry counts whole seconds in HTTP dates, and a sweeper needs a moment.
    await asyncio.sleep(_seconds(tus) + 1.5)
    return url


@case("EXP-05")
async def an_expired_upload_is_gone(tus: Tus) -> None:
    _seconds(tus)
    url = await _expired(tus)
    for response in (await tus.head(url), await tus.patch(url, 5, b"world")):
        expect_status(response, 404, 410)
        expect(response.get("Upload-Offset") is None, "no Upload-Offset of an expired upload", response)
    if tus.target.advertises("termination"):
        expect_status(await tus.delete(url), 404, 410, 204)


@case("EXP-06")
async def an_expired_upload_is_410(tus: Tus) -> None:
    _seconds(tus)
    url = await _expired(tus)
    for response in (await tus.head(url), await tus.patch(url, 5, b"world")):
        expect_status(response, 410, why="if the server keeps track of expired uploads")


@case("EXP-07")
async def a_finished_upload_does_not_expire(tus: Tus) -> None:
    _seconds(tus)
    url = await tus.create_full(b"hello")
    await asyncio.sleep(_seconds(tus) + 1.5)
    expect_status(await tus.head(url), 200, 204)
