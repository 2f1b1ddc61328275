"""`ports.Assemblies` from the moment when all bytes of an upload are durable: completing, adopting, and what is cleaned
up afterwards. A suite that every adapter that is used with an object store passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.contracts.assemblies import (
    LENGTH,
    P,
    assemblies,
    commit,
    committed,
    completing,
    finish,
    keys_due,
    part,
    piece,
    placed,
    placement_of,
)
from tests.contracts.rig import StoreRig
from tests.contracts.rows import HOUR, claim, claimed, draft, event_types, expiry_of, fail, new_id, terminate
from tuspy_server.model import EventType, UploadStatus

SETTLED_SECONDS = 900.0


class AssemblyEndingsContract:
    """Subclasses give a started `rig` whose `uploads` are `ports.Assemblies`, too."""

    # --- completing ----------------------------------------------------------------------------------------------

    async def test_complete_shows_less_than_the_length_and_keeps_its_writer(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig, length=None))
        done = await assemblies(rig).complete(commit(row, 9 * P, part(1), piece(9 * P, LENGTH), length=LENGTH))
        assert done is not None
        assert (done.status, done.writer) == (UploadStatus.COMPLETING, row.writer)
        assert (done.upload_offset, done.upload_length) == (9 * P, LENGTH)
        assert await rig.uploads.get(row.id) == done

    async def test_a_completing_upload_takes_no_bytes_and_no_end_from_outside(self, rig: StoreRig) -> None:
        row = await completing(rig)
        assert await claim(rig.uploads, row) is None
        assert await rig.uploads.commit(commit(row, LENGTH)) is None
        assert await terminate(rig.uploads, row) is None
        assert await assemblies(rig).complete(commit(row, LENGTH - 1)) is None
        assert await rig.uploads.get(row.id) == row

    async def test_a_completing_upload_does_not_expire_and_keeps_its_writer(self, rig: StoreRig) -> None:
        """Its expiry runs from its last bytes all the same: whoever asks before the finish is asked until then."""
        row = await placed(rig, writer=new_id(), lifetime=HOUR)
        rig.clock.advance(HOUR.idle_seconds - 1)
        done = await assemblies(rig).complete(commit(row, LENGTH - 1, lifetime=HOUR))
        assert done is not None
        assert done.expires_at == rig.clock.now() + timedelta(seconds=HOUR.idle_seconds)
        rig.clock.advance(10**6)
        assert list(await rig.uploads.expire(expiry_of, 10)) == []
        assert await rig.uploads.release_writers(frozenset) == 0

    async def test_an_assembly_has_its_parts_in_order(self, rig: StoreRig) -> None:
        row = await completing(rig, *(part(number) for number in (3, 11, 1, 2)), piece(950, LENGTH), piece(900, 950))
        assembly = await assemblies(rig).assembly(row.id)
        assert list(assembly.parts) == [part(1), part(2), part(3), part(11)]
        assert list(assembly.pieces) == [piece(900, 950), piece(950, LENGTH)]

    async def test_its_writer_finishes_it_with_one_event(self, rig: StoreRig) -> None:
        """I6, I7."""
        row = await completing(rig, part(1))
        assert (
            await rig.uploads.finish(commit(replace(row, writer="stale"), LENGTH), draft(EventType.FINISHED, "x"))
            is None
        )
        done = await finish(rig, row, etag="e")
        assert (done.status, done.upload_offset, done.writer) == (UploadStatus.FINISHED, LENGTH, None)
        assert await event_types(rig.outbox, row.id) == [EventType.CREATED, EventType.FINISHED]

    async def test_its_writer_may_fail_it(self, rig: StoreRig) -> None:
        row = await completing(rig, piece(0, 10))
        assert await fail(rig.uploads, row, writer="stale") is None
        assert await fail(rig.uploads, row, writer=row.writer) is not None
        assert await keys_due(rig) == {row.id: [piece(0, 10).key]}

    # --- adopting ------------------------------------------------------------------------------------------------

    async def test_only_what_nobody_holds_is_adopted(self, rig: StoreRig) -> None:
        """I12."""
        await placed(rig, writer="uploading")
        row = await completing(rig)
        assert row.writer is not None
        assert await assemblies(rig).adopt("w2", None, {row.writer}) is None
        assert await assemblies(rig).adopt("w2", row.id, {row.writer}) is None
        assert await assemblies(rig).adopt("w2", new_id(), set()) is None
        assert await assemblies(rig).adopt("w2", row.id, set()) == replace(row, writer="w2")
        assert await rig.uploads.finish(commit(row, LENGTH), draft(EventType.FINISHED, row.id)) is None
        assert await assemblies(rig).adopt("w3", None, {"w2"}) is None

    async def test_the_oldest_is_adopted_first(self, rig: StoreRig) -> None:
        rows = []
        for _ in range(3):
            rows.append(await completing(rig))
            rig.clock.advance(1)
        held: set[str] = set()
        adopted = []
        while (row := await assemblies(rig).adopt(new_id(), None, held)) is not None:
            adopted.append(row.id)
            held.add(row.writer or "")
        assert adopted == [row.id for row in rows]

    async def test_a_restart_leaves_it_to_be_adopted(self, rig: StoreRig) -> None:
        """Fault C03."""
        row = await completing(rig, part(1), piece(P, P + 1))
        await rig.reopen()
        adopted = await assemblies(rig).adopt("w2", None, set())
        assert adopted is not None
        assert (adopted.id, adopted.writer, adopted.status) == (row.id, "w2", UploadStatus.COMPLETING)
        assembly = await assemblies(rig).assembly(row.id)
        assert (list(assembly.parts), list(assembly.pieces)) == ([part(1)], [piece(P, P + 1)])

    async def test_failed_tries_are_counted_for_the_one_who_is_at_it(self, rig: StoreRig) -> None:
        row = await completing(rig)
        assert row.writer is not None
        assert [await assemblies(rig).tried(row.id, row.writer) for _ in range(3)] == [1, 2, 3]
        await assemblies(rig).tried(row.id, "stale")
        assert await assemblies(rig).tried(row.id, row.writer) == 4

    # --- cleanups ------------------------------------------------------------------------------------------------

    async def test_a_finish_that_leaves_nothing_behind_needs_no_cleanup(self, rig: StoreRig) -> None:
        await finish(rig, await completing(rig, part(1), part(2)))
        assert await keys_due(rig) == {}

    async def test_a_finish_with_pieces_tells_all_their_keys(self, rig: StoreRig) -> None:
        """I8: also of those that a part covers, and of those that only the finish brings."""
        row = await completing(rig, piece(0, 50), piece(50, P), part(2))
        other = await completing(rig)
        done = await finish(rig, row, part(1), piece(2 * P, 2 * P + 1))
        await finish(rig, other, piece(0, 1))
        keys = sorted([piece(0, 50).key, piece(50, P).key, piece(2 * P, 2 * P + 1).key])
        assert await keys_due(rig) == {done.id: keys, other.id: [piece(0, 1).key]}
        cleanup = await assemblies(rig).cleanup(done.id)
        assert cleanup is not None
        assert (cleanup.upload, sorted(cleanup.piece_keys)) == (done, keys)

    async def test_what_is_cleaned_is_gone(self, rig: StoreRig) -> None:
        done = await finish(rig, await completing(rig, piece(0, 50)))
        assert await assemblies(rig).cleanup(done.id) is not None
        await rig.uploads.cleaned([done.id])
        assert await assemblies(rig).cleanup(done.id) is None
        assert await keys_due(rig) == {}
        assembly = await assemblies(rig).assembly(done.id)
        assert (list(assembly.parts), list(assembly.pieces)) == ([], [])

    @pytest.mark.parametrize("ended", ["finished", "terminated", "failed"])
    async def test_an_unsettled_upload_is_visited_once_more(self, rig: StoreRig, ended: str) -> None:
        """I8: a storage call that was under way may have landed since."""
        row = await claimed(rig.uploads, await placed(rig))
        await committed(rig, row, 10, piece(0, 10))
        if ended == "finished":
            await finish(rig, row, unsettled=True)
        else:
            assert await (terminate if ended == "terminated" else fail)(rig.uploads, row) is not None
        for _ in range(2):
            assert await keys_due(rig) == {row.id: [piece(0, 10).key]}
            assert placement_of((await rig.uploads.cleanups(1))[0].upload).unsettled
            await rig.uploads.cleaned([row.id])
            assert await keys_due(rig) == {}
            rig.clock.advance(SETTLED_SECONDS - 0.1)
            assert await keys_due(rig) == {}
            assert await assemblies(rig).cleanup(row.id) is None
            rig.clock.advance(0.1)
        assert await keys_due(rig) == {}

    @pytest.mark.parametrize("ending", [terminate, fail])
    async def test_an_end_without_writer_is_settled(self, rig: StoreRig, ending: Any) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        row = await committed(rig, row, 10, piece(0, 10), release=True)
        ended = await ending(rig.uploads, row)
        assert not placement_of(ended).unsettled
        await rig.uploads.cleaned([row.id])
        rig.clock.advance(SETTLED_SECONDS)
        assert await keys_due(rig) == {}

    async def test_an_expired_upload_tells_its_pieces(self, rig: StoreRig) -> None:
        upload = await placed(rig, lifetime=HOUR)
        row = await claimed(rig.uploads, upload)
        await rig.uploads.commit(replace(commit(row, 10, piece(0, 10), release=True), lifetime=HOUR))
        rig.clock.advance(3600)
        [gone] = await rig.uploads.expire(expiry_of, 10)
        assert (gone.id, gone.status) == (upload.id, UploadStatus.EXPIRED)
        assert await keys_due(rig) == {upload.id: [piece(0, 10).key]}

    async def test_a_purge_leaves_what_is_to_be_visited_again(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        await terminate(rig.uploads, row)
        await rig.uploads.cleaned([row.id])
        purge = {"gone_seconds": 1.0, "event_seconds": 10.0**9, "limit": 10}
        rig.clock.advance(100)
        assert await rig.uploads.purge(**purge) == 0  # type: ignore[arg-type]
        rig.clock.advance(SETTLED_SECONDS)
        await rig.uploads.cleaned([row.id])
        assert await rig.uploads.purge(**purge) == 1  # type: ignore[arg-type]
        assert await rig.uploads.get(row.id) is None
