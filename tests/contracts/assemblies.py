"""`ports.Assemblies`, and what `ports.UploadStore` keeps of objects, parts and pieces. A suite that every adapter that
is used with an object store passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.contracts.rig import StoreRig
from tests.contracts.rows import HOUR, claim, claimed, draft, event_types, expiry_of, fail, new_id, terminate
from tuspy_server.model import PARTS_IN_FLIGHT, EventType, Placement, Upload, UploadStatus
from tuspy_server.ports import (
    Assemblies,
    Claim,
    Claimed,
    Commit,
    Lifetime,
    NewUpload,
    Stored,
    StoredPart,
    StoredPiece,
)

P = 100
LENGTH = 10 * P
SETTLED_SECONDS = 900.0


def assemblies(rig: StoreRig) -> Assemblies:
    return cast("Assemblies", rig.uploads)


def part(number: int, etag: str = "") -> StoredPart:
    return StoredPart(part_number=number, part_bytes=P, etag=etag or f"etag-{number}", crc32c=0xFFFFFFFF - number)


def piece(start: int, stop: int, name: str = "", level: int = 0) -> StoredPiece:
    return StoredPiece(
        start=start, stop=stop, key=name or f"tmp/{start}-{stop}", crc32c=0x90000000 + start, level=level
    )


async def placed(
    rig: StoreRig, *, length: int | None = LENGTH, writer: str | None = None, lifetime: Lifetime | None = None
) -> Upload:
    upload_id = new_id()
    new = NewUpload(
        id=upload_id,
        upload_length=length,
        upload_metadata=None,
        writer=writer,
        lifetime=lifetime,
        placement=Placement(key=f"objects/{upload_id}", part_bytes=P),
    )
    return await rig.uploads.create(new, draft(EventType.CREATED, upload_id))


def commit(row: Upload, offset: int, *stored: StoredPart | StoredPiece, release: bool = False, **more: Any) -> Commit:
    assert row.writer is not None
    parts = tuple(item for item in stored if isinstance(item, StoredPart))
    pieces = tuple(item for item in stored if isinstance(item, StoredPiece))
    return Commit(
        upload_id=row.id,
        writer=row.writer,
        upload_offset=offset,
        upload_length=more.pop("length", None),
        release=release,
        lifetime=more.pop("lifetime", None),
        unsettled=more.pop("unsettled", False),
        stored=Stored(upload_offset=offset, parts=parts, pieces=pieces, **more),
    )


async def committed(rig: StoreRig, row: Upload, offset: int, *stored: StoredPart | StoredPiece, **more: Any) -> Upload:
    done = await rig.uploads.commit(commit(row, offset, *stored, **more))
    assert done is not None
    return done


async def claims(rig: StoreRig, upload: Upload) -> Claimed:
    granted = await rig.uploads.claim(
        Claim(
            upload_id=upload.id,
            writer=new_id(),
            upload_offset=upload.upload_offset,
            body_bytes=0,
            declared_length=None,
        )
    )
    assert granted is not None
    return granted


async def completing(rig: StoreRig, *stored: StoredPart | StoredPiece) -> Upload:
    row = await placed(rig, writer=new_id())
    done = await assemblies(rig).complete(commit(row, LENGTH - 1, *stored))
    assert done is not None
    return done


async def finish(rig: StoreRig, row: Upload, *stored: StoredPart | StoredPiece, **more: Any) -> Upload:
    done = await rig.uploads.finish(
        commit(row, LENGTH, *stored, release=True, **more), draft(EventType.FINISHED, row.id)
    )
    assert done is not None
    return done


def placement_of(upload: Upload | None) -> Placement:
    assert upload is not None
    assert upload.placement is not None
    return upload.placement


async def keys_due(rig: StoreRig) -> dict[str, list[str]]:
    return {item.upload.id: sorted(item.piece_keys) for item in await rig.uploads.cleanups(100)}


class AssembliesContract:
    """Subclasses give a started `rig` whose `uploads` are `ports.Assemblies`, too."""

    # --- placement -----------------------------------------------------------------------------------------------

    async def test_a_placement_is_read_back_as_it_was_given(self, rig: StoreRig) -> None:
        upload = await placed(rig)
        assert upload.placement == Placement(key=f"objects/{upload.id}", part_bytes=P)
        assert await rig.uploads.get(upload.id) == upload

    async def test_a_commit_records_the_multipart_upload_and_later_ones_keep_it(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        await committed(rig, row, P, part(1), multipart_id="m")
        row = await committed(rig, row, 2 * P, part(2))
        assert placement_of(row).multipart_id == "m"
        assert placement_of(await rig.uploads.get(row.id)) == placement_of(row)

    async def test_a_finish_records_the_etag(self, rig: StoreRig) -> None:
        done = await finish(rig, await placed(rig, writer=new_id()), etag="whole")
        assert placement_of(done).etag == "whole"
        assert await rig.uploads.get(done.id) == done

    # --- dirty claims --------------------------------------------------------------------------------------------

    async def test_a_claim_after_one_that_let_go_finds_everything_settled(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        row = await claimed(rig.uploads, await committed(rig, row, 10, piece(0, 10), release=True))
        assert (placement_of(row).contested_to, placement_of(row).unsettled) == (0, False)

    @pytest.mark.parametrize(("offset", "number"), [(0, 1), (P - 1, 1), (P, 2), (3 * P + 5, 4)])
    async def test_a_claim_over_a_writer_contests_the_parts_that_may_be_under_way(
        self, rig: StoreRig, offset: int, number: int
    ) -> None:
        """I2, I5: a fenced writer's UploadPart may still land."""
        row = await committed(rig, await claimed(rig.uploads, await placed(rig)), offset)
        dirty = await claimed(rig.uploads, row)
        assert placement_of(dirty).contested_to == number + PARTS_IN_FLIGHT
        assert placement_of(dirty).unsettled
        assert await rig.uploads.get(row.id) == dirty

    async def test_what_is_contested_and_unsettled_stays_so(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await claimed(rig.uploads, await placed(rig)))
        row = await committed(rig, row, 2 * P, part(1), release=True)
        row = await claimed(rig.uploads, row)
        assert placement_of(row).contested_to == 1 + PARTS_IN_FLIGHT
        assert placement_of(row).unsettled

    async def test_a_commit_may_say_that_something_is_unsettled(self, rig: StoreRig) -> None:
        """A call of the storage whose outcome was never learned."""
        row = await claimed(rig.uploads, await placed(rig))
        row = await committed(rig, row, 2 * P + 1, unsettled=True)
        row = await committed(rig, row, 2 * P + 2, release=True)
        row = await claimed(rig.uploads, row)
        assert (placement_of(row).contested_to, placement_of(row).unsettled) == (3 + PARTS_IN_FLIGHT, True)

    async def test_a_writer_that_is_released_for_it_is_one_that_had_not_let_go(self, rig: StoreRig) -> None:
        row = await committed(rig, await claimed(rig.uploads, await placed(rig)), 2 * P)
        assert await rig.uploads.release_writers(frozenset) == 1
        released = await rig.uploads.get(row.id)
        assert released is not None
        assert released.writer is None
        assert placement_of(released).contested_to == 3 + PARTS_IN_FLIGHT
        assert placement_of(released).unsettled

    async def test_an_upload_without_placement_is_never_unsettled(self, rig: StoreRig) -> None:
        new = NewUpload(id=new_id(), upload_length=1, upload_metadata=None, writer=new_id(), lifetime=None)
        row = await claimed(rig.uploads, await rig.uploads.create(new, draft(EventType.CREATED, new.id)))
        assert row.placement is None
        assert await rig.uploads.finish(replace(commit(row, 1), stored=None), draft(EventType.FINISHED, row.id))
        assert await keys_due(rig) == {}

    # --- pieces --------------------------------------------------------------------------------------------------

    async def test_a_claim_gets_the_pieces_of_its_offsets_part_in_order(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        await committed(rig, row, P + 10, part(1), piece(P, P + 10))
        row = await committed(rig, row, P + 30, piece(P + 10, P + 30), release=True)
        assert list((await claims(rig, row)).pieces) == [piece(P, P + 10), piece(P + 10, P + 30)]

    async def test_a_claim_at_the_start_of_a_part_gets_no_piece(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        row = await committed(rig, row, P, piece(0, 50), piece(50, P), release=True)
        assert list((await claims(rig, row)).pieces) == []
        assert len((await assemblies(rig).assembly(row.id)).pieces) == 2

    async def test_a_piece_replaces_those_that_it_covers(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        await committed(rig, row, 30, piece(0, 10), piece(10, 20), piece(20, 30))
        merged = piece(0, 20, level=1)
        row = await committed(rig, row, 30, merged, release=True)
        assert list((await claims(rig, row)).pieces) == [merged, piece(20, 30)]

    async def test_a_piece_replaces_those_of_its_own_commit_too(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        merged = piece(0, 20, level=1)
        row = await committed(rig, row, 20, piece(0, 10), piece(10, 20), merged, release=True)
        assert list((await claims(rig, row)).pieces) == [merged]

    async def test_a_part_replaces_its_pieces_and_no_others(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        await committed(rig, row, P + 10, piece(0, 60), piece(60, P), piece(P, P + 10))
        await committed(rig, row, P + 10, part(1))
        assembly = await assemblies(rig).assembly(row.id)
        assert (list(assembly.parts), list(assembly.pieces)) == ([part(1)], [piece(P, P + 10)])

    async def test_a_part_replaces_the_pieces_of_its_own_commit_too(self, rig: StoreRig) -> None:
        """Their own commit's answer was lost, and they come again with the part."""
        row = await completing(rig, piece(0, 60), piece(60, P), part(1), piece(P, P + 10))
        assembly = await assemblies(rig).assembly(row.id)
        assert (list(assembly.parts), list(assembly.pieces)) == ([part(1)], [piece(P, P + 10)])

    async def test_a_commit_that_comes_again_with_more_changes_nothing_but_the_more(self, rig: StoreRig) -> None:
        """Fault B02: its answer was lost."""
        row = await claimed(rig.uploads, await placed(rig))
        first = commit(row, P + 10, part(1), piece(P, P + 10)).stored
        assert first is not None
        await rig.uploads.commit(replace(commit(row, P + 10), stored=first))
        more = first.and_then(Stored(upload_offset=P + 20, pieces=(piece(P + 10, P + 20), piece(P, P + 20, level=1))))
        for _ in range(2):
            assert await rig.uploads.commit(replace(commit(row, P + 20), stored=more)) is not None
            assembly = await assemblies(rig).assembly(row.id)
            assert (list(assembly.parts), list(assembly.pieces)) == ([part(1)], [piece(P, P + 20, level=1)])

    async def test_of_a_part_that_is_stored_again_the_latest_counts(self, rig: StoreRig) -> None:
        row = await claimed(rig.uploads, await placed(rig))
        await committed(rig, row, P, part(1, "old"))
        await committed(rig, row, P, part(1, "older"), part(1, "new"))
        assert list((await assemblies(rig).assembly(row.id)).parts) == [part(1, "new")]

    async def test_a_stale_commit_records_nothing(self, rig: StoreRig) -> None:
        """I5."""
        upload = await placed(rig)
        stale = await claimed(rig.uploads, upload)
        await claimed(rig.uploads, upload)
        assert await rig.uploads.commit(commit(stale, P, part(1), piece(P, P + 1), multipart_id="m")) is None
        assert await assemblies(rig).complete(commit(stale, P, part(1))) is None
        assembly = await assemblies(rig).assembly(upload.id)
        assert (list(assembly.parts), list(assembly.pieces)) == ([], [])
        assert placement_of(await rig.uploads.get(upload.id)).multipart_id is None

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
