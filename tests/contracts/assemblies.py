"""What `ports.UploadStore` keeps of objects, parts and pieces, and `ports.Assemblies` gives back. A suite that every
adapter that is used with an object store passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from tests.contracts.rig import StoreRig
from tests.contracts.rows import claimed, draft, new_id
from tuspy_server.model import PARTS_IN_FLIGHT, EventType, Placement, Upload
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
