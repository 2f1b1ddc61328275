"""Extension creation: Upload-Metadata."""

import binascii
import re
from base64 import b64decode, b64encode

from conformance.case import Level, case
from conformance.client import Tus
from conformance.expect import expect, expect_status
from conformance.message import Response, WireError

SMUGGLED = re.compile(r"(?<!\\n)(?<!%0[Aa])Set-Cookie: x=1")


def parse(value: str) -> list[tuple[str, bytes]] | None:
    """Return keys and decoded values in sorted order; None if the text is no Upload-Metadata."""
    pairs = []
    for member in value.split(","):
        key, _, coded = member.strip().partition(" ")
        try:
            pairs.append((key, b64decode(coded, validate=True)))
        except binascii.Error:
            return None
    return sorted(pairs)


def echoes(response: Response, sent: str) -> None:
    """Fail unless HEAD returned the Upload-Metadata as sent; the same pairs written otherwise fail a SHOULD only."""
    got = response.get("Upload-Metadata")
    if got == sent:
        return
    same = got is not None and parse(got) == parse(sent)
    found = f"got {got and got[:200]} in a {response.status} response"
    expect(same, f"Upload-Metadata: {sent[:200]}, {found}", response)
    text = f"Upload-Metadata as sent: {sent[:200]}, got the same pairs in another form: {got and got[:200]}"
    expect(False, text, response, Level.SHOULD)


async def _create(tus: Tus, metadata: str, length: int = 5) -> Response:
    return await tus.post({"Upload-Length": str(length), "Upload-Metadata": metadata})


@case("CREA-META-01")
async def metadata_is_echoed_as_sent(tus: Tus) -> None:
    sent = "filename d29y,is_confidential"
    created = await _create(tus, sent)
    expect_status(created, 201)
    url = tus.location(created)
    echoes(await tus.head(url), sent)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    echoes(await tus.head(url), sent)


@case("CREA-META-02")
async def a_key_needs_no_value(tus: Tus) -> None:
    for sent in ("is_confidential", "is_confidential ,filename d29y"):
        created = await _create(tus, sent)
        expect_status(created, 201, why=f"Upload-Metadata was {sent!r}")
        head = await tus.head(tus.location(created))
        pairs = parse(head.get("Upload-Metadata") or "") or []
        expect(("is_confidential", b"") in pairs, "the key is_confidential in Upload-Metadata", head)


async def _tolerated(tus: Tus, metadata: str, recommended: int) -> None:
    created = await _create(tus, metadata)
    expect_status(created, 201, 400, why=f"Upload-Metadata was {metadata!r}")
    if created.status != recommended:
        tus.note(f"Upload-Metadata {metadata!r} answers {created.status}, {recommended} is recommended")


@case("CREA-META-03")
async def a_duplicate_key(tus: Tus) -> None:
    await _tolerated(tus, "a YQ==,a Yg==", 400)


@case("CREA-META-04")
async def broken_pairs(tus: Tus) -> None:
    for metadata in ("filename !!!", " d29y", "filename d29y,,a YQ=="):
        await _tolerated(tus, metadata, 400)


@case("CREA-META-05")
async def a_space_after_the_comma(tus: Tus) -> None:
    await _tolerated(tus, "a YQ==, b Yg==", 201)


@case("CREA-META-06")
async def other_alphabets(tus: Tus) -> None:
    for metadata in ("a YQ", "a -_-_"):
        await _tolerated(tus, metadata, 400)


@case("CREA-META-07")
async def values_are_bytes(tus: Tus) -> None:
    for value in ("na\u00efve \U0001f600.txt".encode(), bytes(range(256))):
        sent = f"filename {b64encode(value).decode()}"
        created = await _create(tus, sent)
        expect_status(created, 201)
        head = await tus.head(tus.location(created))
        got = head.get("Upload-Metadata")
        expect(got is not None and parse(got) == [("filename", value)], f"the value byte for byte, got {got}", head)


@case("CREA-META-08")
async def a_value_smuggles_no_header(tus: Tus) -> None:
    evil = b64encode(b"x\r\nSet-Cookie: x=1").decode()
    created = await _create(tus, f"filename {evil},filetype {evil}")
    responses = [created]
    if created.status == 201:
        url = tus.location(created)
        responses += [await tus.head(url), await tus.patch(url, 0, b"hello")]
        responses.append(await tus.request("GET", url, {"Tus-Resumable": None}))
    for response in responses:
        # One whose line break is escaped, as by a quoted string of Go, holds other bytes than these.
        bad = [n for n, value in response.fields if n == "set-cookie" or SMUGGLED.search(value)]
        expect(not bad, f"the decoded bytes in no response header, got them in {bad}", response)


@case("CREA-META-09")
async def long_metadata(tus: Tus) -> None:
    for size, allowed in ((4096, (201,)), (100 << 10, (201, 400, 413, 431))):
        sent = "filename " + b64encode(b"x" * (size * 3 // 4)).decode()
        try:
            created = await _create(tus, sent)
        except WireError as error:
            expect(size > 4096, f"201 for 4 KiB of metadata: {error}")
            tus.note(f"{size} bytes of metadata end the connection: {error}")
            continue
        expect_status(created, *allowed, why=f"{size} bytes of metadata")
        if created.status == 201:
            head = await tus.head(tus.location(created))
            got = parse(head.get("Upload-Metadata") or "")
            expect(got == parse(sent), f"all {size} bytes of metadata back", head)
