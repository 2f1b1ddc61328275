"""Who may do what: asked once for every request, before anything is looked up and before a byte of a body is read."""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Final

import structlog
from starlette.types import Scope

from tuspy_server.access import EVERYTHING, Grant, Intent, RequestContext
from tuspy_server.events.blocking import BlockingHooks, Question, misanswered
from tuspy_server.protocol.errors import Forbidden, JobNotFound, Unauthorized, UploadNotFound
from tuspy_server.web.context import request_context
from tuspy_server.web.hosts import Hosts
from tuspy_server.web.origins import Origins

log = structlog.get_logger("tuspy_server.web")

ANY_HOST: Final = Hosts()
LOGGED_CHARACTERS: Final = 255
_SCHEME: Final = b"bearer "


class Authority:
    """Decides by `authorize` of the application, where there is one. Where there is none, whoever names an upload or a
    job has been told its id by its maker, and may; so may all who make some. Anything beyond that takes the api_token,
    or `api_open`. The api_token opens everything, with and without `authorize`."""

    def __init__(
        self,
        hooks: BlockingHooks,
        *,
        api_token: str | None,
        api_open: bool,
        api_hosts: Hosts = ANY_HOST,
        api_origins: Origins | None = None,
    ) -> None:
        """See the settings of these names; `api_origins`: the pages for which `api_open` holds, None for all."""
        self._hooks = hooks
        self._api_token = api_token.encode() if api_token else None
        self._api_open = api_open
        self._api_hosts = api_hosts
        self._api_origins = api_origins

    async def grant(
        self,
        intent: Intent,
        scope: Scope,
        *,
        upload_id: str | None = None,
        job_id: str | None = None,
        token_in_query: bool = False,
    ) -> RequestContext:
        """The request with what it may reach; `.grant` says that. What it reaches is for the caller to obey:
        `Grant.reaches(tenant)`.

        Args:
            intent: what it is about to do.
            scope: of ASGI, `http` or `websocket`.
            upload_id: the upload that it names.
            job_id: the job that it names.
            token_in_query: whether the api_token may come as `?access_token=`, for clients that can send no headers
                (EventSource, WebSocket in browsers).

        Raises:
            Unauthorized: 401. Forbidden: 403. UploadNotFound, JobNotFound: 404, a refusal about a named one, which is
                not to be told from an unknown one (I9). HookFailed: 500. TusError: what else `authorize` has raised.
        """
        request = request_context(scope, upload_id=upload_id, job_id=job_id)
        if self._has_token(request, token_in_query=token_in_query):
            return request
        if self._hooks.has(Question.AUTHORIZE):
            return replace(request, grant=await self._asked(intent, request))
        is_named = upload_id is not None or job_id is not None
        if intent is Intent.CREATE or is_named:
            return request
        if not self._api_open:
            raise Unauthorized(
                "lists, sums and streams of everything need the server's api_token; name one upload or job"
            )
        host = request.headers.get("host")
        if not self._api_hosts.allow(host):
            log.warning("api.host.refused", host=(host or "")[:LOGGED_CHARACTERS], setting="api_hosts")
            raise Unauthorized("by this Host the server is not open; its api_hosts says by which it is")
        if self._api_origins is not None and not self._api_origins.allow(scope):
            raise Unauthorized("to pages of other origins the server is open only where cors_origins names them")
        return request

    def _has_token(self, request: RequestContext, *, token_in_query: bool) -> bool:
        if self._api_token is None:
            return False
        # The header's bytes as they came: ASGI has no text.
        authorization = request.headers.get("authorization", "").encode("latin-1")
        tokens = [authorization[len(_SCHEME) :].strip()] if authorization[: len(_SCHEME)].lower() == _SCHEME else []
        if token_in_query:
            tokens.append(request.query.get("access_token", "").encode())
        return any(hmac.compare_digest(token, self._api_token) for token in tokens)

    async def _asked(self, intent: Intent, request: RequestContext) -> Grant:
        answer = await self._hooks.ask(Question.AUTHORIZE, intent, request)
        if isinstance(answer, Grant):
            return answer
        if answer is True:
            return EVERYTHING
        if answer is not False:
            raise misanswered(Question.AUTHORIZE, answer)
        if request.upload_id is not None:
            raise UploadNotFound
        if request.job_id is not None:
            raise JobNotFound
        raise Forbidden
