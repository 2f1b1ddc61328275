"""The frozen rows, the table of states, and ids that outlive every release."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from tuspy_server.model import GONE, TRANSITIONS, EventType, Upload, UploadStatus, event_id, sources_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def upload(status: UploadStatus, *, expires_in_seconds: float | None = None) -> Upload:
    return Upload(
        id="0" * 32,
        status=status,
        upload_offset=0,
        upload_length=10,
        upload_metadata=None,
        writer=None,
        created_at=NOW,
        expires_at=None if expires_in_seconds is None else NOW + timedelta(seconds=expires_in_seconds),
        ended_at=None,
        as_of=NOW,
    )


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(UploadStatus)


def test_what_is_gone_never_comes_back() -> None:
    assert {status for status, targets in TRANSITIONS.items() if not targets} == GONE


def test_a_finished_upload_ends_only_by_delete() -> None:
    """Fault K04: no expiry and no failure touches it."""
    assert TRANSITIONS[UploadStatus.FINISHED] == {UploadStatus.TERMINATED}


def test_delete_and_expiry_wait_for_the_end_of_completing() -> None:
    """Fault K03."""
    assert TRANSITIONS[UploadStatus.COMPLETING] == {UploadStatus.FINISHED, UploadStatus.FAILED}


@pytest.mark.parametrize("target", UploadStatus)
def test_sources_are_the_table_read_backwards(target: UploadStatus) -> None:
    assert sources_of(target) == {source for source in UploadStatus if target in TRANSITIONS[source]}


@pytest.mark.parametrize(("seconds", "expired"), [(None, False), (0.000001, False), (0, True), (-1, True)])
def test_an_unfinished_upload_is_expired_from_its_expiry_on(seconds: float | None, *, expired: bool) -> None:
    row = upload(UploadStatus.UPLOADING, expires_in_seconds=seconds)
    assert row.is_expired is expired
    assert row.is_gone is expired


@pytest.mark.parametrize("status", [UploadStatus.COMPLETING, UploadStatus.FINISHED])
def test_what_has_all_its_bytes_does_not_expire(status: UploadStatus) -> None:
    row = upload(status, expires_in_seconds=-1)
    assert not row.is_expired
    assert not row.is_gone


@pytest.mark.parametrize("status", sorted(GONE))
def test_ended_uploads_are_gone(status: UploadStatus) -> None:
    assert upload(status).is_gone


def test_rows_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        upload(UploadStatus.UPLOADING).upload_offset = 1  # type: ignore[misc]


def test_event_ids_are_those_of_every_release() -> None:
    """I6: redelivered after an upgrade, an event has the id that its receiver has seen."""
    assert event_id("0" * 32, EventType.FINISHED) == "46dc5cbd-f03c-5791-9d3a-ca45872b714d"
    assert event_id("0" * 32, EventType.CREATED) == "1f6241c5-eb4f-55bb-8ac0-80da61b81b69"


def test_event_ids_differ_by_upload_and_kind() -> None:
    ids = {event_id(upload_id, kind) for upload_id in ("a" * 32, "b" * 32) for kind in EventType}
    assert len(ids) == 2 * len(EventType)
