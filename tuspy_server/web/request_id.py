"""Ids of requests: random, so that those of several processes never meet in a log; no secret."""

from __future__ import annotations

import os
import re
from typing import Final

from starlette.types import Scope

ID_BYTES: Final = 8
POOL_BYTES: Final = ID_BYTES << 8
"""Asked of the system at once: a call for each request would cost more than all else about its id."""

_ids: list[str] = []
_HARMLESS: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_request_id() -> str:
    """16 hex digits."""
    while True:
        try:
            return _ids.pop()
        except IndexError:
            text = os.urandom(POOL_BYTES).hex()
            _ids.extend(text[start : start + 2 * ID_BYTES] for start in range(0, len(text), 2 * ID_BYTES))


def identify(scope: Scope) -> tuple[str, str | None]:
    """The request's id, taken over from a proxy where it is harmless, and its origin."""
    request_id, origin = None, None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"origin":
            origin = value.decode("latin-1")
    if request_id is None or not _HARMLESS.fullmatch(request_id):
        request_id = new_request_id()
    return request_id, origin


os.register_at_fork(after_in_child=_ids.clear)
