"""What a probe finds out about real gateways, and that it leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tests.stores.s3.test_client import options_for
from trial.gateways import Bucket as Place
from tuspy_server.stores.s3.bucket import Bucket
from tuspy_server.stores.s3.capabilities import Capabilities, probe, with_expiry
from tuspy_server.stores.s3.client import S3Client
from tuspy_server.stores.s3.crc import crc32c_of
from tuspy_server.stores.s3.errors import Unavailable
from tuspy_server.stores.s3.probing import STALE_SECONDS, probe_name
from tuspy_server.stores.s3.values import Lifecycle, ObjectHeaders


@pytest.fixture
async def client(s3_bucket: Place) -> AsyncIterator[S3Client]:
    client = S3Client(options_for(s3_bucket))
    await client.open()
    yield client
    await client.close()


def sentences(capabilities: Capabilities, severity: str) -> list[str]:
    return [finding.sentence for finding in capabilities.findings if finding.severity == severity]


async def assert_nothing_is_left(client: S3Client) -> None:
    assert await client.list_objects("") == []
    assert await client.list_multiparts("") == []


async def probed(client: S3Client) -> Capabilities:
    capabilities = await probe(client)
    await assert_nothing_is_left(client)
    assert client.sends_crc32c
    return capabilities


@pytest.mark.parametrize("gateway", ["rclone"], indirect=True)
async def test_rclone(client: S3Client) -> None:
    """S14, S19, S22: it ignores conditions and checksums, refuses to replace parts, and spoils those it should copy."""
    capabilities = await probed(client)
    assert capabilities.stores, capabilities.findings
    assert not capabilities.verifies_crc32c
    assert not capabilities.obeys_if_none_match
    assert not capabilities.copies_parts
    assert not capabilities.replaces_parts
    assert capabilities.checks_etags
    assert capabilities.lists_multiparts
    assert capabilities.keeps_metadata
    assert capabilities.lifecycle == Lifecycle(abort_days=None)
    assert any("If-None-Match" in sentence for sentence in sentences(capabilities, "warning"))
    assert any("UploadPartCopy" in sentence for sentence in sentences(capabilities, "note"))


@pytest.mark.parametrize("gateway", ["moto"], indirect=True)
async def test_moto(client: S3Client) -> None:
    """S14: it accepts wrong checksums."""
    capabilities = await probed(client)
    assert capabilities.stores, capabilities.findings
    assert not capabilities.verifies_crc32c
    assert capabilities.obeys_if_none_match
    assert capabilities.copies_parts
    assert capabilities.replaces_parts
    assert capabilities.checks_etags
    assert capabilities.lists_multiparts
    assert capabilities.keeps_metadata
    assert sentences(capabilities, "error") == []


@pytest.mark.parametrize("gateway", ["moto"], indirect=True)
async def test_a_rule_that_aborts_before_the_expiry_is_an_error(client: S3Client) -> None:
    """S10."""
    rule: Any = {
        "ID": "abort",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    driven = client._ways.driven
    await driven.driver.put_bucket_lifecycle_configuration(
        Bucket=driven.bucket, LifecycleConfiguration={"Rules": [rule]}
    )
    capabilities = await probed(client)
    assert capabilities.lifecycle == Lifecycle(abort_days=7)
    week = 7 * 86_400
    assert with_expiry(capabilities, week - 1) == capabilities
    for longest in (week, None):
        judged = with_expiry(capabilities, longest)
        assert not judged.stores
        assert any("7 days" in sentence for sentence in sentences(judged, "error"))


class Failing:
    """A bucket whose n-th call fails, and those after it do not."""

    def __init__(self, bucket: Bucket, fails_at: int) -> None:
        object.__setattr__(self, "_bucket", bucket)
        object.__setattr__(self, "_left", fails_at)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_left":
            object.__setattr__(self, name, value)
        else:
            setattr(self._bucket, name, value)

    def __getattr__(self, name: str) -> Any:
        wanted = getattr(self._bucket, name)
        if not callable(wanted):
            return wanted
        self._left -= 1
        if self._left == 0:
            raise Unavailable(name, "Timeout", outcome_unknown=True)
        return wanted


@pytest.mark.parametrize("gateway", ["moto"], indirect=True)
async def test_nothing_is_left_behind_by_a_probe_that_fails(client: S3Client) -> None:
    """I8. Whichever call fails."""
    for fails_at in range(1, 40):
        bucket = Failing(client, fails_at)
        capabilities = await probe(cast("Bucket", bucket))
        await assert_nothing_is_left(client)
        assert client.sends_crc32c
        if bucket._left > 0:  # it never came to that call
            assert capabilities.stores
            break
    else:
        pytest.fail("a probe makes more calls than that")


@pytest.mark.parametrize("gateway", ["moto"], indirect=True)
async def test_what_a_killed_probe_has_left_is_taken_away(client: S3Client) -> None:
    """I8: a node that is killed in each start would fill the bucket. Another's probe of just now is left alone."""
    content = [memoryview(b"probe")]
    names = [probe_name(time.time() - STALE_SECONDS - 1), probe_name()]
    for name in [*names, "stranger/"]:
        key = f"tmp/probe/{name}object"
        await client.put_object(key, content, crc32c=crc32c_of(content), headers=ObjectHeaders())
        await client.create_multipart(f"tmp/probe/{name}whole", ObjectHeaders())
    assert (await probe(client)).stores
    left = {f"tmp/probe/{name}object" for name in (names[1], "stranger/")}
    assert set(await client.list_objects("")) == left
    assert {key for key, _ in await client.list_multiparts("")} == {key.replace("object", "whole") for key in left}


async def test_a_bucket_that_is_not_there_is_an_error(s3_bucket: Place) -> None:
    client = S3Client(options_for(s3_bucket, bucket="no-such-bucket"))
    await client.open()
    capabilities = await probe(client)
    await client.close()
    assert not capabilities.stores
    assert any("NoSuchBucket" in sentence for sentence in sentences(capabilities, "error"))
