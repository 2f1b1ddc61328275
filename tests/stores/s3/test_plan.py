"""The grid of parts: legal on S3 for every length, and never more memory than there is."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuspy_server.protocol.errors import UploadTooLarge
from tuspy_server.stores.s3.part_plan import (
    MOST_PARTS,
    PartPlan,
    check_length,
    part_count,
    part_number_at,
    part_range,
    part_start,
)

MIB = 1 << 20
TIB = 1 << 40
PLAN = PartPlan(most_part_bytes=TIB)


@given(st.integers(0, 50 * TIB))
@example(8 * MIB * MOST_PARTS)
@example(8 * MIB * MOST_PARTS + 1)
def test_every_length_has_a_legal_grid(length: int) -> None:
    """Fault S12."""
    part_bytes = PLAN.part_bytes_for(length)
    assert part_bytes >= 8 * MIB
    assert part_bytes % MIB == 0
    assert part_count(length, part_bytes) <= MOST_PARTS
    if part_bytes > 8 * MIB:
        assert part_count(length, part_bytes - MIB) > MOST_PARTS, "no larger than it must be"


@given(st.integers(1, 10**9), st.integers(1, 10**7))
def test_parts_follow_one_another_without_gap_or_overlap(length: int, part_bytes: int) -> None:
    count = part_count(length, part_bytes)
    for number in {1, count // 2 + 1, count}:
        start, stop = part_range(number, part_bytes, length)
        assert start == part_start(number, part_bytes) == (number - 1) * part_bytes
        assert 0 < stop - start <= part_bytes
        assert part_number_at(start, part_bytes) == part_number_at(stop - 1, part_bytes) == number
        assert (stop == length) == (number == count)
        assert stop - start == part_bytes or number == count


def test_a_deferred_length_has_larger_parts() -> None:
    assert PLAN.part_bytes_for(None) == 16 * MIB


def test_steps() -> None:
    plan = PartPlan(steps=((100 * MIB, 16 * MIB), (1 << 30, 32 * MIB)), most_part_bytes=TIB)
    lengths = [99 * MIB, 100 * MIB, 1 << 30, 40 * TIB // 10]
    assert [plan.part_bytes_for(length) // MIB for length in lengths] == [8, 16, 32, 420]


def test_parts_that_memory_cannot_hold_are_refused_by_the_settings_name() -> None:
    """413, I10, fault R03."""
    plan = PartPlan(most_part_bytes=8 * MIB)
    assert plan.part_bytes_for(8 * MIB * MOST_PARTS) == 8 * MIB
    for length in (8 * MIB * MOST_PARTS + 1, 2**63 - 1, None):
        with pytest.raises(UploadTooLarge, match="pool_bytes"):
            plan.part_bytes_for(length)


def test_a_length_that_is_declared_late_must_fit_the_grid() -> None:
    check_length(None, 5)
    check_length(5 * MOST_PARTS, 5)
    with pytest.raises(UploadTooLarge):
        check_length(5 * MOST_PARTS + 1, 5)
