"""Core protocol: what OPTIONS says."""

from conformance.case import Level, Skip, case
from conformance.cases.core_version import unknown_url
from conformance.client import Tus
from conformance.expect import DIGITS, expect, expect_status

KNOWN_EXTENSIONS = {
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
}


@case("CORE-OPT-01")
async def options_ignores_the_version(tus: Tus) -> None:
    for version in (None, "0.0.1"):
        response = await tus.request("OPTIONS", tus.url, {"Tus-Resumable": version})
        expect_status(response, 200, 204)
        expect("1.0.0" in response.members("Tus-Version"), "Tus-Version that lists 1.0.0", response)


@case("CORE-OPT-02")
async def tus_version_is_a_clean_list(tus: Tus) -> None:
    response = await tus.request("OPTIONS", tus.url)
    versions = response.members("Tus-Version")
    expect(bool(versions), "a Tus-Version header", response)
    expect(all(versions), "no empty member in Tus-Version", response)


@case("CORE-OPT-03")
async def tus_extension_is_a_clean_list(tus: Tus) -> None:
    response = await tus.request("OPTIONS", tus.url)
    if response.get("Tus-Extension") is None:
        tus.note("no Tus-Extension header: core only")
        return
    names = response.members("Tus-Extension")
    expect(all(names), "no Tus-Extension header rather than an empty one, and no empty member", response)
    for name in set(names) - KNOWN_EXTENSIONS:
        expect(all(letter.isalnum() or letter in "-_." for letter in name), f"a token, not {name!r}", response)
        tus.note(f"an extension that tus 1.0.0 does not define: {name}")


@case("CORE-OPT-04")
async def tus_max_size_is_sent_and_enforced(tus: Tus) -> None:
    response = await tus.request("OPTIONS", tus.url)
    value = response.get("Tus-Max-Size")
    if value is not None:
        expect(bool(DIGITS.fullmatch(value)), f"Tus-Max-Size in digits, got {value!r}", response, Level.MUST)
    limit = tus.target.options.max_size
    if limit is None:
        if value is None:
            raise Skip("give --max-size if the server has a limit")
        limit = int(value)
    expect(value == str(limit), f"Tus-Max-Size: {limit}, got {value}", response)
    over = await tus.post({"Upload-Length": str(limit + 1)})
    expect(over.status != 201, f"Upload-Length {limit + 1} to be refused, as it is over the limit", over)


@case("CORE-OPT-05")
async def options_carries_tus_resumable(tus: Tus) -> None:
    response = await tus.request("OPTIONS", tus.url)
    expect(response.get("Tus-Resumable") == "1.0.0", "Tus-Resumable: 1.0.0", response)


@case("CORE-OPT-06")
async def options_on_any_upload_url_succeeds(tus: Tus) -> None:
    for url in (await tus.create(5), unknown_url(tus)):
        response = await tus.request("OPTIONS", url, {"Tus-Resumable": None})
        expect_status(response, 200, 204)
        expect("1.0.0" in response.members("Tus-Version"), "Tus-Version that lists 1.0.0", response)


@case("CORE-OPT-07")
async def options_needs_no_credentials(tus: Tus) -> None:
    if not tus.target.options.authenticates:
        raise Skip("give credentials by --header if the server wants any")
    bare = {name: None for name, _ in tus.target.options.headers}
    response = await tus.request("OPTIONS", tus.url, bare)
    expect(response.status not in {401, 403}, f"OPTIONS to need no credentials, got {response.status}", response)
