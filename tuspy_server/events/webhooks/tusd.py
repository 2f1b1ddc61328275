"""Events and questions as tusd's HTTP hooks have them, for receivers that were written for tusd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tuspy_server.access import RequestContext
from tuspy_server.model import Event, EventType, Upload
from tuspy_server.ports import Proposal
from tuspy_server.protocol.metadata import metadata_text

NAMES: Final[Mapping[EventType, str]] = {
    EventType.CREATED: "post-create",
    EventType.FINISHED: "post-finish",
    EventType.TERMINATED: "post-terminate",
}
"""tusd has no word for the others."""

LocalPath = Callable[[str], str | None]
"""Of an upload's file; None where there is no local file."""


def hook_headers(name: str) -> Mapping[str, str]:
    """What tells the kind of hook without a look into the body."""
    return {"Hook-Name": name, "Content-Type": "application/json"}


def event_body(event: Event, local_path: LocalPath) -> dict[str, Any]:
    """An event. The request that caused it is not kept, so `HTTPRequest` is empty."""
    data = event.data
    metadata = dict(data.get("metadata") or {})
    metadata |= _texts(data.get("trusted_metadata") or {})
    return _body(
        NAMES[event.type],
        _upload(
            event.upload_id,
            length=data.get("upload_length"),
            offset=data.get("upload_offset") or 0,
            metadata=metadata,
            storage=_storage(data.get("bucket"), data.get("key"), local_path(event.upload_id)),
        ),
        None,
    )


def proposal_body(proposal: Proposal) -> dict[str, Any]:
    """The question before a creation."""
    upload = _upload("", length=proposal.upload_length, offset=0, metadata=dict(proposal.metadata), storage=None)
    return _body("pre-create", upload, proposal.request)


def upload_body(name: str, upload: Upload, request: RequestContext | None, local_path: str | None) -> dict[str, Any]:
    """A question about an upload that there is."""
    key = None if upload.placement is None else upload.placement.key
    return _body(
        name,
        _upload(
            upload.id,
            length=upload.upload_length,
            offset=upload.upload_offset,
            metadata=metadata_text(upload.upload_metadata) | _texts(upload.trusted_metadata),
            storage=_storage(None, key, local_path),
        ),
        request,
    )


def _body(name: str, upload: Mapping[str, Any], request: RequestContext | None) -> dict[str, Any]:
    return {"Type": name, "Event": {"Upload": upload, "HTTPRequest": _request(request)}}


def _upload(
    upload_id: str,
    *,
    length: int | None,
    offset: int,
    metadata: Mapping[str, str],
    storage: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {
        "ID": upload_id,
        "Size": length or 0,
        "SizeIsDeferred": length is None,
        "Offset": offset,
        "MetaData": metadata,
        "IsPartial": False,
        "IsFinal": False,
        "PartialUploads": None,
        "Storage": storage,
    }


def _storage(bucket: str | None, key: str | None, local_path: str | None) -> dict[str, str] | None:
    if key is not None:
        place = {"Type": "s3store", "Key": key}
        return place if bucket is None else place | {"Bucket": bucket}
    return None if local_path is None else {"Type": "filestore", "Path": local_path}


def _request(request: RequestContext | None) -> dict[str, Any]:
    if request is None:
        return {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}
    return {
        "Method": request.method,
        "URI": request.uri or request.path,
        "RemoteAddr": request.client or "",
        "Header": {_canonical(name): [value] for name, value in request.headers.items()},
    }


def _canonical(name: str) -> str:
    """As Go writes names of headers: `Upload-Length`."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if isinstance(value, str)}
