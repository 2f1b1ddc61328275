"""What an ended upload leaves behind, removed. Nothing is touched but the upload's own keys."""

from __future__ import annotations

from typing import Final

import structlog

from tuspy_server.model import Placement, UploadStatus
from tuspy_server.ports import Cleanup
from tuspy_server.protocol.errors import StorageFault
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.errors import NoSuchUpload, NotSupported
from tuspy_server.stores.s3.headers import marker_of
from tuspy_server.stores.s3.keys import Keys

_ROUNDS: Final = 5

log = structlog.get_logger("tuspy_server.s3")


async def clean(
    bucket: Bucket,
    keys: Keys,
    cleanup: Cleanup,
    placement: Placement,
    *,
    keeps_metadata: bool,
    key_is_chosen: bool = False,
) -> None:
    """Of a finished upload the pieces go; of every other the parts and the object, too. Where the bucket may hold what
    no row names it is listed, until nothing is found any more.

    Args:
        key_is_chosen: others may write to the key, too. No listing says whose a multipart upload is, so only the one
            that is recorded is aborted: one that a crash has kept from being recorded is left to the bucket's rule.

    Raises:
        StorageFault: something is still found after several rounds; a later try may do better.
        S3Error: the store does not answer, or refuses.
    """
    upload = cleanup.upload
    finished = upload.status is UploadStatus.FINISHED
    if cleanup.piece_keys:
        await bucket.delete_objects(cleanup.piece_keys)
    if finished and not placement.unsettled:
        return
    if placement.multipart_id is not None and not finished:
        await _abort(bucket, placement.key, placement.multipart_id)
    for _ in range(_ROUNDS):
        pieces = await bucket.list_objects(keys.pieces_prefix(upload.id))
        multiparts = [] if key_is_chosen else await _multiparts(bucket, placement.key)
        if not pieces and not multiparts:
            break
        log.info("s3.leftovers.found", upload_id=upload.id, pieces=len(pieces), multiparts=len(multiparts))
        await bucket.delete_objects(pieces)
        for key, multipart_id in multiparts:
            await _abort(bucket, key, multipart_id)
    else:
        raise StorageFault
    if not finished:
        await _delete_object(bucket, placement.key, upload.id, keeps_metadata)


async def _multiparts(bucket: Bucket, key: str) -> list[tuple[str, str]]:
    try:
        listed = await bucket.list_multiparts(key)
    except NotSupported:  # the one that is recorded is all that is known
        return []
    return [found for found in listed if found[0] == key]


async def _abort(bucket: Bucket, key: str, multipart_id: str) -> None:
    """Until none of its parts is left: one that was under way may outlive an abort (fault S08)."""
    for _ in range(_ROUNDS):
        await bucket.abort_multipart(key, multipart_id)
        try:
            if not await bucket.list_parts(key, multipart_id):
                return
        except NoSuchUpload:
            return
    raise StorageFault


async def _delete_object(bucket: Bucket, key: str, upload_id: str, keeps_metadata: bool) -> None:
    facts = await bucket.head_object(key)
    if facts is None:
        return
    if marker_of(facts, upload_id, keeps_metadata=keeps_metadata) is None:
        log.error("s3.object.foreign", upload_id=upload_id, key=key)
        return
    await bucket.delete_objects([key])
