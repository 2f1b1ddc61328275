"""Asking a running server whether it is ready."""

from __future__ import annotations

import http.client
import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tuspy_server.cli.sources import WrongSettings, printable
from tuspy_server.settings import Settings

READY_PATH: Final = "/readyz"
ANSWER_SECONDS: Final = 5.0
READ_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, or why it did not; `text` is one line."""

    ready: bool
    text: str
    answered: bool = True


def reachable(host: str) -> str:
    """A host as a URL of this machine writes it: an address that stands for all becomes the loopback one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"  # noqa: PLR2004  # 4 is the name of IPv4
    return host if address.version == 4 else f"[{host}]"  # noqa: PLR2004  # as above


def url_of(settings: Settings) -> str:
    """Where the server of these settings says whether it is ready.

    Raises:
        WrongSettings: its port is not known.
    """
    if settings.port == 0:
        raise WrongSettings("port 0 is a different one at each start: name the URL, tuspy-server health URL")
    return f"http://{reachable(settings.host)}:{settings.port}{READY_PATH}"


def ask(url: str) -> Answer:
    """GET a URL, without any proxy that the environment names. A URL without a path is asked at `/readyz`.

    Raises:
        WrongSettings: it is not an http or https URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WrongSettings(f"{printable(url)}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise WrongSettings(f"{printable(url)} is no URL such as http://127.0.0.1:8080")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname, port, timeout=ANSWER_SECONDS)
    path = parts.path if parts.path.strip("/") else READY_PATH
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        text = response.read(READ_BYTES).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        text = f"{url}: no answer ({printable(str(error) or type(error).__name__)})"
        return Answer(ready=False, text=text, answered=False)
    finally:
        connection.close()
    ready = response.status == http.client.OK
    return Answer(ready, f"{url}: ready" if ready else f"{url}: {response.status} {printable(text)}")
