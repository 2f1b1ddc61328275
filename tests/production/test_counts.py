"""What an upload costs in S3 calls and bytes, end to end: the table of the architecture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from tests.production.fixtures import MakeNode
from tests.support.client import TusUpload, make_bytes, request, sha256
from tests.support.process import MEBIBYTE
from tests.support.strict_s3.remote import StrictProcess
from trial.gateways import Gateway

KIBIBYTE = 1024


@dataclass(frozen=True)
class Scale:
    """The same formula at two sizes."""

    part_bytes: int
    parts: int

    @property
    def length(self) -> int:
        """The last part is half full."""
        return self.part_bytes * self.parts - self.part_bytes // 2


FULL = Scale(8 * MEBIBYTE, 13)  # 100 MiB
QUICK = Scale(6 * MEBIBYTE, 4)  # 21 MiB
SCALES = [pytest.param(QUICK, id="quick"), pytest.param(FULL, id="full", marks=pytest.mark.long)]


class Bill:
    """Calls and bytes since it was made."""

    def __init__(self, strict: StrictProcess) -> None:
        self._strict = strict
        self._calls = strict.calls
        self._rows = len(strict.log)

    @property
    def calls(self) -> dict[str, int]:
        return dict(Counter(self._strict.calls) - self._calls)

    def bytes_in(self, *operations: str) -> int:
        return sum(row.bytes_in for row in self._strict.log[self._rows :] if row.operation in operations)

    @property
    def bytes_out(self) -> int:
        return sum(row.bytes_out for row in self._strict.log[self._rows :] if row.operation == "GetObject")


@pytest.fixture
def gateway(rclone: Gateway) -> Gateway:
    """One is enough."""
    return rclone


def test_a_small_upload_is_one_call_and_a_head_none(make_node: MakeNode, strict_process: StrictProcess) -> None:
    node = make_node(sweep_interval_seconds=1000).start()
    content = make_bytes(KIBIBYTE, seed=1)
    bill = Bill(strict_process)
    upload = TusUpload.create(node.url, KIBIBYTE)
    assert upload.head() == 0
    assert bill.calls == {}
    assert upload.patch(content).status == 204
    assert bill.calls == {"PutObject": 1}
    assert bill.bytes_in("PutObject") == KIBIBYTE
    assert upload.head() == KIBIBYTE
    assert request("HEAD", upload.url, tus=False).status == 200
    assert bill.calls == {"PutObject": 1}

    # Created with its bytes, and of no bytes (S21): one call each, too.
    TusUpload.create(node.url, KIBIBYTE, body=content)
    TusUpload.create(node.url, 0)
    assert bill.calls == {"PutObject": 3}
    assert sha256(upload.download()) == sha256(content)
    assert bill.calls == {"PutObject": 3, "GetObject": 1}


@pytest.mark.parametrize("scale", SCALES)
def test_one_patch_is_parts_and_two_calls(make_node: MakeNode, strict_process: StrictProcess, scale: Scale) -> None:
    """100 MiB: 15 calls, and each byte once."""
    node = make_node(s3_part_bytes=scale.part_bytes, sweep_interval_seconds=1000).start()
    content = make_bytes(scale.length, seed=2)
    bill = Bill(strict_process)
    upload = TusUpload.create(node.url, scale.length)
    assert upload.patch(content).status == 204
    assert bill.calls == {"CreateMultipartUpload": 1, "UploadPart": scale.parts, "CompleteMultipartUpload": 1}
    assert bill.bytes_in("UploadPart", "PutObject") == scale.length
    assert sha256(upload.download()) == sha256(content)


@pytest.mark.parametrize("scale", SCALES)
def test_patches_of_a_mebibyte_write_what_fills_no_part_twice(
    make_node: MakeNode, strict_process: StrictProcess, scale: Scale
) -> None:
    """100 MiB: 103 calls, 1.87 times the bytes, none of them read back."""
    node = make_node(s3_part_bytes=scale.part_bytes, sweep_interval_seconds=1000).start()
    content = make_bytes(scale.length, seed=3)
    before = strict_process.calls["DeleteObjects"]
    bill = Bill(strict_process)
    upload = TusUpload.create(node.url, scale.length)
    for start in range(0, scale.length, MEBIBYTE):
        assert upload.patch(content[start : start + MEBIBYTE]).status == 204
    strict_process.called("DeleteObjects", before + 1)
    pieces = scale.length // MEBIBYTE - scale.parts
    assert bill.calls == {
        "CreateMultipartUpload": 1,
        "UploadPart": scale.parts,
        "CompleteMultipartUpload": 1,
        "PutObject": pieces,
        "DeleteObjects": 1,
    }
    assert bill.bytes_in("UploadPart", "PutObject") == scale.length + pieces * MEBIBYTE
    assert bill.bytes_out == 0
    if scale is FULL:
        assert sum(bill.calls.values()) == 103
    assert sha256(upload.download()) == sha256(content)


def test_a_store_that_obeys_no_conditions_is_found_out_at_the_start(
    make_node: MakeNode, strict_process: StrictProcess
) -> None:
    """S16, S19: what the probe has seen is acted on. A small object then takes the way of parts, and no checksums."""
    strict_process.rules(ignores_conditions=True, refuses_checksums=True)
    node = make_node(sweep_interval_seconds=1000).start()
    bill = Bill(strict_process)
    content = make_bytes(KIBIBYTE, seed=4)
    upload = TusUpload.create(node.url, KIBIBYTE, body=content)
    assert bill.calls == {"CreateMultipartUpload": 1, "UploadPart": 1, "CompleteMultipartUpload": 1}
    assert sha256(upload.download()) == sha256(content)
    warned = [event["finding"] for event in node.log_events() if event["event"] == "bucket.probe.finding"]
    assert any("If-None-Match" in finding for finding in warned)
