"""A place that gets webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tuspy_server.model import EventType

PREFIX: Final = "webhook:"


class Format(StrEnum):
    """How an event is written."""

    CLOUDEVENTS = "cloudevents"
    TUSD = "tusd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where events are sent, and how.

    Attributes:
        name: deliveries are remembered by it.
        url: http or https.
        types: what it gets.
        secrets: of Standard Webhooks, `whsec_…`: each makes a signature, so that a receiver may change from one to the
            next. Without any, nothing is signed.
        headers: that every call carries besides ours.
        processing: whether a finished upload counts as processed only when this one has taken it.
        at_once: most calls at once.
        call_seconds: deadline of one call.
        allow_private: whether its address may be one that is not public.
    """

    name: str
    url: str = field(repr=False)
    types: frozenset[EventType]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    format: Format = Format.CLOUDEVENTS
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    processing: bool = False
    at_once: int
    call_seconds: float
    allow_private: bool = False

    @property
    def consumer_name(self) -> str:
        """In the outbox."""
        return f"{PREFIX}{self.name}"
