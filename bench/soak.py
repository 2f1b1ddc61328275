"""Many large uploads at once, and the most memory that the server ever had.

`python -m bench.soak` sends eight uploads of 1 GiB and fails where the server's peak RSS passes 150 MiB.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.support.client import OpenPatch, TusUpload, make_bytes
from tests.support.process import MEBIBYTE, ServerProcess

MOST_RSS_BYTES: Final = 150 * MEBIBYTE
BLOCK_BYTES: Final = MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run has shown.

    Attributes:
        idle_rss_bytes: once the server was ready.
        peak_rss_bytes: the most that it ever had resident.
        sending_seconds: from the first byte to the last answer.
    """

    idle_rss_bytes: int
    peak_rss_bytes: int
    sending_seconds: float


def soak(server: ServerProcess, uploads: int, length: int) -> Report:
    """Send `uploads` bodies of `length` bytes at once, then read each back and compare.

    Raises:
        AssertionError: an upload failed, or came back as other bytes.
    """
    idle_rss_bytes = server.rss_bytes()
    together = threading.Barrier(uploads)
    began = time.monotonic()
    with ThreadPoolExecutor(uploads) as pool:
        sent = list(pool.map(lambda seed: _send(server.url, length, seed, together), range(uploads)))
    sending_seconds = time.monotonic() - began
    for url, digest in sent:
        if _digest_of(url) != digest:
            raise AssertionError("the download is not what was sent")
    return Report(
        idle_rss_bytes=idle_rss_bytes, peak_rss_bytes=server.peak_rss_bytes(), sending_seconds=sending_seconds
    )


def _send(creation_url: str, length: int, seed: int, together: threading.Barrier) -> tuple[str, str]:
    block = memoryview(make_bytes(BLOCK_BYTES, seed))
    digest = hashlib.sha256()
    upload = TusUpload.create(creation_url, length)
    with OpenPatch(upload, length) as patch:
        together.wait(60)
        while patch.sent < length:
            # No two blocks of one upload are alike at the same place, so that a shifted one is found.
            start = (patch.sent // BLOCK_BYTES) % BLOCK_BYTES
            part = block[start : start + min(BLOCK_BYTES - start, length - patch.sent)]
            digest.update(part)
            patch.send(part)
        answer = patch.answer()
    if answer is None or answer.status != 204:
        raise AssertionError(f"the body was answered by {answer or 'the end of the connection'}")
    return upload.url, digest.hexdigest()


def _digest_of(url: str) -> str:
    digest = hashlib.sha256()
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        while block := response.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def main() -> int:
    """Run it in a folder that is removed afterwards; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--uploads", type=int, default=8)
    parser.add_argument("--mebibytes", type=int, default=1024, help="of each upload")
    parser.add_argument("--folder", type=Path, help="where the data goes; it takes all the bytes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuspy-soak-", dir=arguments.folder) as folder:
        server = ServerProcess(Path(folder))
        try:
            report = soak(server.start(), arguments.uploads, arguments.mebibytes * MEBIBYTE)
        finally:
            server.close()
    total = arguments.uploads * arguments.mebibytes
    print(f"{arguments.uploads} uploads of {arguments.mebibytes} MiB at once, each read back with an equal SHA-256")
    print(f"sent in {report.sending_seconds:.1f} s ({total / report.sending_seconds:.0f} MiB/s)")
    print(f"RSS idle {report.idle_rss_bytes / MEBIBYTE:.0f} MiB, peak {report.peak_rss_bytes / MEBIBYTE:.0f} MiB")
    if report.peak_rss_bytes > MOST_RSS_BYTES:
        print(f"more than {MOST_RSS_BYTES // MEBIBYTE} MiB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
