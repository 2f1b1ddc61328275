"""Sends events to one endpoint."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import httpcore2

from tuspy_server.events.cloudevents import MEDIA_TYPE, to_cloudevent
from tuspy_server.events.recipients import DeliveryFailed, Recipient, RecipientGone
from tuspy_server.events.retries import Retries
from tuspy_server.events.webhooks.client import AddressRefused, Answer, HttpClient
from tuspy_server.events.webhooks.endpoint import Endpoint, Format
from tuspy_server.events.webhooks.signing import Signer
from tuspy_server.events.webhooks.tusd import NAMES, LocalPath, event_body, hook_headers
from tuspy_server.model import Event
from tuspy_server.ports import Consumer
from tuspy_server.version import VERSION

MOST_BODY_BYTES: Final = 4096
"""Of an answer that nobody reads but people who look for what went wrong."""

AHEAD: Final = 4
SHOWN_CHARACTERS: Final = 200
USER_AGENT: Final = f"tuspy-server/{VERSION}"
BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
UNREACHABLE: Final = (OSError, httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)


def utc_now() -> datetime:
    """The time of day, which receivers compare with theirs."""
    return datetime.now(UTC)


class Sender:
    """One endpoint with its connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        source: str,
        *,
        local_path: LocalPath = lambda _: None,
        now: Callable[[], datetime] = utc_now,
        client: HttpClient | None = None,
    ) -> None:
        """`source`: of CloudEvents; `local_path`: tells tusd's receivers where a file is."""
        self._endpoint = endpoint
        self._source = source
        self._local_path = local_path
        self._now = now
        self._signer = Signer(endpoint.secrets)
        self._client = client or HttpClient(endpoint.url, at_once=endpoint.at_once, private=endpoint.allow_private)

    def recipient(self, retries: Retries) -> Recipient:
        """For the relay."""
        return Recipient(
            consumer=Consumer(
                name=self._endpoint.consumer_name, types=self._endpoint.types, processing=self._endpoint.processing
            ),
            call=self.send,
            at_once=self._endpoint.at_once,
            ahead=AHEAD,
            call_seconds=self._endpoint.call_seconds,
            retries=retries,
        )

    async def send(self, event: Event) -> None:
        """Send one event. 2xx alone means that it was taken.

        Raises:
            DeliveryFailed: it was not. RecipientGone: the receiver has answered 410.
        """
        body, headers = self._message(event)
        try:
            answer = await self._client.post(
                {
                    "User-Agent": USER_AGENT,
                    **self._endpoint.headers,
                    **headers,
                    **self._signer.headers(event.id, self._now(), body),
                },
                body.encode("ascii"),
                most_body_bytes=MOST_BODY_BYTES,
                deadline_seconds=self._endpoint.call_seconds,
            )
        except TimeoutError as error:
            raise DeliveryFailed(f"no answer within {self._endpoint.call_seconds:g} s") from error
        except AddressRefused as error:
            raise DeliveryFailed(str(error)) from error
        except UNREACHABLE as error:
            raise DeliveryFailed(f"{type(error).__name__}: {error}") from error
        self._judge(answer)

    async def close(self) -> None:
        """Close the connections; nothing may be under way."""
        await self._client.close()

    def _message(self, event: Event) -> tuple[str, Mapping[str, str]]:
        if self._endpoint.format is Format.TUSD:
            return compact_json(event_body(event, self._local_path)), hook_headers(NAMES[event.type])
        return compact_json(to_cloudevent(event, self._source)), {"Content-Type": MEDIA_TYPE}

    def _judge(self, answer: Answer) -> None:
        if HTTPStatus(200) <= answer.status < HTTPStatus(300):
            return
        if answer.status == HTTPStatus.GONE:
            raise RecipientGone("answered 410")
        asked_seconds = None
        if answer.status in BUSY and "retry-after" in answer.headers:
            asked_seconds = retry_after_seconds(answer.headers["retry-after"], self._now())
        raise DeliveryFailed(f"answered {answer.status}{_excerpt(answer)}", asked_seconds)


def compact_json(message: Mapping[str, Any]) -> str:
    """One line of ASCII, as it is signed and sent: no receiver has to guess its encoding."""
    return json.dumps(message, separators=(",", ":"))


def retry_after_seconds(value: str, now: datetime) -> float | None:
    """Of a `Retry-After` (RFC 9110 10.2.3): seconds, or a date. None where it is neither."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)


def _excerpt(answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace")[:SHOWN_CHARACTERS].strip()
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return f": {printable}" if printable else ""


class Senders:
    """All endpoints of one server."""

    def __init__(
        self, endpoints: Sequence[Endpoint], retries: Retries, source: str, *, local_path: LocalPath = lambda _: None
    ) -> None:
        """Opens nothing yet."""
        self._senders = [Sender(endpoint, source, local_path=local_path) for endpoint in endpoints]
        self.recipients: Sequence[Recipient] = [sender.recipient(retries) for sender in self._senders]

    async def close(self) -> None:
        """Close the connections; nothing may be under way. May be called twice, and without a call before."""
        await asyncio.gather(*(sender.close() for sender in self._senders))
