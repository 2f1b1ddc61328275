-- Everything goes to the first schema of the session's search path. All times are this database's.

-- A commit changes none of the columns that an index knows, so that it is one new version of the row on the same page
-- (HOT): expiry_slot stands still while the expiry slides within it, writer_node stays when the writer lets go.
CREATE TABLE uploads (
    id              text COLLATE "C" PRIMARY KEY,
    status          text COLLATE "C" NOT NULL CHECK (status IN
                        ('uploading', 'completing', 'finished', 'failed', 'terminated', 'expired')),
    upload_offset   bigint NOT NULL CHECK (upload_offset >= 0),
    upload_length   bigint CHECK (upload_length >= 0),
    upload_metadata text,
    writer          text COLLATE "C",
    writer_node     text COLLATE "C",
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    expiry_slot     timestamptz GENERATED ALWAYS AS
                        (date_bin('10 minutes', expires_at, '2000-01-01 00:00:00+00')) STORED,
    ended_at        timestamptz,
    object_key      text COLLATE "C",
    part_bytes      bigint CHECK (part_bytes > 0),
    multipart_id    text,
    contested_to    integer NOT NULL DEFAULT 0,
    unsettled       boolean NOT NULL DEFAULT false,
    etag            text,
    tries           integer NOT NULL DEFAULT 0,
    CHECK (upload_offset <= upload_length),
    CHECK (status <> 'finished' OR upload_offset = upload_length),
    CHECK ((object_key IS NULL) = (part_bytes IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX uploads_object_key ON uploads (object_key) WHERE object_key IS NOT NULL;
-- The sweeper's questions: what is overdue, whose node has died, what nobody puts together, what may be forgotten.
CREATE INDEX uploads_by_expiry ON uploads (expiry_slot) WHERE status = 'uploading' AND expiry_slot IS NOT NULL;
CREATE INDEX uploads_by_node ON uploads (writer_node) WHERE status = 'uploading' AND writer_node IS NOT NULL;
CREATE INDEX uploads_completing ON uploads (created_at) WHERE status = 'completing';
CREATE INDEX uploads_gone ON uploads (ended_at) WHERE status IN ('failed', 'terminated', 'expired');
CREATE INDEX uploads_by_status ON uploads (status);

CREATE TABLE parts (
    upload_id   text COLLATE "C" NOT NULL,
    part_number integer NOT NULL CHECK (part_number > 0),
    part_bytes  bigint NOT NULL,
    etag        text NOT NULL,
    crc32c      bigint,
    PRIMARY KEY (upload_id, part_number)
);

-- A piece that a part or a later piece covers stays until the cleanup has deleted its object.
CREATE TABLE pieces (
    upload_id    text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,
    start_offset bigint NOT NULL,
    stop_offset  bigint NOT NULL,
    crc32c       bigint NOT NULL,
    level        integer NOT NULL,
    superseded   boolean NOT NULL,
    PRIMARY KEY (upload_id, key)
);

CREATE INDEX pieces_live ON pieces (upload_id, start_offset) WHERE NOT superseded;

-- Ended uploads whose bytes may still be stored; written by the transaction that ended them. `status` is what they
-- ended as, so that the report of an earlier cleanup does not settle a later one.
CREATE TABLE cleanups (
    upload_id text COLLATE "C" PRIMARY KEY,
    status    text COLLATE "C" NOT NULL,
    due_at    timestamptz NOT NULL,
    again_at  timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX cleanups_due ON cleanups (due_at);

-- Hearts of the processes that serve these rows.
CREATE TABLE nodes (
    id      text COLLATE "C" PRIMARY KEY,
    beat_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- The outbox. `number` orders what one upload has committed; `position`, which readers see, is given by relay_events.
CREATE TABLE events (
    number    bigint GENERATED ALWAYS AS IDENTITY,
    id        text COLLATE "C" PRIMARY KEY,
    type      text COLLATE "C" NOT NULL,
    upload_id text COLLATE "C" NOT NULL,
    data      json NOT NULL,
    time      timestamptz NOT NULL,
    position  bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX events_unnumbered ON events (number) WHERE position IS NULL;
CREATE UNIQUE INDEX events_by_position ON events (position) WHERE position IS NOT NULL;
CREATE INDEX events_by_time ON events (time);

CREATE SEQUENCE event_positions;

-- One row an event and consumer, from the relay until it is purged with its event.
CREATE TABLE deliveries (
    position  bigint NOT NULL,
    consumer  text COLLATE "C" NOT NULL,
    upload_id text COLLATE "C" NOT NULL,
    status    text COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts  integer NOT NULL DEFAULT 0,
    due_at    timestamptz NOT NULL,
    leased_by text COLLATE "C",
    error     text,
    PRIMARY KEY (position, consumer)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX deliveries_waiting ON deliveries (consumer, due_at) WHERE status = 'waiting';
CREATE INDEX deliveries_in_order ON deliveries (consumer, upload_id, position) WHERE status = 'waiting';

-- One call, so that no client can keep the lock; two statements, because the second needs a snapshot from after it:
-- whatever an earlier relay has numbered is committed by then, and whatever is committed later gets later numbers.
CREATE FUNCTION relay_events(consumers text[], types text[], most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    numbered integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tuspy.relay.' || current_schema(), 0));
    WITH placed AS MATERIALIZED (
        SELECT first.id, nextval('event_positions') AS position
        FROM (SELECT events.id FROM events WHERE events.position IS NULL ORDER BY events.number LIMIT most) AS first
    ), given AS (
        UPDATE events SET position = placed.position FROM placed WHERE events.id = placed.id
        RETURNING events.position, events.type, events.upload_id
    ), added AS (
        INSERT INTO deliveries (position, consumer, upload_id, due_at)
        SELECT given.position, wanted.consumer, given.upload_id, now()
        FROM given JOIN unnest(consumers, types) AS wanted (consumer, type) ON wanted.type = given.type
    )
    SELECT count(*) INTO numbered FROM given;
    RETURN numbered;
END $$;
