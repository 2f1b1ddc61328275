"""Kinds of values that settings have."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

DAY_SECONDS: Final = 86_400.0
ENVIRONMENT_PREFIX: Final = "TUSPY_"
CENTURY_SECONDS: Final = 3_155_760_000.0
MOST_BYTES: Final = 2**63 - 1


def _split_at_commas(value: object) -> object:
    parts = (value,) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        return value
    texts = [text.strip() for part in parts for text in part.split(",")]
    return tuple(text for text in texts if text)


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
"""Several texts: a TOML array, a repeated flag, or one text with commas, which is all that a variable can hold."""

Seconds = Annotated[float, Field(le=CENTURY_SECONDS, allow_inf_nan=False)]
"""A duration; its ceiling keeps every instant that is reckoned with it a valid one."""
