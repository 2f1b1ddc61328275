"""The lifecycle between any two awaits: crashes, delays, faults and fences, with clients that send different bytes.

A failure prints its seed; `TUSPY_SEED=<seed>` runs the same examples again. CI judges every change by the same ones,
everybody else's runs look for new ones.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.uploads.bucket_machine import BucketMachine
from tests.uploads.bucket_world import LaxBucketWorld
from tests.uploads.gates import Trap
from tests.uploads.machine import UploadsMachine
from tests.uploads.postgres_world import PostgresWorld
from tests.uploads.worlds import DiskWorld
from tuspy_server.protocol.errors import HookFailed


class DiskMachine(UploadsMachine):
    """SQLite and files; a crash is a kill -9, which keeps what the kernel has."""

    world_type = DiskWorld
    checks_events_each_step = False


class LaxBucketMachine(BucketMachine):
    """A store that can do less."""

    world_type = LaxBucketWorld


class AskedMachine(UploadsMachine):
    """With a `pre_finish` that is asked before every finish, and that dies, hangs and fails like everything else."""

    asks = True

    @rule()
    def have_it_fail(self) -> None:
        """Often: it is one call of many."""
        self.faulted = True
        for node in self.nodes:
            node.gates.traps.append(Trap("pre_finish", "before", HookFailed))


class AskedBucketMachine(BucketMachine):
    """The same, on a bucket."""

    asks = True

    @rule()
    def have_it_fail(self) -> None:
        self.faulted = True
        for node in self.nodes:
            node.gates.traps.append(Trap("pre_finish", "before", HookFailed))


class PostgresMachine(BucketMachine):
    """Rows in PostgreSQL."""

    world_type = PostgresWorld


def run(machine: type[UploadsMachine], examples: int, steps: int) -> None:
    chosen = 1 if os.environ.get("CI") == "true" else random.randrange(2**32)
    number = int(os.environ.get("TUSPY_SEED", chosen))
    print(f"TUSPY_SEED={number}")
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[phase for phase in Phase if phase is not Phase.explain],
        ),
    )


def test_the_invariants_hold_in_memory() -> None:
    """I1 to I8 and I12; faults C01 to C07, C10, C11, K01 to K04, N01 to N04."""
    run(UploadsMachine, examples=250, steps=40)


def test_the_invariants_hold_on_sqlite_and_files() -> None:
    """The same, with the adapters that are served."""
    run(DiskMachine, examples=50, steps=30)


def test_the_invariants_hold_on_a_bucket() -> None:
    """The same, with two processes; faults K05 to K08, S01, S02, S05 to S08."""
    run(BucketMachine, examples=100, steps=40)


def test_the_invariants_hold_on_a_lax_bucket() -> None:
    run(LaxBucketMachine, examples=50, steps=40)


def test_the_invariants_hold_where_pre_finish_is_asked() -> None:
    """And nothing is finished that it has not seen."""
    run(AskedMachine, examples=150, steps=40)
    run(AskedBucketMachine, examples=60, steps=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_invariants_hold_where_pre_finish_is_asked_for_long() -> None:
    run(AskedMachine, examples=3000, steps=60)
    run(AskedBucketMachine, examples=800, steps=60)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_invariants_hold_on_a_bucket_for_long() -> None:
    run(BucketMachine, examples=800, steps=60)
    run(LaxBucketMachine, examples=300, steps=60)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_invariants_hold_on_postgres_and_a_bucket_for_long(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresWorld, "dsn", postgres_dsn, raising=False)
    run(PostgresMachine, examples=60, steps=30)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_invariants_hold_in_memory_for_long() -> None:
    run(UploadsMachine, examples=3000, steps=60)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_invariants_hold_on_sqlite_and_files_for_long() -> None:
    run(DiskMachine, examples=400, steps=40)
