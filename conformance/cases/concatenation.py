"""Extension concatenation: partial uploads and the finals made of them."""

from urllib.parse import urlsplit

from conformance.case import Skip, case
from conformance.client import Tus
from conformance.expect import expect, expect_status, offset_of
from conformance.message import Response

PARTIAL = {"Upload-Concat": "partial"}


async def partial(tus: Tus, content: bytes, headers: dict[str, str | None] | None = None) -> str:
    """Create a partial upload, send all its content, and return its URL."""
    return await tus.create_full(content, {**PARTIAL, **(headers or {})})


async def final(tus: Tus, urls: list[str], headers: dict[str, str | None] | None = None) -> Response:
    """POST a final upload of these partials, written as given."""
    return await tus.post({"Upload-Concat": "final;" + " ".join(urls), **(headers or {})})


def path_of(url: str) -> str:
    """Return path and query of an URL."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


@case("CONC-01")
async def a_partial_says_so(tus: Tus) -> None:
    response = await tus.post({**PARTIAL, "Upload-Length": "5"})
    expect_status(response, 201)
    head = await tus.head(tus.location(response))
    got = head.get("Upload-Concat")
    expect(got == "partial", f"Upload-Concat: partial, got {got}", head)


@case("CONC-02")
async def a_partial_reports_its_offset(tus: Tus) -> None:
    url = await tus.create(10, PARTIAL)
    for offset in (0, 5, 10):
        head = await tus.head(url)
        expect(offset_of(head) == offset, f"Upload-Offset: {offset}", head)
        expect(head.get("Upload-Length") == "10", "Upload-Length: 10", head)
        if offset < 10:
            expect_status(await tus.patch(url, offset, b"hello"), 204)


@case("CONC-03")
async def finished_partials_make_a_final(tus: Tus) -> None:
    urls = [await partial(tus, b"hello"), await partial(tus, b" world")]
    response = await final(tus, urls)
    expect_status(response, 201)
    tus.location(response)


@case("CONC-04")
async def a_final_reports_the_sum(tus: Tus) -> None:
    response = await final(tus, [await partial(tus, b"hello"), await partial(tus, b" world")])
    expect_status(response, 201)
    head = await tus.head(tus.location(response))
    expect(head.get("Upload-Length") == "11", "Upload-Length: 11, the sum", head)
    expect(offset_of(head) == 11, "Upload-Offset: 11", head)


@case("CONC-05")
async def a_final_echoes_its_list(tus: Tus) -> None:
    urls = [path_of(await partial(tus, b"hello")), path_of(await partial(tus, b" world"))]
    response = await final(tus, urls)
    expect_status(response, 201)
    head = await tus.head(tus.location(response))
    wanted, got = f"final;{urls[0]} {urls[1]}", head.get("Upload-Concat")
    expect(got == wanted, f"Upload-Concat as sent: {wanted}, got {got}", head)


@case("CONC-06")
async def the_order_is_the_one_of_the_list(tus: Tus) -> None:
    first, second = await partial(tus, b"hello"), await partial(tus, b" world")
    response = await final(tus, [second, first])
    expect_status(response, 201)
    got = await tus.content(tus.location(response))
    expect(got in (None, b" worldhello"), f"the content of the second, then of the first, got {got!r}", response)


@case("CONC-07")
async def urls_may_be_absolute_or_paths(tus: Tus) -> None:
    for forms in (("absolute", "absolute"), ("path", "path"), ("absolute", "path")):
        urls = [await partial(tus, b"hello"), await partial(tus, b" world")]
        listed = [path_of(url) if form == "path" else url for form, url in zip(forms, urls, strict=True)]
        response = await final(tus, listed)
        expect_status(response, 201, why=f"the list was {' '.join(listed)}")
        expect(await tus.offset(tus.location(response)) == 11, "Upload-Offset: 11", response)


@case("CONC-08")
async def a_final_cannot_be_patched(tus: Tus) -> None:
    response = await final(tus, [await partial(tus, b"hello"), await partial(tus, b" world")])
    expect_status(response, 201)
    url = tus.location(response)
    patch = await tus.patch(url, 11, b"!")
    expect(await tus.offset(url) == 11, "the final unchanged", patch)
    expect_status(patch, 403)


@case("CONC-09")
async def metadata_is_not_inherited(tus: Tus) -> None:
    for own in (None, "filename b3du"):
        urls = [await partial(tus, data, {"Upload-Metadata": "part eA=="}) for data in (b"hello", b" world")]
        response = await final(tus, urls, {"Upload-Metadata": own})
        expect_status(response, 201)
        head = await tus.head(tus.location(response))
        got = head.get("Upload-Metadata")
        expect(got in ((own,) if own else (None, "")), f"Upload-Metadata: {own}, got {got}", head)


@case("CONC-10")
async def an_unfinished_partial_is_refused(tus: Tus) -> None:
    if tus.target.advertises("concatenation-unfinished"):
        raise Skip("concatenation-unfinished is advertised")
    urls = [await partial(tus, b"hello"), await tus.create(10, PARTIAL)]
    refused(await final(tus, urls))


def refused(response: Response) -> None:
    """Fail unless a final was refused with a client error."""
    expect(400 <= response.status < 500, f"a 4xx status, got {response.status}", response)
    expect(response.get("Location") is None, "no Location in a refusal", response)


@case("CONC-11")
async def a_final_may_precede_its_partials(tus: Tus) -> None:
    tus.needs("concatenation-unfinished")
    late = await tus.create(6, PARTIAL)
    response = await final(tus, [await partial(tus, b"hello"), late])
    expect_status(response, 201)
    url = tus.location(response)
    head = await tus.head(url)
    expect(head.get("Upload-Length") in (None, "11"), "Upload-Length: 11 if any", head)
    expect_status(await tus.patch(late, 0, b" world"), 204)
    expect(await tus.settled_offset(url, 11) == 11, "Upload-Offset: 11 once the partials are finished")


@case("CONC-12")
async def a_final_has_no_length_of_its_own(tus: Tus) -> None:
    urls = [await partial(tus, b"hello"), await partial(tus, b" world")]
    response = await final(tus, urls, {"Upload-Length": "99"})
    expect_status(response, 400, 201)
    if response.status == 201:
        head = await tus.head(tus.location(response))
        expect(head.get("Upload-Length") == "11", "Upload-Length: 11, the sum, not the 99 sent", head)


@case("CONC-13")
async def a_partial_may_be_reused(tus: Tus) -> None:
    url = await partial(tus, b"hello")
    for urls in ([url, url], [url]):
        response = await final(tus, urls)
        if response.status != 201:
            refused(response)
            tus.note(f"a final of {len(urls)} times the same partial answers {response.status}")
            continue
        head = await tus.head(tus.location(response))
        wanted = str(5 * len(urls))
        expect(head.get("Upload-Length") == wanted, f"Upload-Length: {wanted}, each listing counted", head)


@case("CONC-14")
async def an_unknown_partial_is_refused(tus: Tus) -> None:
    known = await partial(tus, b"hello")
    refused(await final(tus, [known, known[:-4] + "0000"]))


@case("CONC-15")
async def only_partials_can_be_concatenated(tus: Tus) -> None:
    normal = await tus.create_full(b"hello")
    made = await final(tus, [await partial(tus, b"hello")])
    for url in (normal, tus.location(made) if made.status == 201 else normal):
        response = await final(tus, [url])
        expect(response.status == 201 or 400 <= response.status < 500, f"4xx or 201, got {response.status}", response)
        if response.status == 201:
            tus.note("a final may be made of uploads that are no partials; 4xx is recommended")


@case("CONC-16")
async def a_malformed_list_is_400(tus: Tus) -> None:
    for value in ("final;", "final; ", "foo", "Partial"):
        length = {"Upload-Length": "5"} if value == "Partial" else {}
        response = await tus.post({"Upload-Concat": value, **length})
        expect_status(response, 400, why=f"Upload-Concat was {value!r}")
        expect(response.get("Location") is None, "no Location in a refusal", response)
    url = await partial(tus, b"hello")
    headers = {"Upload-Concat": f"final;{url}", "Content-Type": "application/offset+octet-stream"}
    response = await tus.post(headers, b"hello")
    expect_status(response, 403, 400, why="a final carries no data")


@case("CONC-17")
async def a_long_list(tus: Tus) -> None:
    urls = [path_of(await partial(tus, b"x")) for _ in range(100)]
    response = await final(tus, urls)
    expect_status(response, 201, 400, 413, 431, why="a list of 100 URLs")
    if response.status == 201:
        expect(await tus.offset(tus.location(response)) == 100, "Upload-Offset: 100", response)
    limit = tus.target.tus_max_size
    if limit is None or limit > 64 << 20:
        tus.note(f"the limit of the sum not judged: Tus-Max-Size is {limit}")
        return
    half = await partial(tus, b"x" * (limit // 2 + 1))
    other = await partial(tus, b"y" * (limit // 2 + 1))
    expect_status(await final(tus, [half, other]), 413, why=f"the sum is over Tus-Max-Size, {limit}")
