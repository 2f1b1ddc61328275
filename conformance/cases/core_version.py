"""Core protocol: Tus-Resumable and the version gate."""

from conformance.case import case
from conformance.client import OFFSET_OCTET_STREAM, Tus
from conformance.expect import expect, expect_status, no_5xx
from conformance.message import Response

OLD = {"Tus-Resumable": "9.9.9"}


def _refused(response: Response) -> None:
    expect_status(response, 412)
    expect("1.0.0" in response.members("Tus-Version"), "Tus-Version that lists 1.0.0", response)


def _carries_version(response: Response) -> None:
    got = response.get("Tus-Resumable")
    expect(got == "1.0.0", f"Tus-Resumable: 1.0.0 in the {response.status} response, got {got}", response)


def unknown_url(tus: Tus, name: str = "0123456789abcdef0123456789abcdef") -> str:
    """Return an upload URL that no server made: the creation URL with one more segment."""
    return tus.url.rstrip("/") + "/" + name


@case("CORE-VER-01")
async def every_response_carries_tus_resumable(tus: Tus) -> None:
    created = await tus.post({"Upload-Length": "3"})
    _carries_version(created)
    url = await tus.create(3)
    for response in (
        await tus.head(url),
        await tus.patch(url, 1, b"x"),
        await tus.patch(url, 0, b"x", {"Content-Type": "text/plain"}),
        await tus.patch(url, "abc", b"x"),
        await tus.post({"Upload-Length": "abc"}),
        await tus.patch(unknown_url(tus), 0, b"x"),
        await tus.head(unknown_url(tus)),
        await tus.patch(url, 0, b"x", OLD),
    ):
        _carries_version(response)
    limit = tus.target.tus_max_size
    if limit is not None:
        _carries_version(await tus.post({"Upload-Length": str(limit + 1)}))
    if tus.target.advertises("checksum"):
        _carries_version(await tus.patch(url, 0, b"x", {"Upload-Checksum": "sha1 qUqP5cyxm6YcTAhz05Hph5gvu9M="}))
    _carries_version(await tus.patch(url, 0, b"abc"))
    if tus.target.advertises("termination"):
        _carries_version(await tus.delete(url))


@case("CORE-VER-02")
async def creation_with_an_old_version_is_412(tus: Tus) -> None:
    response = await tus.post({"Tus-Resumable": "0.2.2", "Upload-Length": "5"})
    _refused(response)
    expect(response.get("Location") is None, "no Location in a 412 response", response)


@case("CORE-VER-03")
async def the_version_gate_comes_before_the_lookup(tus: Tus) -> None:
    url = await tus.create(5)
    for where in (url, unknown_url(tus)):
        _refused(await tus.patch(where, 0, b"hello", OLD))
        if tus.target.advertises("termination"):
            _refused(await tus.delete(where, OLD))
    expect(await tus.offset(url) == 0, "an untouched upload after 412")


@case("CORE-VER-04")
async def head_with_an_unknown_version_is_412(tus: Tus) -> None:
    url = await tus.create(5)
    _refused(await tus.head(url, OLD))


@case("CORE-VER-05")
async def a_request_without_version_is_412(tus: Tus) -> None:
    none = {"Tus-Resumable": None}
    url = await tus.create(5)
    created = await tus.post({**none, "Upload-Length": "5"})
    _refused(created)
    expect(created.get("Location") is None, "no Location in a 412 response", created)
    _refused(await tus.patch(url, 0, b"hello", none))
    if tus.target.advertises("termination"):
        _refused(await tus.delete(url, none))
    expect(await tus.offset(url) == 0, "an untouched upload after 412")


@case("CORE-VER-06")
async def head_without_version_does_not_break(tus: Tus) -> None:
    response = await tus.head(await tus.create(5), {"Tus-Resumable": None})
    no_5xx(response)
    tus.note(f"HEAD without Tus-Resumable answers {response.status}")


@case("CORE-VER-07")
async def header_names_ignore_case_and_values_are_trimmed(tus: Tus) -> None:
    url = await tus.create(5)
    fields = [
        ("tus-resumable", " \t1.0.0 "),
        ("UPLOAD-OFFSET", "\t0 \t"),
        ("content-TYPE", f"  {OFFSET_OCTET_STREAM} "),
    ]
    expect_status(await tus.request("PATCH", url, fields, b"hello"), 204)
    expect(await tus.offset(url) == 5, "an offset of 5")
