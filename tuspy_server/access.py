"""Who asks, for what, and what is granted: the vocabulary of `authorize` and of the blocking hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Intent(StrEnum):
    """What a request is about to do."""

    CREATE = "create"
    """Make an upload, or a job of uploads."""
    READ = "read"
    """Look at an upload or a job (HEAD, GET), or, where neither is named, at lists and sums of them."""
    WRITE = "write"
    """Append to an upload, or add to a job."""
    TERMINATE = "terminate"
    """Remove an upload, or cancel a job."""
    SUBSCRIBE = "subscribe"
    """Follow the events of an upload or a job; where neither is named, all that the grant reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a request may reach.

    Attributes:
        tenant: uploads and jobs of this tenant alone; what the request makes belongs to it. None: those of all, and
            what it makes is nobody's.
        subject: who it is, for logs and for hooks.
    """

    tenant: str | None = None
    subject: str | None = None

    def reaches(self, tenant: str | None) -> bool:
        """Whether uploads and jobs of that tenant are within it."""
        return self.tenant is None or self.tenant == tenant


EVERYTHING: Final = Grant()
"""Where no `authorize` says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What a hook is told of the request. Its `repr` has neither headers nor query: an application may log what it is
    given, and there are tokens and cookies among them.

    Attributes:
        method: as received.
        path: below the host, percent-decoded.
        headers: names in lower case; of a name that came several times the last value.
        query: names and values of the query string, decoded; of a name that came several times the last value.
        uri: path and query as they were sent; empty where they are not known.
        client: address of the peer, or None.
        grant: what `authorize` has granted; in `authorize` itself `EVERYTHING`.
        upload_id: which upload is meant, where one is.
        job_id: which job is meant, where one is.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    uri: str = field(default="", repr=False)
    client: str | None = None
    grant: Grant = EVERYTHING
    upload_id: str | None = None
    job_id: str | None = None
