-- Times are integer microseconds since 1970 (UTC), by the clock of the process that holds the data folder.

CREATE TABLE uploads (
    id              TEXT PRIMARY KEY,
    status          TEXT NOT NULL CHECK (status IN
                        ('uploading', 'completing', 'finished', 'failed', 'terminated', 'expired')),
    upload_offset   INTEGER NOT NULL CHECK (upload_offset >= 0),
    upload_length   INTEGER CHECK (upload_length >= 0),
    upload_metadata TEXT,
    writer          TEXT,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    ended_at        INTEGER,
    CHECK (upload_offset <= coalesce(upload_length, upload_offset)),
    CHECK (status <> 'finished' OR upload_offset = upload_length)
) STRICT, WITHOUT ROWID;

-- The sweeper's two questions, and the start's: whom a crash left as writer.
CREATE INDEX uploads_by_expiry ON uploads (expires_at) WHERE status = 'uploading' AND expires_at IS NOT NULL;
CREATE INDEX uploads_gone ON uploads (ended_at) WHERE status IN ('failed', 'terminated', 'expired');
CREATE INDEX uploads_by_writer ON uploads (id) WHERE writer IS NOT NULL;
CREATE INDEX uploads_by_status ON uploads (status);

-- Ended uploads whose bytes may still be stored; written by the transaction that ended them.
CREATE TABLE cleanups (
    upload_id  TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The outbox: written by the transaction that changed the upload. There is one writer, so the order of inserts is the
-- order of commits, and no reader can be overtaken by a late one.
CREATE TABLE events (
    position  INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    type      TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    data      TEXT NOT NULL,
    time      INTEGER NOT NULL,
    relayed   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX events_to_relay ON events (position) WHERE relayed = 0;
CREATE INDEX events_by_time ON events (time);

-- One row an event and consumer, from the relay until it is purged with its event.
CREATE TABLE deliveries (
    position  INTEGER NOT NULL REFERENCES events (position),
    consumer  TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    status    TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts  INTEGER NOT NULL DEFAULT 0,
    due_at    INTEGER NOT NULL,
    error     TEXT,
    PRIMARY KEY (position, consumer)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_waiting ON deliveries (consumer, due_at) WHERE status = 'waiting';
CREATE INDEX deliveries_in_order ON deliveries (consumer, upload_id, position) WHERE status = 'waiting';
