"""docs/how-to/jobs.md: what it says at a shell, done at a shell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.fixtures import MakeServer, make_server, need

__all__ = ["make_server"]

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to" / "jobs.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_each_command_of_the_page_does_what_it_says(make_server: MakeServer, tmp_path: Path) -> None:
    for program in ("bash", "curl", "jq"):
        if shutil.which(program) is None:
            need(program)
    server = make_server().start()
    script = "\n".join(BLOCK.findall(PAGE.read_text("utf-8"))).replace("http://localhost:8080", server.origin)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    texts = done.stdout.decode().strip()
    decoder, found = json.JSONDecoder(), []
    while texts:
        value, end = decoder.raw_decode(texts)
        found.append(value)
        texts = texts[end:].lstrip()
    looked, added, cancelled = found
    assert looked == {
        "status": "UPLOADING",
        "totalCount": 3,
        "completedCount": 2,
        "failedCount": 0,
        "bytes": {"uploaded": 6, "total": 6},
    }
    assert [file["number"] for file in added["files"]] == [4]
    assert cancelled == {"status": "CANCELLED", "cancelledCount": 2}
