"""`protocol/core.py`: which method a request has, and the gate in front of it; HEAD."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import FIELD_TEXT, GONE_UPLOADS, finished, head, outcome, upload
from tuspy_server.model import Upload, UploadStatus
from tuspy_server.protocol.core import (
    ALL_METHODS,
    COLLECTION_METHODS,
    UPLOAD_METHODS,
    decide_head,
    effective_method,
    patch_headers,
)
from tuspy_server.protocol.errors import (
    MethodNotAllowed,
    TusError,
    UnsupportedVersion,
    UploadBusy,
    UploadGone,
)

V = {"Tus-Resumable": "1.0.0"}


@pytest.mark.parametrize("method", ALL_METHODS)
def test_each_method_passes_with_our_version(method: str) -> None:
    """CORE-VER-01."""
    assert effective_method(head(method, V), ALL_METHODS) == method


@pytest.mark.parametrize("version", ["0.2.2", "9.9.9", "1.0", "1.0.0 x", "", "v1.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_412(method: str, version: str) -> None:
    """CORE-VER-02, CORE-VER-03, CORE-VER-04: HEAD too, where tusd looks away."""
    with pytest.raises(UnsupportedVersion) as caught:
        effective_method(head(method, Tus_Resumable=version), ALL_METHODS)
    assert (caught.value.status, caught.value.headers()) == (412, (("Tus-Version", "1.0.0"),))


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_no_version_is_412_where_something_would_change(method: str) -> None:
    """CORE-VER-05."""
    with pytest.raises(UnsupportedVersion):
        effective_method(head(method), ALL_METHODS)


@pytest.mark.parametrize("method", ["HEAD", "GET", "OPTIONS"])
def test_no_version_is_fine_where_nothing_changes(method: str) -> None:
    """CORE-VER-06, CORE-GET-01, CORE-OPT-01."""
    assert effective_method(head(method), ALL_METHODS) == method


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_foreign_version_does_not_matter_to_get_and_options(method: str) -> None:
    """CORE-OPT-01, CORE-GET-01."""
    assert effective_method(head(method, Tus_Resumable="0.0.1"), ALL_METHODS) == method


@pytest.mark.parametrize("override", ["PATCH", "HEAD", "DELETE", "OPTIONS", "GET"])
def test_post_takes_its_method_from_the_override(override: str) -> None:
    """CORE-OVR-01, CORE-OVR-02."""
    request = head("POST", {**V, "X-HTTP-Method-Override": override})
    assert effective_method(request, UPLOAD_METHODS) == override


def test_an_overridden_method_passes_the_version_gate_of_its_own() -> None:
    with pytest.raises(UnsupportedVersion):
        effective_method(head("POST", {"X-HTTP-Method-Override": "DELETE"}), UPLOAD_METHODS)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH"])
def test_only_post_is_overridden(method: str) -> None:
    """CORE-OVR-03: what a link or a prefetcher sends stays what it is."""
    request = head(method, {**V, "X-HTTP-Method-Override": "DELETE"})
    assert effective_method(request, UPLOAD_METHODS) == method


@pytest.mark.parametrize(
    ("method", "override", "allowed"),
    [
        ("PUT", None, UPLOAD_METHODS),
        ("PUT", "PATCH", UPLOAD_METHODS),
        ("POST", None, UPLOAD_METHODS),
        ("POST", "patch", UPLOAD_METHODS),
        ("POST", "PATCH", COLLECTION_METHODS),
        ("HEAD", None, COLLECTION_METHODS),
        ("PATCH", None, COLLECTION_METHODS),
        ("DELETE", None, COLLECTION_METHODS),
        ("GET", None, COLLECTION_METHODS),
        ("BREW", None, COLLECTION_METHODS),
        ("", None, COLLECTION_METHODS),
    ],
)
def test_a_method_that_a_resource_lacks_is_405(method: str, override: str | None, allowed: tuple[str, ...]) -> None:
    """CORE-METH-01, CORE-OVR-03, CREA-POST-11: methods are case-sensitive (RFC 9110 9.1)."""
    fields = V if override is None else {**V, "X-HTTP-Method-Override": override}
    with pytest.raises(MethodNotAllowed) as caught:
        effective_method(head(method, fields), allowed)
    assert caught.value.headers() == (("Allow", ", ".join(allowed)),)


@given(FIELD_TEXT, FIELD_TEXT, FIELD_TEXT, st.sampled_from([COLLECTION_METHODS, UPLOAD_METHODS]))
def test_any_method_version_and_override_end_in_a_method_or_a_4xx(
    method: str, version: str, override: str, allowed: tuple[str, ...]
) -> None:
    """I11, X19."""
    request = head(method, Tus_Resumable=version, X_HTTP_Method_Override=override)
    decided = outcome(effective_method, request, allowed)
    if isinstance(decided, TusError):
        assert isinstance(decided, MethodNotAllowed | UnsupportedVersion)
        assert str(decided) in {"method not allowed here", "Tus-Resumable must be 1.0.0"}
    else:
        assert decided in allowed


@pytest.mark.parametrize(
    ("shown", "headers"),
    [
        pytest.param(
            upload(expires_at=None), {"Upload-Offset": "5", "Upload-Length": "10"}, id="CORE-HEAD-01 CORE-HEAD-03"
        ),
        pytest.param(
            upload(upload_offset=0, upload_length=None, expires_at=None),
            {"Upload-Offset": "0", "Upload-Defer-Length": "1"},
            id="DEFER-01",
        ),
        pytest.param(
            upload(),
            {"Upload-Offset": "5", "Upload-Length": "10", "Upload-Expires": "Thu, 05 Mar 2026 13:00:00 GMT"},
            id="EXP-04",
        ),
        pytest.param(
            finished(upload_metadata="b Yg==,a YQ=="),
            {"Upload-Offset": "10", "Upload-Length": "10", "Upload-Metadata": "b Yg==,a YQ=="},
            id="CORE-HEAD-02 CREA-META-01",
        ),
        pytest.param(
            finished(upload_offset=2**63 - 1, upload_length=2**63 - 1, upload_metadata=""),
            {"Upload-Offset": str(2**63 - 1), "Upload-Length": str(2**63 - 1), "Upload-Metadata": ""},
            id="CORE-HEAD-07 CREA-POST-09",
        ),
    ],
)
def test_head_tells_the_offset_and_forbids_to_keep_it(shown: Upload, headers: dict[str, str]) -> None:
    """CORE-HEAD-04."""
    assert decide_head(shown) == (*headers.items(), ("Cache-Control", "no-store"))


@pytest.mark.parametrize("gone", GONE_UPLOADS, ids=lambda gone: gone.status)
def test_head_of_what_is_gone_is_410(gone: Upload) -> None:
    """EXP-05, EXP-06, TERM-02."""
    with pytest.raises(UploadGone) as caught:
        decide_head(gone)
    assert (caught.value.status, caught.value.headers()) == (410, ())


def test_head_of_an_upload_being_finished_is_423() -> None:
    """CORE-HEAD-10: its offset is about to become its length."""
    with pytest.raises(UploadBusy) as caught:
        decide_head(upload(status=UploadStatus.COMPLETING))
    assert isinstance(caught.value, TusError)
    assert caught.value.headers() == (("Retry-After", "1"),)


def test_the_answer_to_patch_tells_offset_and_expiry() -> None:
    """CORE-PATCH-01, EXP-01."""
    assert patch_headers(upload()) == (("Upload-Offset", "5"), ("Upload-Expires", "Thu, 05 Mar 2026 13:00:00 GMT"))
    assert patch_headers(finished()) == (("Upload-Offset", "10"),)
