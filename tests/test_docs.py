"""The documentation keeps its word: examples run, links lead somewhere, generated pages are current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette

from tests.compatibility import README, SHOWN_BY, module_of
from tests.reference import DOCS, PAGES
from tuspy_server import TusServer

ROOT = Path(__file__).resolve().parent.parent
PAGES_BY_HAND = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
EXAMPLES = [
    pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{page.read_text('utf-8')[: match.start()].count(chr(10)) + 1}")
    for page in PAGES_BY_HAND
    for match in EXAMPLE.finditer(page.read_text("utf-8"))
]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_each_python_example_makes_a_server_that_starts(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who copies an example has a server, or a receiver of what it sends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_AAECAwQFBgcICQoLDA0ODw==")
    namespace: dict[str, object] = {"__name__": "example"}
    exec(compile(example, "example", "exec"), namespace)
    if (receiver := namespace.get("receiver")) is not None:  # tests/docs sends it something
        assert isinstance(receiver, Starlette)
        return
    tus = namespace["tus"]
    assert isinstance(tus, TusServer)
    async with tus.lifespan():
        await tus.check()


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_to_files(page: Path) -> None:
    """No link of ours is dead, and none leads to a part of a page that is not there."""
    for target, part in LINK.findall(page.read_text("utf-8")):
        if "://" in target:
            continue
        there = page.parent / target if target else page
        assert there.exists(), target
        if part:
            assert part in {slug(heading) for heading in HEADING.findall(there.read_text("utf-8"))}, (target, part)


def slug(heading: str) -> str:
    """As GitHub makes the name of a part from its heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", PAGES)
def test_generated_reference_is_current(name: str) -> None:
    """`python -m tests.reference` has been run since the code changed."""
    assert (DOCS / name).read_text("utf-8") == PAGES[name]()


@pytest.mark.parametrize("client", SHOWN_BY)
def test_the_table_of_clients_knows_every_test_of_a_client(client: str) -> None:
    """`python -m tests.compatibility` can only mark what a test shows."""
    module = (ROOT / "tests" / "clients" / f"{module_of(client)}.py").read_text("utf-8")
    assert set(re.findall(r"^(?:async )?def (test_\w+)", module, re.MULTILINE)) == set(SHOWN_BY[client])
    assert f"| {client} " in README.read_text("utf-8")
