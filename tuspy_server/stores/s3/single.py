"""An object of at most one part: put by one call, which no other writer's call can undo.

The call says `If-None-Match: *`. Where an object is there already, its metadata say whose it is. One of this upload's
that an earlier writer has put is replaced, but only as long as it is the very one that was looked at (`If-Match`). One
that a *later* writer has put is left alone: writers are ordered by the database's time of their claims, so that one
that was fenced and does not know it yet never replaces what its successor has finished (fault K05).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from tuspy_server.model import Upload
from tuspy_server.protocol.errors import BytesMissing, StorageFault, WriterFenced
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.errors import ConditionalConflict, PreconditionFailed, S3Error
from tuspy_server.stores.s3.headers import Marker, headers_of, marker_of
from tuspy_server.stores.s3.values import Doubt, ObjectFacts

_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0


async def put_single(
    bucket: Bucket, upload: Upload, key: str, body: Sequence[memoryview], crc32c: int, doubt: Doubt
) -> str:
    """Put an upload's whole object; `upload` is the row as it was claimed. Returns the ETag. Done already is success.

    Raises:
        WriterFenced: a later writer has put it.
        BytesMissing: the key holds another upload's object.
        StorageFault: others keep getting in between.
        S3Error: the store does not answer, or refuses.
    """
    marker = Marker(upload_id=upload.id, crc32c=crc32c, claimed_at=upload.as_of)
    headers = headers_of(upload, marker)
    there: ObjectFacts | None = None
    for left in reversed(range(_TRIES)):
        try:
            return await bucket.put_object(
                key,
                body,
                crc32c=crc32c,
                headers=headers,
                if_none_match=there is None,
                if_match=None if there is None else there.etag,
                doubt=doubt,
            )
        except PreconditionFailed:
            pass
        except ConditionalConflict:
            await _pause(left)
        except S3Error as error:
            # It may have been done, or be done yet: then the next try meets it. The condition makes it safe.
            if not error.outcome_unknown or not left:
                raise
            await _pause(left)
        there = await bucket.head_object(key)
        if there is None:
            continue
        if _is_same(there, marker, body):
            return there.etag
        _refuse_unless_earlier(there, marker)
    raise StorageFault


async def _pause(left: int) -> None:
    await asyncio.sleep(random.uniform(0, min(_PAUSE_SECONDS * 2 ** (_TRIES - left), _LONGEST_PAUSE_SECONDS)))


def _is_same(there: ObjectFacts, marker: Marker, body: Sequence[memoryview]) -> bool:
    known = marker_of(there, marker.upload_id)
    return known is not None and known.crc32c == marker.crc32c and there.length == sum(map(len, body))


def _refuse_unless_earlier(there: ObjectFacts, marker: Marker) -> None:
    known = marker_of(there, marker.upload_id)
    if known is None:
        raise BytesMissing
    if known.claimed_at is not None and marker.claimed_at is not None and known.claimed_at > marker.claimed_at:
        raise WriterFenced
