"""Beyond the specification: what browsers need, CORS."""

from conformance.case import Skip, case
from conformance.cases.core_version import unknown_url
from conformance.client import Tus
from conformance.expect import expect
from conformance.message import Response

ORIGIN = "https://conformance.example"

REQUEST_HEADERS = (
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Content-Type",
    "Authorization",
    "X-Requested-With",
    "X-Request-ID",
    "X-HTTP-Method-Override",
)
RESPONSE_HEADERS = (
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Expires",
    "Tus-Version",
    "Tus-Resumable",
    "Tus-Max-Size",
    "Tus-Extension",
    "Tus-Checksum-Algorithm",
)

EXTENSION_OF = {
    "Upload-Defer-Length": "creation-defer-length",
    "Upload-Concat": "concatenation",
    "Upload-Expires": "expiration",
    "Tus-Checksum-Algorithm": "checksum",
}
"""A server need not expose what it never sends."""


def _lower(response: Response, name: str) -> set[str]:
    return {member.lower() for member in response.members(name)}


def _request_headers(tus: Tus) -> list[str]:
    return [*REQUEST_HEADERS, *(["Upload-Checksum"] if tus.target.advertises("checksum") else [])]


async def _preflight(tus: Tus) -> Response:
    headers = {
        "Tus-Resumable": None,
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PATCH",
        # Some servers answer with the names that were asked for, so all are.
        "Access-Control-Request-Headers": ",".join(_request_headers(tus)).lower(),
    }
    return await tus.request("OPTIONS", tus.url, headers)


def _allows_origin(response: Response) -> None:
    got = response.get("Access-Control-Allow-Origin")
    expect(got in {"*", ORIGIN}, f"Access-Control-Allow-Origin: * or {ORIGIN}, got {got}", response)


@case("CORE-CORS-01")
async def preflight_allows_the_methods(tus: Tus) -> None:
    response = await _preflight(tus)
    expect(200 <= response.status < 300, f"2xx for a preflight, got {response.status}", response)
    _allows_origin(response)
    methods = {member.upper() for member in response.members("Access-Control-Allow-Methods")}
    wanted = {"POST", "HEAD", "PATCH", "OPTIONS"} | ({"DELETE"} if tus.target.advertises("termination") else set())
    missing = sorted(wanted - methods)
    expect(not missing or methods == {"*"}, f"Access-Control-Allow-Methods with {', '.join(missing)}", response)


@case("CORE-CORS-02")
async def preflight_allows_the_headers(tus: Tus) -> None:
    response = await _preflight(tus)
    allowed = _lower(response, "Access-Control-Allow-Headers")
    # The wildcard stands for all names but Authorization (Fetch standard).
    missing = [
        name
        for name in _request_headers(tus)
        if name.lower() not in allowed and ("*" not in allowed or name == "Authorization")
    ]
    expect(not missing, f"Access-Control-Allow-Headers with {', '.join(missing)}", response)


@case("CORE-CORS-03")
async def responses_expose_the_headers(tus: Tus) -> None:
    wanted = [name for name in RESPONSE_HEADERS if tus.target.advertises(EXTENSION_OF.get(name, "core"))]
    origin = {"Origin": ORIGIN}
    url = await tus.create(5)
    for response in (
        await tus.post({"Upload-Length": "5", **origin}),
        await tus.head(url, origin),
        await tus.patch(url, 0, b"hello", origin),
    ):
        _allows_origin(response)
        exposed = _lower(response, "Access-Control-Expose-Headers")
        missing = [name for name in wanted if name.lower() not in exposed]
        expect(not missing or "*" in exposed, f"Access-Control-Expose-Headers with {', '.join(missing)}", response)


@case("CORE-CORS-04")
async def errors_carry_cors_too(tus: Tus) -> None:
    origin = {"Origin": ORIGIN}
    url = await tus.create(5)
    errors = [
        await tus.head(unknown_url(tus), origin),
        await tus.patch(url, 3, b"x", origin),
        await tus.patch(url, 0, b"x", {**origin, "Tus-Resumable": "9.9.9"}),
        await tus.patch(url, 0, b"123456", origin),
        await tus.patch(url, 0, b"x", {**origin, "Content-Type": "text/plain"}),
    ]
    if tus.target.advertises("checksum"):
        wrong = {**origin, "Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
        errors.append(await tus.patch(url, 0, b"x", wrong))
    for response in errors:
        if response.status >= 400:
            _allows_origin(response)


@case("CORE-CORS-05")
async def an_echoed_origin_varies(tus: Tus) -> None:
    options = tus.target.options
    judged = False
    for response in (await _preflight(tus), await tus.post({"Upload-Length": "5", "Origin": ORIGIN})):
        allowed = response.get("Access-Control-Allow-Origin")
        if allowed == "*":
            credentials = response.get("Access-Control-Allow-Credentials")
            expect(credentials != "true", "no Access-Control-Allow-Credentials beside *", response)
        elif allowed == ORIGIN:
            varies = _lower(response, "Vary") & {"origin", "*"}
            expect(bool(varies), "Vary: Origin, as the response echoes the origin", response)
        judged = judged or allowed is not None
    if options.foreign_origin is not None:
        judged = True
        response = await tus.post({"Upload-Length": "5", "Origin": options.foreign_origin})
        got = response.get("Access-Control-Allow-Origin")
        refused = response.status == 403 or got not in {"*", options.foreign_origin}
        expect(refused, f"{options.foreign_origin} to be refused", response)
    if not judged:
        raise Skip("the server sends no CORS headers; give --foreign-origin to judge its allow-list")
