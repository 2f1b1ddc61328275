"""Examples run in a folder of their own, where `uploads` is the one that they name."""

from pathlib import Path

import pytest

from tests.support.fixtures import make_server
from tests.web.conftest import logs

__all__ = ["logs", "make_server"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
