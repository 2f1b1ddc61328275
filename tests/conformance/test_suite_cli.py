"""The command line, the registry and the package: what users meet first."""

import ast
import csv
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from conformance import checksums, cli
from conformance.case import all_cases, requirements
from conformance.runner import select
from tests.conformance.broken_server import running
from tests.conformance.servers import ROOT
from trial.processes import free_port

PACKAGE = ROOT / "conformance"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with running() as origin:
        yield origin


def test_a_good_server_exits_0_and_writes_all_reports(
    origin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("a.xml", "a.md", "a.json")]
    junit, markdown, plain = map(str, files)
    reports = ["--junit", junit, "--report", markdown, "--json", plain]
    assert cli.main([f"{origin}/files/", "--only", "CORE-HEAD-0[1-4]", "--seed", "3", *reports]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 passed, 0 failed, 0 skipped"
    assert all(file.stat().st_size for file in files)
    assert json.loads(files[2].read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("fault", "case", "status"), [("head-cacheable", "CORE-HEAD-04", 1), ("any-content-type", "CORE-PATCH-03", 0)]
)
def test_the_exit_status_is_of_must_rows_alone(
    origin: str, fault: str, case: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([f"{origin}/fault/{fault}/files/", "--only", case]) == status
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"
    assert f"{requirements()[case].level} {case}" in printed
    assert requirements()[case].source in printed
    assert "response head:\n    HTTP/1.1 20" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ftp://h/"],
        ["http://h/", "--only", "NOTHING-*"],
        ["http://h/", "--header", "nonsense"],
        ["http://h/", "--parallel", "0"],
    ],
)
def test_usage_errors_exit_2(arguments: list[str]) -> None:
    assert cli.main(arguments) == 2


def test_nobody_there_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([f"http://127.0.0.1:{free_port()}/"]) == 2
    assert "cannot connect" in capsys.readouterr().err


def test_list_needs_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--list", "--extension", "termination"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [f"TERM-0{n}" for n in range(1, 6)]


def test_patterns_and_extensions_select() -> None:
    assert len(select(("CORE-HEAD-*",), skip=("*-10",))) == 9
    assert {case.requirement.extension for case in select(extensions=("checksum",))} == {"checksum"}
    assert {case.requirement.chapter for case in select(extensions=("user",))} == {"user"}


def test_each_row_has_exactly_one_case() -> None:
    assert [case.id for case in all_cases()] == list(requirements())
    assert sum(case.requirement.chapter == "tus" for case in all_cases()) == 160


def test_the_package_holds_all_rows() -> None:
    for name in ("tus", "rufh"):
        text = (PACKAGE / "rows" / f"{name}-requirements.csv").read_text(encoding="utf-8")
        ids = [row["id"] for row in csv.DictReader(text.splitlines())]
        assert len(ids) == len(set(ids)) == {"tus": 160, "rufh": 70}[name]


def test_it_imports_nothing_but_what_it_declares() -> None:
    allowed = {*sys.stdlib_module_names, "h11", "hypothesis", "conformance"}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                assert {name.partition(".")[0] for name in names} <= allowed, file


def test_the_wheel_holds_the_package_and_its_data(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(PACKAGE)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("cli.py", "cases/users.py", "rows/tus-requirements.csv", "rows/user-requirements.csv", "py.typed"):
        assert f"conformance/{name}" in names
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "tus-conformance = conformance.cli:main" in zipfile.ZipFile(wheel).read(entry_points).decode()


def test_crc32c_has_its_check_value() -> None:
    assert checksums.crc32c(b"123456789") == 0xE3069283
    assert checksums.digests("sha1", b"hello") == ["qvTGHdzF6KLavt4PO0gs2a6pQ00="]
    assert checksums.digests("unknown", b"") == []


def test_files_stay_small() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert len(re.findall("\n", file.read_text(encoding="utf-8"))) <= 300, file
