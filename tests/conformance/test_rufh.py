"""The cases of the IETF draft: they pass on a sound server, find faults, and leave tus servers alone."""

import asyncio

import pytest

from conformance.case import requirements
from conformance.runner import Result, run, select
from conformance.target import Options, discover
from tests.conformance.broken_server import running
from tests.conformance.rufh_server import RufhServer


def judge(origin: str, *only: str) -> dict[str, Result]:
    async def main() -> list[Result]:
        target = await discover(f"{origin}/files/", Options(cleanup=False))
        return await run(target, select(only or ("RUFH-*",)))

    return {result.id: result for result in asyncio.run(main())}


def test_a_sound_server_has_no_failure() -> None:
    with running(RufhServer()) as origin:
        results = judge(origin)
    assert {name: result.detail for name, result in results.items() if result.status == "failed"} == {}
    assert sum(result.status == "passed" for result in results.values()) == 15
    assert results.keys() == {row.id for row in requirements().values() if row.chapter == "rufh"}


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        ("any-length", "RUFH-CREA-08"),
        ("forgets-length", "RUFH-CREA-09"),
        ("cacheable", "RUFH-HEAD-05"),
        ("keeps-cancelled", "RUFH-DEL-01"),
        ("any-offset", "RUFH-PATCH-04"),
        ("any-offset", "RUFH-FIELD-02"),
        ("complete-as-text", "RUFH-FIELD-07"),
        ("complete-as-text", "RUFH-PATCH-02"),
    ],
)
def test_a_fault_is_found(fault: str, case: str) -> None:
    with running(RufhServer(fault)) as origin:
        assert judge(origin, case)[case].status == "failed"


def test_a_tus_server_is_left_alone() -> None:
    with running() as origin:
        assert {result.status for result in judge(origin).values()} == {"skipped"}
