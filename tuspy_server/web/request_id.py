"""Ids of requests: random, so that those of several processes never meet in a log; no secret."""

from __future__ import annotations

import os
from typing import Final

ID_BYTES: Final = 8
POOL_BYTES: Final = ID_BYTES << 8
"""Asked of the system at once: a call for each request would cost more than all else about its id."""

_ids: list[str] = []


def new_request_id() -> str:
    """16 hex digits."""
    while True:
        try:
            return _ids.pop()
        except IndexError:
            text = os.urandom(POOL_BYTES).hex()
            _ids.extend(text[start : start + 2 * ID_BYTES] for start in range(0, len(text), 2 * ID_BYTES))


os.register_at_fork(after_in_child=_ids.clear)
