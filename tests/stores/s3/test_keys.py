"""Keys: nothing leads out of the prefix, nobody chooses them but the operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tuspy_server.stores.s3.keys import Keys

ID = "0123456789abcdef" * 2
NOW = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-2)))


@pytest.mark.parametrize(
    ("template", "prefix", "key"),
    [
        ("{id}", "", ID),
        ("{id}", "a/", f"a/{ID}"),
        ("{tenant}/{date}/{id}", "a/b-", f"a/b-default/2026/02/01/{ID}"),
        ("date={date}/{id}/file.bin", "", f"date=2026/02/01/{ID}/file.bin"),
    ],
)
def test_keys_of_objects(template: str, prefix: str, key: str) -> None:
    assert Keys(template, prefix).object_key(ID, NOW) == key


def test_keys_of_pieces_are_below_a_prefix_of_the_upload() -> None:
    keys = Keys(prefix="a/")
    assert keys.piece_key(ID, "w" * 32, 7) == f"a/tmp/{ID}/{'w' * 32}-7"
    assert keys.piece_key(ID, "w", 7).startswith(keys.pieces_prefix(ID))
    assert keys.pieces_prefix(ID).endswith("/"), "or it would list those of ids that begin alike"
    assert not keys.probes_prefix().startswith(f"a/tmp/{ID}")


@pytest.mark.parametrize("bad", ["../" + ID, "a.b", "a" * 65, ID + "/", "%2e%2e%2f", "", ID + "\x00", ID + "\n"])
def test_only_ids_of_ours_make_keys(bad: str) -> None:
    """Fault X01."""
    keys = Keys()
    with pytest.raises(ValueError, match="not an id"):
        keys.object_key(bad, NOW)
    with pytest.raises(ValueError, match="not an id"):
        keys.pieces_prefix(bad)
    with pytest.raises(ValueError, match="not an id"):
        keys.piece_key(ID, "../w", 1)


@pytest.mark.parametrize(
    ("template", "prefix"),
    [
        ("{date}", ""),
        ("{filename}-{id}", ""),
        ("{id}", "/a/"),
        ("../{id}", ""),
        ("a/../{id}", ""),
        ("a//{id}", ""),
        ("./{id}", ""),
        ("{id}/", ""),
        ("tmp/{id}", ""),
        ("tmp/{id}", "a/"),
        ("a b{id}", ""),
        ("ä{id}", ""),
        ("{id}\n", ""),
        ("{id}", "a" * 1000),
        ("{id!r}", ""),
        ("{{id}}", ""),
    ],
)
def test_templates_that_would_do_harm(template: str, prefix: str) -> None:
    """Faults X01, X02: no client's name in it, nothing out of the prefix, nothing among the pieces, not too long."""
    with pytest.raises(ValueError, match=r"."):
        Keys(template, prefix)


def test_dates_are_in_utc() -> None:
    assert Keys("{date}/{id}").object_key(ID, NOW) == Keys("{date}/{id}").object_key(ID, NOW.astimezone(UTC))


def test_ids_that_hooks_choose_make_no_key_among_the_pieces() -> None:
    assert Keys().object_key("tmp", NOW) == "tmp"
    with pytest.raises(ValueError, match="must not begin with tmp/"):
        Keys("{id}/{date}/file").object_key("tmp", NOW)


@pytest.mark.parametrize("key", ["photo.png", "2026/ab", "tmp", "a/tmp/b"])
def test_keys_that_hooks_choose_go_below_the_prefix(key: str) -> None:
    assert Keys(prefix="up/").chosen_key(key) == f"up/{key}"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "../a", "a/../../b", "a//b", ".", "tmp/a", "a b", "ä", "a\n", "a\x00", "{id}", "a" * 1025]
)
def test_keys_that_would_do_harm(key: str) -> None:
    """Faults X01, X02."""
    with pytest.raises(ValueError, match=r"."):
        Keys(prefix="up/").chosen_key(key)


def test_tenants_are_one_segment_of_a_key() -> None:
    keys = Keys("{tenant}/{id}")
    assert keys.object_key(ID, NOW, "acme") == f"acme/{ID}"
    odd = {keys.object_key(ID, NOW, tenant) for tenant in ("..", "a/b", "ä", "a" * 65, "tmp/")}
    assert len(odd) == 5
    assert all(key.startswith("tenant-") and key.count("/") == 1 for key in odd)
