"""What an upload is to be: what its client, the application and the settings say of it."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from tuspy_server.model import UPLOAD_ID
from tuspy_server.ports import Creation, NewFile, NewUpload, Proposal
from tuspy_server.protocol.errors import HookFailed, IdTaken, TypeNotAllowed, UploadTooLarge
from tuspy_server.protocol.fields import MAX_INTEGER
from tuspy_server.uploads.means import NO_CAP_SECONDS, Means

log = structlog.get_logger("tuspy_server.uploads")

MOST_NAME_CHARS = 255
"""Of a tenant's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An upload that is to be made; `chose_id`: whether a hook has chosen the id, which may thus be another's."""

    file: NewFile
    chose_id: bool


class Planning:
    """The one way in which uploads come to be, by a POST and in jobs."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def plan(self, proposal: Proposal) -> Plan:
        """Ask `pre_create`, and give the row that it allows, without a writer, with its event. Nothing is stored.

        Raises:
            UploadTooLarge: 413. TypeNotAllowed: 415. IdTaken: 409, an object has the key that the hook has chosen,
                whoever has put it there. HookFailed: 500, the hook failed, or its wishes cannot be granted;
                the log says which. TusError: what else the hook has raised.
        """
        creation = await self._means.gate.pre_create(proposal)
        try:
            _check(creation)
            new = self._new_upload(proposal, creation)
        except (ValueError, TypeError) as error:
            log.exception("hook.answer.refused", hook="pre_create", reason=str(error))
            raise HookFailed from error
        if creation.most_bytes is not None and (new.upload_length or 0) > creation.most_bytes:
            raise UploadTooLarge("the upload is larger than the application allows")
        if creation.types is not None and not _is_one_of(_declared_type(proposal.metadata), creation.types):
            raise TypeNotAllowed
        if (
            (creation.key is not None or creation.id is not None)
            and new.placement is not None
            and not await self._means.blobs.is_free(new.placement)
        ):
            raise IdTaken
        file = NewFile(new=new, event=self._means.drafts.created(new))
        return Plan(file=file, chose_id=creation.id is not None)

    def _new_upload(self, proposal: Proposal, creation: Creation) -> NewUpload:
        upload_id = secrets.token_hex(16) if creation.id is None else creation.id
        # A job's uploads are of the job's tenant.
        is_free = creation.tenant is not None and proposal.job_id is None
        tenant = creation.tenant if is_free else proposal.request.grant.tenant
        # No calendar has an end for what a hook may ask for.
        idle_seconds = None if creation.expires_seconds is None else min(creation.expires_seconds, NO_CAP_SECONDS)
        return NewUpload(
            id=upload_id,
            upload_length=proposal.upload_length,
            upload_metadata=proposal.upload_metadata,
            writer=None,
            lifetime=self._means.options.lifetime_of(idle_seconds),
            placement=self._means.blobs.place(
                upload_id, proposal.upload_length, tenant=tenant, key=creation.key, bucket=creation.bucket
            ),
            tenant=tenant,
            job_id=proposal.job_id,
            trusted_metadata=dict(creation.trusted_metadata),
            most_bytes=creation.most_bytes,
            idle_seconds=idle_seconds,
        )


def _check(creation: Creation) -> None:
    """Raises ValueError or TypeError where it asks for what cannot be."""
    if creation.id is not None and not UPLOAD_ID.fullmatch(creation.id):
        raise ValueError("an id has 1 to 64 letters, digits, _ and -")
    if creation.most_bytes is not None and not 0 <= creation.most_bytes <= MAX_INTEGER:
        raise ValueError("most_bytes must be within 0 and 2^63 - 1")
    if creation.expires_seconds is not None and not 0 < creation.expires_seconds < math.inf:
        raise ValueError("expires_seconds must be positive")
    if creation.tenant is not None and not 0 < len(creation.tenant) <= MOST_NAME_CHARS:
        raise ValueError(f"a tenant has 1 to {MOST_NAME_CHARS} characters")
    if isinstance(creation.types, str):
        raise TypeError("types is a tuple of media types")
    # PostgreSQL keeps neither NUL nor a lone surrogate in a text; JSON has neither NaN nor sets.
    facts = json.dumps(dict(creation.trusted_metadata), allow_nan=False, ensure_ascii=False)
    if "\\u0000" in facts or "\0" in (creation.tenant or ""):
        raise ValueError("texts must not hold NUL")
    (facts + (creation.tenant or "")).encode()


def _declared_type(metadata: Mapping[str, str]) -> str:
    return (metadata.get("filetype") or metadata.get("type") or "").partition(";")[0].strip().lower()


def _is_one_of(declared: str, types: tuple[str, ...]) -> bool:
    main = declared.partition("/")[0]
    return any(wanted.lower() in ("*/*", declared, f"{main}/*") for wanted in types) and "/" in declared
