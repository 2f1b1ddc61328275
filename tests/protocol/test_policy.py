"""`protocol/policy.py`: the settings as the protocol sees them, and what OPTIONS says of them."""

from __future__ import annotations

import pytest

from tests.protocol.samples import policy
from tuspy_server.protocol.errors import UploadTooLarge
from tuspy_server.protocol.policy import Policy


def test_options_lists_versions_extensions_and_algorithms() -> None:
    """CORE-OPT-01, CORE-OPT-02, CORE-OPT-03, CREA-POST-01, CWU-01, CSUM-01."""
    assert dict(policy().describe()) == {
        "Tus-Version": "1.0.0",
        "Tus-Extension": ("creation,creation-with-upload,creation-defer-length,termination,checksum,expiration"),
        "Tus-Checksum-Algorithm": "sha1,sha256,sha512,md5,crc32,crc32c",
    }


def test_options_names_the_limit_where_there_is_one() -> None:
    """CORE-OPT-04."""
    assert dict(policy(tus_max_size=5_000_000_000).describe())["Tus-Max-Size"] == "5000000000"


def test_expiration_is_not_advertised_where_nothing_expires() -> None:
    assert "expiration" not in policy(expiration=False).extensions(delivers_trailers=True)


def test_what_the_body_path_cannot_do_is_not_advertised() -> None:
    """TRLR-01, CONC-01."""
    assert "checksum-trailer" in policy().extensions(delivers_trailers=True)
    assert not {"checksum-trailer", "concatenation"} & set(policy().extensions(delivers_trailers=False))


@pytest.mark.parametrize(
    ("rules", "most"), [(policy(tus_max_size=100), 100), (policy(), 2**63 - 1)], ids=["limited", "unlimited"]
)
def test_the_limit_itself_is_allowed_and_one_byte_more_is_413(rules: Policy, most: int) -> None:
    """CREA-POST-07, CREA-POST-08."""
    rules.check_length(most)
    with pytest.raises(UploadTooLarge) as caught:
        rules.check_length(most + 1)
    assert caught.value.status == 413
