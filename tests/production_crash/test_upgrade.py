"""A rolling upgrade: nodes go on beside a schema that is newer than they are."""

from __future__ import annotations

from typing import Final

from tests.production_crash.production import Production
from tests.support.client import OpenPatch, TusUpload, make_bytes, sha256
from tests.support.process import MEBIBYTE, wait_for

CONTENT: Final = make_bytes(12 * MEBIBYTE, seed=7)
NEWER: Final = (
    "ALTER TABLE uploads ADD COLUMN another text NOT NULL DEFAULT 'one'",
    "ALTER TABLE parts ADD COLUMN another text",
    "ALTER TABLE pieces ADD COLUMN another text",
    "ALTER TABLE events ADD COLUMN another jsonb",
    "CREATE TABLE further (id text PRIMARY KEY)",
    "INSERT INTO tuspy_migrations VALUES (999, '0999_future.sql', now())",
)
"""What a later release may do while older ones run: add."""


def test_an_upload_goes_through_an_upgrade_of_the_schema(production: Production) -> None:
    """C14 (I1, I2, I6): under a running body at one node; then another one starts, of the older release too."""
    first, second = (production.node(commit_interval_seconds=0.05) for _ in range(2))
    first.start()
    upload = TusUpload.create(first.url, len(CONTENT))
    sent = 7 * MEBIBYTE
    with OpenPatch(upload, len(CONTENT)) as patch:
        patch.send(CONTENT[: 6 * MEBIBYTE])
        wait_for(lambda: upload.head() == 6 * MEBIBYTE, "it has arrived")
        for statement in NEWER:
            production.sql(statement)
        patch.send(CONTENT[6 * MEBIBYTE : sent])
        wait_for(lambda: upload.head() == sent, "it goes on")
        second.start()
    there = production.on(second, upload)
    assert there.patch(CONTENT[sent : sent + MEBIBYTE]).status == 204
    upload.finish(CONTENT)
    assert sha256(there.download()) == sha256(CONTENT)
    small = TusUpload.create(second.url, 1000, body=CONTENT[:1000])
    production.assert_finished_once(upload, small)
    production.assert_nothing_left()
