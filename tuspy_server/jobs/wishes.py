"""Files that somebody wants to upload, and the uploads that they become."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from tuspy_server.protocol.errors import InvalidMetadata, TusError
from tuspy_server.protocol.metadata import check_metadata
from tuspy_server.protocol.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWish:
    """One file of a job that is to be.

    Attributes:
        name: becomes `filename` of the metadata.
        length: bytes; None where it is not known yet.
        type: media type; becomes `filetype` of the metadata.
        metadata: further pairs; values are text.
    """

    name: str
    length: int | None = None
    type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def upload_metadata(self, policy: Policy) -> str:
        """As a client of tus would send it.

        Raises:
            InvalidMetadata: 400, a key that is none, or one that `name` or `type` is for. HeadersTooLarge: 431.
        """
        pairs = {"filename": self.name} if self.type is None else {"filename": self.name, "filetype": self.type}
        if pairs.keys() & self.metadata.keys():
            raise InvalidMetadata("name and type have fields of their own")
        raw = ",".join(_pair(key, value) for key, value in (pairs | dict(self.metadata)).items())
        check_metadata(raw, policy.max_metadata_bytes)
        return raw


class FileRefused(Exception):
    """One file of several is why nothing was done.

    Attributes:
        error: what is wrong with it.
        index: its place among those that were asked for, from 0.
        member: the part of it that is wrong, where one is.
    """

    def __init__(self, error: TusError, index: int, member: str | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.index = index
        self.member = member


def _pair(key: str, value: str) -> str:
    # A comma, a space or a tab would make another pair of it, or several.
    if not key or any(letter in ", \t" for letter in key):
        raise InvalidMetadata("every key must be non-empty visible ASCII")
    encoded = base64.b64encode(value.encode()).decode()
    return f"{key} {encoded}" if encoded else key
