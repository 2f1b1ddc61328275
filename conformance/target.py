"""The server under judgement: what it advertises, and what its operator says of it by options."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from conformance.message import Closed, Exchange, Fields, Origin, Response, WireError, request_target
from conformance.wire import SECRETS, connect

TUS_VERSION = "1.0.0"


@dataclass(frozen=True)
class Options:
    """What only the operator can know or wants otherwise. Durations are in seconds, sizes in bytes.

    `case_seconds` ends a case that hangs, `answer_seconds` one wait for a response. `lock_seconds` is how long an
    upload may stay locked after a lost connection: the rows allow 30 s.
    """

    headers: Fields = ()
    case_seconds: float = 90.0
    answer_seconds: float = 35.0
    lock_seconds: float = 30.0
    parallel: int = 6
    seed: int = 0
    small_uploads: int = 1000
    max_size: int | None = None
    expires_seconds: float | None = None
    read_timeout_seconds: float | None = None
    trusts_proxy: bool | None = None
    foreign_origin: str | None = None
    restart_command: str | None = None
    cleanup: bool = True
    verify_tls: bool = True

    @property
    def authenticates(self) -> bool:
        """Whether a header that carries credentials was given."""
        return any(name.lower() in SECRETS for name, _ in self.headers)


@dataclass(frozen=True)
class Target:
    """A tus server by the URL at which uploads are created.

    `extensions`, `checksum_algorithms`, `tus_max_size` are what OPTIONS advertised; empty or None if it did not.
    `rufh_version` is the interop version of the IETF draft in which the server answered, None if it did not.
    """

    url: str
    options: Options = field(default_factory=Options)
    extensions: frozenset[str] = frozenset()
    checksum_algorithms: tuple[str, ...] = ()
    tus_max_size: int | None = None
    tus_versions: tuple[str, ...] = ()
    server: str = ""
    rufh_version: str | None = None

    @property
    def origin(self) -> Origin:
        """Where the creation URL lives."""
        return Origin.of(self.url)

    def advertises(self, extension: str) -> bool:
        """Whether Tus-Extension names this extension; core needs no naming."""
        return extension == "core" or extension in self.extensions


async def _ask(url: str, options: Options, method: str, fields: Sequence[tuple[str, str]]) -> Response:
    exchanges: list[Exchange] = []
    connection = await connect(Origin.of(url), exchanges, options.answer_seconds, verify=options.verify_tls)
    try:
        names = [("Host", connection.origin.authority), *fields, *options.headers]
        connection.send_head(method, request_target(url), names)
        return await connection.receive(options.answer_seconds)
    finally:
        connection.close()


async def discover(url: str, options: Options) -> Target:
    """Ask the server by OPTIONS what it offers, and by one POST whether it speaks the IETF draft.

    Raises:
        Closed: nobody listens at the URL. A server that refuses OPTIONS is judged as if it advertised nothing.
    """
    fields: tuple[tuple[str, str], ...] = (("Tus-Resumable", TUS_VERSION),)
    answer: Response | None = None
    for attempt in range(2):
        try:
            answer = await _ask(url, options, "OPTIONS", fields)
            break
        except Closed:
            if attempt:
                raise
        except WireError:
            break
    if answer is None:
        return Target(url, options)
    limit = answer.get("Tus-Max-Size") or ""
    return Target(
        url,
        options,
        extensions=frozenset(answer.members("Tus-Extension")) - {""},
        checksum_algorithms=tuple(name for name in answer.members("Tus-Checksum-Algorithm") if name),
        tus_max_size=int(limit) if limit.isascii() and limit.isdigit() else None,
        tus_versions=tuple(answer.members("Tus-Version")),
        server=answer.get("Server") or "",
        rufh_version=await _rufh_version(url, options),
    )


async def _rufh_version(url: str, options: Options) -> str | None:
    for version in ("8", "6"):
        draft = (("Upload-Draft-Interop-Version", version), ("Upload-Complete", "?0"), ("Content-Length", "0"))
        with contextlib.suppress(WireError):
            answer = await _ask(url, options, "POST", draft)
            if 200 <= answer.status < 300 and answer.get("Location") and answer.get("Tus-Resumable") is None:
                return version
    return None
