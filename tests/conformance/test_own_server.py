"""Our own server, judged like any other: no rule of what it advertises is broken, but for the list with reasons."""

import pytest

from tests.conformance.servers import judge, tuspy_server

KNOWN: dict[str, dict[str, str]] = {
    "own": {},
    "stock": {"TRLR-04": "uvicorn's httptools merges the trailers of a small request into its header fields"},
}
"""By HTTP class: cases that may fail, each also in docs/protocol.md. Ours has none."""


def judged(*arguments: str, flags: tuple[str, ...] = ()) -> tuple[int, dict[str, tuple[str, str]]]:
    with tuspy_server(*flags) as url:
        status, found = judge(url, *arguments)
    return status, {row["id"]: (row["status"], row["detail"]) for row in found["results"]}


def all_pass(*arguments: str, flags: tuple[str, ...] = ()) -> bool:
    status, found = judged(*arguments, flags=flags)
    assert {case: verdict for case, verdict in found.items() if verdict[0] != "passed"} == {}
    return status == 0


@pytest.mark.parametrize("http", KNOWN)
def test_with_its_defaults(http: str) -> None:
    status, found = judged(flags=("--http", http))
    failed = {case: verdict[1] for case, verdict in found.items() if verdict[0] == "failed"}
    assert status == 0
    assert failed.keys() >= KNOWN[http].keys(), failed
    unexpected = sorted(failed.keys() - KNOWN[http].keys())
    if unexpected:
        # 136 cases at once make a busy machine late for one; alone it has no excuse. What failed is printed either way.
        print(*(f"{case}: {failed[case]}" for case in unexpected), sep="\n")
        assert len(unexpected) == 1, failed
        assert all_pass("--only", unexpected[0], flags=("--http", http))


def test_with_a_size_limit() -> None:
    flags, arguments = ("--max-size", "20MiB"), ("--max-size", str(20 << 20))
    chosen = ("--only", "CORE-OPT-04", "--only", "CREA-POST-0[78]", "--only", "CWU-06", "--only", "DEFER-07")
    assert all_pass(*arguments, *chosen, flags=flags)


def test_a_stalled_body() -> None:
    flags = ("--body-idle-seconds", "1")
    assert all_pass("--only", "CORE-PATCH-22", "--read-timeout-seconds", "1", flags=flags)


def test_uploads_that_expire_soon() -> None:
    assert all_pass("--only", "EXP-*", "--expires-seconds", "1", flags=("--expires-seconds", "1"))


def test_forwarded_headers() -> None:
    arguments = ("--only", "CORE-PROXY-01", "--trusts-proxy")
    assert all_pass(*arguments, "no")
    assert all_pass(*arguments, "yes", flags=("--trusted-proxies", "127.0.0.1"))
