"""The S3 sink: what it counts, what it gives back, what it refuses, and that its latency holds up nobody else."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

from bench.check import check_ends, check_objects
from bench.process import Running
from bench.s3_body import Body, Chunks
from bench.scripts import Uploaded
from bench.services import S3, S3_SINK, S3Object
from bench.source import Source
from bench.wire import Broken

S3Client = Any
"""botocore makes its methods as it runs."""

MEBIBYTE = 1 << 20
FIVE = b"5" * (5 * MEBIBYTE)
HOURS = 10_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(S3_SINK, tmp_path_factory.mktemp("sink") / "run") as started:
        yield started


@pytest.fixture
def s3(running: Running) -> S3:
    sink = S3(running)
    sink.begin(0)
    return sink


@pytest.fixture
def client(s3: S3) -> Iterator[S3Client]:
    made: S3Client = get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=s3.url,
        aws_access_key_id="bench",
        aws_secret_access_key="bench-secret",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


def calls(s3: S3) -> dict[str, tuple[int, int, int, int]]:
    return {name: tuple(row) for name, row in s3.counts().items()}  # type: ignore[misc]


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_a_real_client_puts_reads_lists_and_deletes(s3: S3, client: S3Client) -> None:
    """Each operation once: calls, bytes in, bytes out, errors; small objects come back as they were."""
    client.put_object(Bucket="bench", Key="a b/+ü", Body=b"bytes", Metadata={"upload": "7"}, ContentType="text/x")
    got = client.get_object(Bucket="bench", Key="a b/+ü")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"bytes", {"upload": "7"}, "text/x")
    assert client.get_object(Bucket="bench", Key="a b/+ü", Range="bytes=1-2")["Body"].read() == b"yt"
    assert client.head_object(Bucket="bench", Key="a b/+ü")["ContentLength"] == 5
    assert [row["Key"] for row in client.list_objects_v2(Bucket="bench", Prefix="a b/")["Contents"]] == ["a b/+ü"]
    client.delete_objects(Bucket="bench", Delete={"Objects": [{"Key": "a b/+ü"}]})
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket="bench", Key="a b/+ü")
    assert code(error) == "NoSuchKey"
    counted = calls(s3)
    assert counted["PutObject"] == (1, 5, 0, 0)
    assert counted["GetObject"][0] == 3
    assert counted["GetObject"][3] == 1
    assert {name: row[0] for name, row in counted.items()} == {
        "PutObject": 1,
        "GetObject": 3,
        "HeadObject": 1,
        "ListObjectsV2": 1,
        "DeleteObjects": 1,
    }


def test_a_multipart_upload_is_one_object_of_its_parts(s3: S3, client: S3Client) -> None:
    """Parts, a copied one, a list of them; the object is too large to be kept, its ends are known."""
    client.put_object(Bucket="bench", Key="piece", Body=b"tail")
    begun = client.create_multipart_upload(Bucket="bench", Key="large")["UploadId"]
    of = {"Bucket": "bench", "Key": "large", "UploadId": begun}
    etags = [client.upload_part(**of, PartNumber=n, Body=FIVE)["ETag"] for n in (1, 2)]
    copied = client.upload_part_copy(**of, PartNumber=3, CopySource={"Bucket": "bench", "Key": "piece"})
    etags.append(copied["CopyPartResult"]["ETag"])
    first = client.list_parts(**of, MaxParts=2)
    assert [row["PartNumber"] for row in first["Parts"]] == [1, 2]
    rest = client.list_parts(**of, PartNumberMarker=first["NextPartNumberMarker"])
    assert [(row["PartNumber"], row["Size"]) for row in rest["Parts"]] == [(3, 4)]
    assert client.list_multipart_uploads(Bucket="bench")["Uploads"][0]["UploadId"] == begun
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
    client.complete_multipart_upload(**of, MultipartUpload={"Parts": parts})
    row = s3.objects()["large"]
    assert (row.length, row.kept) == (2 * len(FIVE) + 4, False)
    assert [length for length, _, _ in row.pieces] == [len(FIVE), len(FIVE), 4]
    assert row.pieces[2][1] == b"tail".hex()
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket="bench", Key="large")
    assert code(error) == "BytesWereDiscarded"
    counted = calls(s3)
    assert counted["UploadPart"] == (2, 2 * len(FIVE), 0, 0)
    assert counted["UploadPartCopy"][0] == 1
    assert counted["CompleteMultipartUpload"][0] == 1


@pytest.mark.parametrize(
    ("sizes", "order", "reason"),
    [((5, 5), (2, 1), "InvalidPartOrder"), ((4, 5), (1, 2), "EntityTooSmall"), ((5, 5), (1, 3), "InvalidPart")],
)
def test_a_completion_that_s3_refuses_is_refused(
    client: S3Client, sizes: tuple[int, ...], order: tuple[int, ...], reason: str
) -> None:
    """A server that leans on a lenient store has no figure."""
    of = {"Bucket": "bench", "Key": "refused"}
    of["UploadId"] = client.create_multipart_upload(**of)["UploadId"]
    etags = {
        n: client.upload_part(**of, PartNumber=n, Body=FIVE[: size * MEBIBYTE])["ETag"]
        for n, size in enumerate(sizes, 1)
    }
    parts = [{"PartNumber": n, "ETag": etags.get(n, '"0"')} for n in order]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**of, MultipartUpload={"Parts": parts})
    assert code(error) == reason
    client.abort_multipart_upload(**of)
    with pytest.raises(ClientError) as error:
        client.list_parts(**of)
    assert code(error) == "NoSuchUpload"


def test_conditions_hold(client: S3Client) -> None:
    """If-None-Match is what keeps a fenced writer's object out."""
    etag = client.put_object(Bucket="bench", Key="once", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
        with pytest.raises(ClientError) as error:
            client.put_object(Bucket="bench", Key="once", Body=b"2", **condition)
        assert code(error) == "PreconditionFailed"
    client.put_object(Bucket="bench", Key="once", Body=b"3", IfMatch=etag)


def test_an_aws_chunked_body_within_a_chunked_one_is_taken_out(s3: S3, running: Running) -> None:
    """As version 3 of the JavaScript SDK sends it: two framings, and a trailer that belongs to the object."""
    inner = b"4\r\nabcd\r\n3;chunk-signature=00\r\nefg\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    outer = b"".join(b"%x\r\n%b\r\n" % (len(inner[n : n + 5]), inner[n : n + 5]) for n in range(0, len(inner), 5))
    head = (
        b"PUT /bench/framed HTTP/1.1\r\nHost: s3\r\nTransfer-Encoding: chunked\r\nContent-Encoding: aws-chunked\r\n"
        b"X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nX-Amz-Decoded-Content-Length: 7\r\n"
        b"Connection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as sock:
        sock.sendall(head + outer + b"0\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"x-amz-checksum-crc32: AAAAAA==" in answer
    assert calls(s3)["PutObject"] == (1, 7, 0, 0)
    assert s3.read("framed") == b"abcdefg"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_framing_is_taken_off_wherever_it_is_cut(step: int) -> None:
    """Every cut of the same bytes is the same payload; what follows its end is not its own."""
    framed = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nname: value\r\n\r\nPUT"
    body = Body(keep=True)
    chunks = Chunks(body.take)
    taken = 0
    while not chunks.done:
        taken += chunks.feed(memoryview(framed)[taken : taken + step])
    assert (bytes(body.data or b""), chunks.trailers) == (b"hello world", {"name": "value"})
    assert framed[taken:] == b"PUT"
    with pytest.raises(ValueError, match="past its size"):
        Chunks(body.take).feed(memoryview(b"1\r\nab\r\n"))


def test_latency_holds_up_no_other_call(s3: S3, running: Running) -> None:
    """With an hour a call two calls are counted and neither is answered; the bench's own questions are."""
    s3.begin(HOURS)
    waiting = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(2)]
    try:
        for number, sock in enumerate(waiting, 1):
            sock.sendall(b"PUT /bench/late-%d HTTP/1.1\r\nHost: s3\r\nContent-Length: 1\r\n\r\nx" % number)
            while f"late-{number}" not in s3.objects():
                pass
        assert calls(s3)["PutObject"] == (2, 2, 0, 0)
        assert not select.select(waiting, [], [], 0)[0]
    finally:
        for sock in waiting:
            sock.close()
    s3.begin(0)
    assert s3.read("late-1") == b"x"
    assert calls(s3) == {"GetObject": (1, 0, 1, 0)}, "counted anew"


def test_a_part_at_a_wrong_place_is_found(tmp_path: Path) -> None:
    """Large objects are not kept: the ends of their parts say whether they are where they belong."""
    with Source(tmp_path / "source") as source:
        ends = [
            (100, b"".join(source.runs(n, 32)).hex(), b"".join(source.runs(n + 68, 32)).hex()) for n in (0, 100, 200)
        ]
        upload = Uploaded("/files/1", 300)
        check_ends(upload, S3Object(300, kept=False, pieces=ends), source)
        with pytest.raises(Broken, match="the part at 100 has other bytes"):
            check_ends(upload, S3Object(300, kept=False, pieces=[ends[0], ends[2], ends[1]]), source)


def test_an_object_that_is_not_there_is_found(s3: S3, client: S3Client, tmp_path: Path) -> None:
    """Of its length, one object an upload, and the last one's bytes."""
    with Source(tmp_path / "source") as source:
        right = b"".join(source.runs(0, 100))
        uploaded = [Uploaded("/files/checked", 100)]
        for body, key, reason in (
            (right, "another", "not whole"),
            (right[:-1], "checked", "not whole"),
            (right[:-1] + b"\0", "checked", "other bytes"),
            (right[:50] + b"\0\0\0" + right[53:], "checked", "other bytes"),
        ):
            client.put_object(Bucket="bench", Key=key, Body=body)
            with pytest.raises(Broken, match=reason):
                check_objects(S3_SINK, s3, uploaded, source)
        client.put_object(Bucket="bench", Key="checked", Body=right)
        check_objects(S3_SINK, s3, uploaded, source)
