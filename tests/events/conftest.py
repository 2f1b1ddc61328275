"""A relay that ends with its test. Hooks that fail on purpose would fill the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog

from tests.events.rig import RelayRig


def _drop(_logger: object, _name: str, _event: MutableMapping[str, Any]) -> NoReturn:
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    yield
    structlog.configure(**before)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[RelayRig]:
    rig = RelayRig(tmp_path)
    await rig.open()
    yield rig
    await rig.close()
