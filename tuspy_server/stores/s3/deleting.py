"""Deleting objects, a thousand a call."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tuspy_server.stores.s3.driving import Driven
from tuspy_server.stores.s3.errors import NoSuchKey, NotSupported, S3Error, of_answer

_BATCH: Final = 1000


def add_md5(params: dict[str, Any], **_: object) -> None:
    """Give DeleteObjects the `Content-MD5` that older stores demand; the SDK sends a CRC32 alone, which they do not
    know (fault S16)."""
    body = params["body"]
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


class Deleter:
    """DeleteObjects, and DeleteObject where the store has no batches."""

    def __init__(self, driven: Driven) -> None:
        self._driven = driven
        self._driver = driven.driver
        self._batches = True
        self._driver.meta.events.register("before-call.s3.DeleteObjects", add_md5)

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Bucket.delete_objects`."""
        every = list(keys)
        first_error: S3Error | None = None
        for start in range(0, len(every), _BATCH):
            try:
                await self._delete(every[start : start + _BATCH])
            except S3Error as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    async def _delete(self, keys: Sequence[str]) -> None:
        if self._batches and len(keys) > 1:
            try:
                return await self._batch(keys)
            except NotSupported:
                self._batches = False
        for key in keys:
            await self._one(key)
        return None

    async def _batch(self, keys: Sequence[str]) -> None:
        answer = await self._driven.call(
            "DeleteObjects",
            lambda: self._driver.delete_objects(
                Bucket=self._driven.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            ),
        )
        for refused in answer.get("Errors", []):
            code = refused.get("Code", "")
            if code != "NoSuchKey":
                raise of_answer("DeleteObjects", answer["ResponseMetadata"]["HTTPStatusCode"], code)

    async def _one(self, key: str) -> None:
        try:
            await self._driven.call(
                "DeleteObject", lambda: self._driver.delete_object(Bucket=self._driven.bucket, Key=key)
            )
        except NoSuchKey:
            return
