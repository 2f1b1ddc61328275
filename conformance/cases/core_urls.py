"""Core protocol: upload URLs, hostile and equivalent ones."""

import asyncio
import re
from urllib.parse import urlsplit

from conformance.case import Skip, case
from conformance.cases.core_version import unknown_url
from conformance.client import Tus
from conformance.expect import expect, expect_status, no_5xx, offset_of

REFUSED = (400, 403, 404, 410, 414)


@case("CORE-URL-01")
async def locations_are_distinct_and_unguessable(tus: Tus) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tus.create(5)) for _ in range(40)]
    urls = [task.result() for task in tasks]
    expect(len(set(urls)) == len(urls), "40 distinct Locations for 40 uploads created at once")
    for url in urls:
        name = urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]
        # 64 random bits need 11 characters of base64url or 16 hexadecimal digits.
        guessable = len(name) < 11 or (re.fullmatch(r"[0-9]+", name) is not None and len(name) < 20)
        expect(not guessable, f"at least 64 random bits in the id, got {name!r}")
        expect(re.search(r"/(tmp|var|home|srv|data)/", url) is None, f"no storage path in {url!r}")
    ids = sorted(urlsplit(url).path.rsplit("/", 1)[-1] for url in urls)
    numbers = [int(i, 16) for i in ids if re.fullmatch(r"[0-9a-fA-F]+", i)]
    close = sum(1 for one, two in zip(sorted(numbers), sorted(numbers)[1:], strict=False) if two - one < 1 << 20)
    expect(close == 0, "ids that do not follow one another")


@case("CORE-URL-02")
async def hostile_ids_do_no_harm(tus: Tus) -> None:
    hostile = ("../../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cx", "a%00b", "a" * 8192)
    for name in hostile:
        response = await tus.head(unknown_url(tus, name))
        # HTTP servers have limits of their own: 431 and 405 come before any upload is looked for.
        expect_status(response, *REFUSED, 405, 431, why=f"the id was {name[:40]}")
        expect(response.get("Upload-Offset") is None, "no Upload-Offset for a hostile id", response)
    for escapes in (True, False):
        url = await tus.create(5)
        await _same_or_none(tus, url, f"{url[:-1]}%{ord(url[-1]):02x}" if escapes else f"{url}/")


async def _same_or_none(tus: Tus, url: str, where: str) -> None:
    head = await tus.head(where)
    if head.status // 100 == 3:
        tus.note(f"a URL that differs in spelling is redirected by {head.status}")
        return
    patch = await tus.patch(where, 0, b"hello")
    no_5xx(patch)
    if 200 <= head.status < 300:
        expect(offset_of(head) == 0, "the same upload with offset 0", head)
        expect_status(patch, 204, why="HEAD of this spelling of the URL works")
    else:
        expect_status(head, *REFUSED, 405)
        expect_status(patch, *REFUSED, 405)
        expect(await tus.offset(url) == 0, "an untouched upload", patch)
    if tus.target.advertises("termination"):
        deleted = await tus.delete(where)
        allowed = (204,) if patch.status == 204 else (*REFUSED, 405)
        expect_status(deleted, *allowed, why="DELETE must see the same upload as HEAD and PATCH, or none")


@case("CORE-URL-03")
async def the_creation_url_ignores_a_slash(tus: Tus) -> None:
    bare = tus.url.rstrip("/")
    for where in (bare, bare + "/"):
        if urlsplit(where).path:
            response = await tus.request("POST", where, {"Upload-Length": "5"})
            expect_status(response, 201, why=f"POST {urlsplit(where).path}; clients do not follow redirects of POST")


@case("CORE-URL-04")
async def a_query_does_not_change_the_upload(tus: Tus) -> None:
    url = await tus.create(5)
    where = url + ("&" if "?" in url else "?") + "a=1"
    expect(offset_of(await tus.head(where)) == 0, "the same upload with a query added")
    expect_status(await tus.patch(where, 0, b"hello"), 204)
    expect(await tus.offset(url) == 5, "the same upload with a query added")


@case("CORE-PROXY-01")
async def forwarded_headers_count_only_if_trusted(tus: Tus) -> None:
    trusts = tus.target.options.trusts_proxy
    if trusts is None:
        raise Skip("give --trusts-proxy yes or no")
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "conformance.invalid"}
    response = await tus.request("POST", tus.url, {"Upload-Length": "5", **forwarded})
    expect_status(response, 201)
    location = response.get("Location") or ""
    relative = "://" not in location and not location.startswith("//")
    if trusts:
        wanted = relative or location.startswith("https://conformance.invalid/")
        expect(wanted, f"a Location on https://conformance.invalid or a path, got {location}", response)
    else:
        expect("conformance.invalid" not in location, f"no forwarded host in Location, got {location}", response)
