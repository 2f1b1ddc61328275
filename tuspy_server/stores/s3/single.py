"""An object of at most one part: put by one call, which no other writer's call can undo.

The call says `If-None-Match: *`. Where an object is there already, its metadata say whose it is. One of this upload's
with the same bytes will do. One with others, of an earlier writer, is replaced by a multipart upload, whose Complete
only follows a commit: no put, by whatever condition, ever replaces anything. (`If-Match` does not do: where the ETag is
that of the bytes, a successor that finds its own bytes there finishes, and the fenced writer's late call still
matches.) One that a *later* writer has put tells this one that it is fenced: writers are ordered by the database's time
of their claims (fault K05).
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


class Taken(Exception):
    """An earlier writer of the upload has put an object of other bytes."""


async def put_single(
    bucket: Bucket, upload: Upload, key: str, body: Sequence[memoryview], crc32c: int, doubt: Doubt
) -> str:
    """Put an upload's whole object; `upload` is the row as it was claimed. Returns the ETag. Done already is success.

    Raises:
        Taken: an earlier writer has put other bytes; to be replaced by a multipart upload.
        WriterFenced: a later writer has put it.
        BytesMissing: the key holds another upload's object.
        StorageFault: others keep getting in between.
        S3Error: the store does not answer, or refuses.
    """
    marker = Marker(upload_id=upload.id, crc32c=crc32c, claimed_at=upload.as_of)
    headers = headers_of(upload, marker)
    for left in reversed(range(_TRIES)):
        try:
            return await bucket.put_object(key, body, crc32c=crc32c, headers=headers, if_none_match=True, doubt=doubt)
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
        raise Taken
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
    # One without a claim's time is what a Complete has made: the upload has gone on without this writer.
    if known.claimed_at is None or (marker.claimed_at is not None and known.claimed_at > marker.claimed_at):
        raise WriterFenced
