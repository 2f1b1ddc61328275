"""Blocking hooks over HTTP, with tusd's questions and answers: `ports.Gate`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuspy_server.access import RequestContext
from tuspy_server.events.webhooks.client import AddressRefused, Answer, HttpClient
from tuspy_server.events.webhooks.sender import UNREACHABLE, USER_AGENT, compact_json, utc_now
from tuspy_server.events.webhooks.signing import Signer
from tuspy_server.events.webhooks.tusd import LocalPath, hook_headers, proposal_body, upload_body
from tuspy_server.model import Upload
from tuspy_server.ports import Creation, Proposal, StoredUpload
from tuspy_server.protocol.errors import HookFailed, Refused

log = structlog.get_logger("tuspy_server.events")

MOST_BODY_BYTES: Final = 64 << 10
AT_ONCE: Final = 64
"""Calls; further ones wait within their deadline."""

MOST_TEXT_CHARACTERS: Final = 2000
REJECTED: Final = 400
"""tusd's status where the hook names none."""


class HookKind(StrEnum):
    """What can be asked."""

    PRE_CREATE = "pre-create"
    PRE_FINISH = "pre-finish"
    PRE_TERMINATE = "pre-terminate"


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _HttpResponse(_Lenient):
    """A member that is null is as one that is not there: so it is to tusd."""

    status: int | None = Field(default=None, alias="StatusCode")
    body: str | None = Field(default=None, alias="Body")


class _Storage(_Lenient):
    key: str | None = Field(default=None, alias="Key")
    path: str | None = Field(default=None, alias="Path")
    bucket: str | None = Field(default=None, alias="Bucket")


class _Changes(_Lenient):
    """The first three are tusd's; the others are ours."""

    id: str | None = Field(default=None, alias="ID")
    metadata: Mapping[str, Any] | None = Field(default=None, alias="MetaData")
    storage: _Storage | None = Field(default=None, alias="Storage")
    most_bytes: Annotated[int, Field(ge=0)] | None = Field(default=None, alias="MaxSize")
    types: list[str] | None = Field(default=None, alias="Types")
    expires_seconds: Annotated[float, Field(gt=0, strict=False)] | None = Field(default=None, alias="ExpiresSeconds")
    tenant: str | None = Field(default=None, alias="Tenant")


class _Reply(_Lenient):
    response: _HttpResponse | None = Field(default=None, alias="HTTPResponse")
    reject_upload: bool | None = Field(default=None, alias="RejectUpload")
    reject_termination: bool | None = Field(default=None, alias="RejectTermination")
    changes: _Changes | None = Field(default=None, alias="ChangeFileInfo")


class HttpGate:
    """Asks one URL. What is not a 2xx with an answer that can be read, in time, is `HookFailed`: nothing changes."""

    def __init__(
        self,
        client: HttpClient,
        kinds: Collection[HookKind],
        *,
        deadline_seconds: float,
        secrets: tuple[str, ...] = (),
        local_path: LocalPath = lambda _: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`kinds`: what is asked; all else passes. `secrets`: sign the questions."""
        self._client = client
        self._kinds = frozenset(kinds)
        self._deadline_seconds = deadline_seconds
        self._signer = Signer(secrets)
        self._local_path = local_path
        self._now = now

    @property
    def asks_before_finish(self) -> bool:
        """See the port."""
        return HookKind.PRE_FINISH in self._kinds

    async def pre_create(self, proposal: Proposal) -> Creation:
        """See the port."""
        if HookKind.PRE_CREATE not in self._kinds:
            return Creation()
        reply = await self._ask(HookKind.PRE_CREATE, proposal_body(proposal))
        if reply.reject_upload:
            raise _refusal(reply)
        return _creation(reply.changes)

    async def pre_finish(self, stored: StoredUpload) -> None:
        """See the port. Refused where the answer has `RejectUpload`, which tusd ignores here."""
        if HookKind.PRE_FINISH not in self._kinds:
            return
        local_path = None if stored.path is None else str(stored.path)
        reply = await self._ask(
            HookKind.PRE_FINISH, upload_body("pre-finish", stored.upload, stored.request, local_path)
        )
        if reply.reject_upload:
            raise _refusal(reply)

    async def pre_terminate(self, upload: Upload, request: RequestContext) -> None:
        """See the port."""
        if HookKind.PRE_TERMINATE not in self._kinds:
            return
        body = upload_body("pre-terminate", upload, request, self._local_path(upload.id))
        if (reply := await self._ask(HookKind.PRE_TERMINATE, body)).reject_termination:
            raise _refusal(reply)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, kind: HookKind, question: Mapping[str, Any]) -> _Reply:
        body = compact_json(question)
        headers = {
            "User-Agent": USER_AGENT,
            **hook_headers(kind),
            **self._signer.headers(f"msg_{secrets.token_hex(16)}", self._now(), body),
        }
        try:
            answer = await self._client.post(
                headers,
                body.encode("ascii"),
                most_body_bytes=MOST_BODY_BYTES,
                deadline_seconds=self._deadline_seconds,
            )
            return _read(answer)
        except (TimeoutError, AddressRefused, *UNREACHABLE, _Unreadable) as error:
            log.error("hook.call.failed", hook=str(kind), reason=f"{type(error).__name__}: {error}")
            raise HookFailed from error


def gate_over_http(
    url: str, kinds: Collection[str], *, deadline_seconds: float, secret: str | None, local_path: LocalPath
) -> HttpGate:
    """A gate with connections of its own. `url` may be a private address: the operator's own application, which is the
    one destination of these calls, and whom nobody else has named."""
    return HttpGate(
        HttpClient(url, at_once=AT_ONCE, private=True),
        [HookKind(kind) for kind in kinds],
        deadline_seconds=deadline_seconds,
        secrets=() if secret is None else (secret,),
        local_path=local_path,
    )


class _Unreadable(Exception):
    """The answer says nothing that can be acted upon."""


def _read(answer: Answer) -> _Reply:
    if not HTTPStatus(200) <= answer.status < HTTPStatus(300):
        raise _Unreadable(f"answered {answer.status}")
    if not answer.whole:
        raise _Unreadable(f"answered more than {MOST_BODY_BYTES} bytes")
    if not answer.body.strip():
        return _Reply()
    try:
        return _Reply.model_validate(json.loads(answer.body))
    except ValidationError as error:
        fields = {".".join(str(part) for part in detail["loc"]) for detail in error.errors()}
        raise _Unreadable(f"answered JSON with wrong values: {', '.join(sorted(fields)) or 'no object'}") from error
    except (ValueError, RecursionError) as error:
        raise _Unreadable("answered what is not JSON") from error


def _refusal(reply: _Reply) -> Refused:
    response = reply.response or _HttpResponse()
    body = (response.body or "")[:MOST_TEXT_CHARACTERS]
    text = "".join(letter if letter.isprintable() else " " for letter in body).strip()
    try:
        return Refused(text or "rejected", response.status or REJECTED)
    except ValueError:  # a status that clients retry would never end
        return Refused(text or "rejected", REJECTED)


def _creation(changes: _Changes | None) -> Creation:
    if changes is None:
        return Creation()
    storage = changes.storage or _Storage()
    return Creation(
        id=changes.id or None,
        key=storage.key or storage.path or None,
        bucket=storage.bucket or None,
        most_bytes=changes.most_bytes,
        types=None if changes.types is None else tuple(changes.types),
        expires_seconds=changes.expires_seconds,
        trusted_metadata=dict(changes.metadata or {}),
        tenant=changes.tenant or None,
    )
