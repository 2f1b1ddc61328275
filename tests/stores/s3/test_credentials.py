"""Credentials that expire while the server runs, and an endpoint whose certificate nobody else trusts."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.stores.s3.answering import OK, Server, complete, head, part, serving
from tuspy_server.stores.s3.errors import NotConnected
from tuspy_server.stores.s3.values import ObjectHeaders

SCRIPT = """#!/bin/sh
number=$(($(cat {folder}/number) + 1))
echo $number > {folder}/number
test -e {folder}/broken && exit 1
echo '{{"Version": 1, "AccessKeyId": "key'$number'", "SecretAccessKey": "secret", "SessionToken": "token'$number'",'
echo '"Expiration": "{expires_at}"}}'
"""
CHAIN = {"access_key_id": None, "secret_access_key": None}
COMPLETED = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 96\r\n\r\n"
    + b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>".ljust(96)
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `credential_process` whose keys are about to expire: botocore then asks for others before it uses them."""
    script = tmp_path / "keys"
    expires_at = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    script.write_text(SCRIPT.format(folder=tmp_path, expires_at=expires_at))
    script.chmod(0o700)
    (tmp_path / "number").write_text("0")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {script}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def key_numbers(server: Server) -> list[int]:
    """Of the keys that signed each request; the session's token is of the same ones."""
    numbers = []
    for request in server.requests:
        matched = re.search(r"Credential=key(\d+)/", request.headers["authorization"])
        assert matched is not None
        assert request.headers["x-amz-security-token"] == f"token{matched[1]}"
        numbers.append(int(matched[1]))
    return numbers


async def test_each_call_is_signed_with_the_keys_of_its_moment(source: Path) -> None:
    """The short way signs by itself: it must not keep the keys that it began with."""
    async with serving(OK, OK, COMPLETED, OK, **CHAIN) as (client, server):
        await part(client)
        await part(client)
        await complete(client)
        await part(client)
        numbers = key_numbers(server)
    assert numbers == sorted(set(numbers)), "newer ones each time"


async def test_keys_that_cannot_be_had_are_trouble_that_passes(source: Path) -> None:
    """I12: 503 for as long as their source fails; nothing is sent with old ones."""
    async with serving(OK, **CHAIN) as (client, server):
        await part(client)
        (source / "broken").touch()
        for call in (part, complete):
            with pytest.raises(NotConnected) as caught:
                await call(client)
            assert caught.value.code == "NoCredentials"
        assert len(server.requests) == 1
        (source / "broken").unlink()
        await part(client)
        assert len(server.requests) == 2


# --- the endpoint ---------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS, and the certificate that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = tmp_path / "store.pem", tmp_path / "store.key"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context, path


async def test_a_store_with_a_certificate_of_its_own(
    authority: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AWS_CA_BUNDLE` counts for both ways to the store; without it nothing is sent to a stranger."""
    tls, path = authority
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
    async with serving(OK, OK, COMPLETED, tls=tls) as (client, server):
        await part(client)
        await head(client)
        await complete(client)
        assert len(server.requests) == 3
    monkeypatch.delenv("AWS_CA_BUNDLE")
    async with serving(OK, tls=tls) as (client, server):
        for call in (part, complete):
            with pytest.raises(NotConnected) as caught:
                await call(client)
            assert caught.value.code == "CertificateRefused"
        assert server.requests == []


async def test_a_bucket_in_the_name_of_the_host() -> None:
    """Virtual addressing: the short way takes the address from the SDK's rules, and signs it."""
    options: dict[str, Any] = {"endpoint_url": "https://store.example:8443", "addressing_style": "virtual"}
    async with serving(OK, **options) as (client, _):
        place = client._ways.fast._place
        assert (place.scheme, place.host, place.path) == ("https", "bucket.store.example:8443", "")
        link = await client.presign_get("a/b", 60, ObjectHeaders())
    assert link.startswith("https://bucket.store.example:8443/a/b?")
