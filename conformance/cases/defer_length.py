"""Extension creation-defer-length."""

from conformance.case import Failure, Level, Skip, case
from conformance.cases.creation import nothing_created
from conformance.client import Tus
from conformance.expect import expect, expect_4xx, expect_status, offset_of

DEFER = {"Upload-Defer-Length": "1"}


async def _deferred(tus: Tus, url: str, offset: int) -> None:
    head = await tus.unlocked_head(url)
    expect(offset_of(head) == offset, f"Upload-Offset: {offset}", head)
    expect(head.get("Upload-Defer-Length") == "1", "Upload-Defer-Length: 1 while the length is unknown", head)
    expect(head.get("Upload-Length") is None, "no Upload-Length while it is unknown", head)


@case("DEFER-01")
async def the_length_may_come_later(tus: Tus) -> None:
    await _deferred(tus, await tus.create(None, DEFER), 0)


@case("DEFER-02")
async def data_may_come_before_the_length(tus: Tus) -> None:
    url = await tus.create(None, DEFER)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    await _deferred(tus, url, 5)


@case("DEFER-03")
async def patch_declares_the_length(tus: Tus) -> None:
    url = await tus.create(None, DEFER)
    expect_status(await tus.patch(url, 0, b"hello", {"Upload-Length": "11"}), 204)
    head = await tus.head(url)
    expect(offset_of(head) == 5, "Upload-Offset: 5", head)
    expect(head.get("Upload-Length") == "11", "Upload-Length: 11", head)
    expect(head.get("Upload-Defer-Length") is None, "no Upload-Defer-Length, as the length is known", head)
    expect_status(await tus.patch(url, 5, b" world"), 204)


@case("DEFER-04")
async def the_length_must_not_change(tus: Tus) -> None:
    declared = await tus.create(None, DEFER)
    expect_status(await tus.patch(declared, 0, b"", {"Upload-Length": "11"}), 204)
    for url in (declared, await tus.create(11)):
        response = await tus.patch(url, 0, b"hello", {"Upload-Length": "12"})
        head = await tus.head(url)
        expect(head.get("Upload-Length") == "11", "Upload-Length: 11 unchanged", head)
        if 200 <= response.status < 300:
            # The text forbids that the length changes; it does not say that a server must refuse a header it ignores.
            text = f"4xx and no byte applied, as Upload-Length was 12 and the length is 11, got {response.status}"
            raise Failure(text, response, Level.PRACTICE)
        expect_4xx(response, "Upload-Length was 12, the length is 11")
        expect(offset_of(head) == 0, "no byte of the refused request applied", head)


@case("DEFER-05")
async def the_length_may_be_repeated(tus: Tus) -> None:
    url = await tus.create(None, DEFER)
    expect_status(await tus.patch(url, 0, b"hello", {"Upload-Length": "11"}), 204)
    response = await tus.patch(url, 5, b" world", {"Upload-Length": "11"})
    expect_status(response, 204, 400)
    if response.status == 400:
        tus.note("a repeated Upload-Length answers 400, 204 is recommended")


@case("DEFER-06")
async def a_length_below_the_data_is_refused(tus: Tus) -> None:
    url = await tus.create(None, DEFER)
    expect_status(await tus.patch(url, 0, b"0123456789"), 204)
    expect_4xx(await tus.patch(url, 10, b"", {"Upload-Length": "5"}), "the offset is 10, Upload-Length was 5")
    await _deferred(tus, url, 10)
    expect_status(await tus.patch(url, 3, b"x", {"Upload-Length": "50"}), 409)
    await _deferred(tus, url, 10)
    url = await tus.create(None, DEFER)
    expect_4xx(await tus.patch(url, 0, b"0123456789", {"Upload-Length": "5"}), "10 bytes with Upload-Length: 5")
    head = await tus.unlocked_head(url)
    length = head.get("Upload-Length")
    expect(length is None or offset_of(head) <= int(length), "no more bytes than the declared length", head, Level.MUST)
    expect(offset_of(head) <= 5, f"at most 5 bytes, got {offset_of(head)}", head)


@case("DEFER-07")
async def the_limit_holds_for_deferred_lengths(tus: Tus) -> None:
    limit = tus.target.tus_max_size
    if limit is None:
        raise Skip("Tus-Max-Size is not advertised")
    url = await tus.create(None, DEFER)
    response = await tus.patch(url, 0, b"hello", {"Upload-Length": str(limit + 1)})
    expect_status(response, 413, 400, why=f"Tus-Max-Size is {limit}")
    if limit > 64 << 20:
        tus.note(f"data passing the limit not judged: Tus-Max-Size of {limit} is too much to send")
        return
    url = await tus.create(None, DEFER)
    response = await tus.patch(url, 0, b"x" * (limit + 1))
    offset = await tus.offset(url)
    expect(offset <= limit, f"an offset of at most {limit}, got {offset}", response)
    expect_status(response, 413, why=f"Tus-Max-Size is {limit}")


@case("DEFER-08")
async def an_empty_patch_may_end_the_upload(tus: Tus) -> None:
    url = await tus.create(None, DEFER)
    expect_status(await tus.patch(url, 0, b"hello"), 204)
    expect_status(await tus.patch(url, 5, b"", {"Upload-Length": "5"}), 204)
    head = await tus.head(url)
    expect(head.get("Upload-Length") == "5" and offset_of(head) == 5, "a complete upload", head)


@case("DEFER-09")
async def upload_defer_length_is_1_or_nothing(tus: Tus) -> None:
    for value in ("2", "true", "0", ""):
        response = await tus.post({"Upload-Defer-Length": value})
        expect_status(response, 400, why=f"Upload-Defer-Length was {value!r}")
        nothing_created(response)


@case("DEFER-10")
async def both_lengths_are_ambiguous(tus: Tus) -> None:
    response = await tus.post({"Upload-Length": "5", **DEFER})
    expect_status(response, 400)
    nothing_created(response)
