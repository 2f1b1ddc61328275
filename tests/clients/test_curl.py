"""curl, as a person at a shell uses it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.client import make_bytes
from tests.support.fixtures import need
from tests.support.process import MEBIBYTE, ServerProcess

CONTENT = make_bytes(5 * MEBIBYTE, seed=5)
TUS = ("-H", "Tus-Resumable: 1.0.0")
BODY = ("-H", "Content-Type: application/offset+octet-stream")


def curl(*arguments: str, stdin: bytes | None = None) -> bytes:
    program = shutil.which("curl")
    if program is None:
        need("curl")
    # -f: an HTTP error is curl's error, as in a script.
    command = [program, "-sS", "-f", "--max-time", "60", *arguments]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def fields(head: bytes) -> dict[str, str]:
    pairs = (line.partition(": ") for line in head.decode("latin-1").splitlines() if ": " in line)
    return {name.lower(): value for name, _, value in pairs}


def create(server: ServerProcess, length: int, *more: str) -> str:
    head = curl("-i", "-X", "POST", server.url, *TUS, "-H", f"Upload-Length: {length}", *more)
    return fields(head)["location"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(CONTENT)
    return path


def test_create_send_look_and_download(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    """CORE-HEAD, CORE-PATCH, CREA; I2."""
    url = create(server, len(CONTENT), "-H", "Upload-Metadata: filename cGhvdG8uanBn")
    curl("-X", "PATCH", url, *TUS, *BODY, "-H", "Upload-Offset: 0", "--data-binary", f"@{file}")
    assert fields(curl("-I", url, *TUS))["upload-offset"] == str(len(CONTENT))
    # -OJ: the name comes from the server.
    curl("-OJ", "--output-dir", str(tmp_path / "down"), "--create-dirs", url)
    downloaded = tmp_path / "down" / "photo.jpg"
    assert hashlib.sha256(downloaded.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()


def test_an_interrupted_upload_is_resumed(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    """I4: `curl -T` of what is missing, from where HEAD says."""
    url = create(server, len(CONTENT))
    half = tmp_path / "half"
    half.write_bytes(CONTENT[: len(CONTENT) // 2])
    curl("-X", "PATCH", url, *TUS, *BODY, "-H", "Upload-Offset: 0", "-T", str(half))
    offset = int(fields(curl("-I", url, *TUS))["upload-offset"])
    assert offset == len(CONTENT) // 2
    rest = CONTENT[offset:]
    # From a pipe curl does not know the length, and sends the body in chunks.
    curl("-X", "PATCH", url, *TUS, *BODY, "-H", f"Upload-Offset: {offset}", "-T", "-", stdin=rest)
    assert curl(url) == CONTENT


def test_a_part_of_a_download_and_its_continuation(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    """Range requests: `-r`, and `-C -` for a download that stopped."""
    url = create(server, len(CONTENT), *BODY, "--data-binary", f"@{file}")
    assert curl("-r", "1000-1999", url) == CONTENT[1000:2000]
    assert curl("-r", "-10", url) == CONTENT[-10:]
    stopped = tmp_path / "stopped"
    stopped.write_bytes(CONTENT[:12345])
    curl("-C", "-", "-o", str(stopped), url)
    assert stopped.read_bytes() == CONTENT


def test_delete(server: ServerProcess, file: Path) -> None:
    """TERM."""
    url = create(server, len(CONTENT), *BODY, "--data-binary", f"@{file}")
    curl("-X", "DELETE", url, *TUS)
    with pytest.raises(subprocess.CalledProcessError):
        curl("-I", url, *TUS)
