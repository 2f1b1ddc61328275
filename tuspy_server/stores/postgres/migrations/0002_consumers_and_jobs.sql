-- Consumers, jobs, tenants, and what a hook has said of an upload. An older node goes on beside it: what it does not know
-- has a default, and what it relays goes to the consumers of all.

-- None of the new columns that an index knows changes in a commit, which stays one new version on the same page (HOT).
ALTER TABLE uploads
    ADD COLUMN tenant           text COLLATE "C",
    ADD COLUMN job_id           text COLLATE "C",
    ADD COLUMN job_number       integer,
    ADD COLUMN trusted_metadata json,
    ADD COLUMN most_bytes       bigint,
    ADD COLUMN idle_seconds     double precision,
    ADD COLUMN processing       text COLLATE "C" CHECK (processing IN ('waiting', 'done', 'failed')),
    ADD COLUMN object_bucket    text COLLATE "C";

CREATE UNIQUE INDEX uploads_object ON uploads (coalesce(object_bucket, ''), object_key) WHERE object_key IS NOT NULL;
DROP INDEX uploads_object_key;
CREATE INDEX uploads_by_creation ON uploads (created_at, id);
CREATE INDEX uploads_by_tenant ON uploads (tenant, created_at, id) WHERE tenant IS NOT NULL;
CREATE INDEX uploads_by_job ON uploads (job_id, job_number) WHERE job_id IS NOT NULL;
-- What a crash may have left of a job: see left_files.
CREATE INDEX uploads_open_files ON uploads (job_id) WHERE status = 'uploading' AND job_id IS NOT NULL;
CREATE INDEX uploads_empty_files ON uploads (created_at)
    WHERE status = 'uploading' AND upload_length = 0 AND job_id IS NOT NULL;

-- `files` is the number of the newest file.
CREATE TABLE jobs (
    id           text COLLATE "C" PRIMARY KEY,
    tenant       text COLLATE "C",
    created_at   timestamptz NOT NULL,
    cancelled_at timestamptz,
    files        integer NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX jobs_by_creation ON jobs (created_at, id);
CREATE INDEX jobs_by_tenant ON jobs (tenant, created_at, id) WHERE tenant IS NOT NULL;
CREATE INDEX jobs_cancelled ON jobs (id) WHERE cancelled_at IS NOT NULL;

-- Of a finish that somebody is to process: the ids of the event that tells how it went, for whoever settles the last
-- delivery. (They are UUIDv5, and this database knows no SHA-1.)
ALTER TABLE events
    ADD COLUMN tenant               text COLLATE "C",
    ADD COLUMN job_id               text COLLATE "C",
    ADD COLUMN processed_id         text COLLATE "C",
    ADD COLUMN processing_failed_id text COLLATE "C";

CREATE INDEX events_by_upload ON events (upload_id, position);
CREATE INDEX events_by_job ON events (job_id, position) WHERE job_id IS NOT NULL;

CREATE TABLE consumers (
    name            text COLLATE "C" PRIMARY KEY,
    types           text[] NOT NULL,
    processing      boolean NOT NULL,
    registered_at   timestamptz NOT NULL,
    seen_at         timestamptz NOT NULL,
    disabled_reason text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- `lease_token` names one call: one whose answer was lost can be taken back. `first_leased_at` is of attempt 1.
ALTER TABLE deliveries
    ADD COLUMN processing      boolean NOT NULL DEFAULT false,
    ADD COLUMN lease_token     text COLLATE "C",
    ADD COLUMN first_leased_at timestamptz;

-- For what is asked for by its time alone, see the lease in outbox.sql: the planner took the other one of the two for the
-- earliest of an upload, too, and read all that waited.
CREATE INDEX deliveries_due ON deliveries (consumer, due_at) WHERE status = 'waiting' AND due_at > '-infinity';
DROP INDEX deliveries_waiting;
CREATE INDEX deliveries_dead ON deliveries (position) WHERE status = 'dead';

-- Judge finished uploads whose deliveries to those who process them have just been settled, or are none.
CREATE FUNCTION judge_processing(ids text[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- First the rows, then a new statement: of two that settle the last two deliveries of an upload at once, the later
    -- sees what the earlier has settled.
    PERFORM FROM uploads
    WHERE id = ANY (ids) AND status = 'finished' AND processing IN ('waiting', 'failed')
    ORDER BY id FOR UPDATE;
    WITH judged AS MATERIALIZED (
        SELECT uploads.id, events.id AS finish_id, coalesce(bool_or(deliveries.status = 'dead'), false) AS has_failed
        FROM uploads
        JOIN events ON events.upload_id = uploads.id AND events.type = 'upload.finished' AND events.position IS NOT NULL
        LEFT JOIN deliveries ON deliveries.position = events.position AND deliveries.processing
        WHERE uploads.id = ANY (ids) AND uploads.status = 'finished' AND uploads.processing IN ('waiting', 'failed')
        GROUP BY uploads.id, events.id
        HAVING NOT coalesce(bool_or(deliveries.status = 'waiting'), false)
    ), told AS (
        UPDATE uploads SET processing = CASE WHEN judged.has_failed THEN 'failed' ELSE 'done' END
        FROM judged
        WHERE uploads.id = judged.id AND (uploads.processing = 'waiting' OR NOT judged.has_failed)
        RETURNING judged.finish_id, judged.has_failed
    )
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
    SELECT CASE WHEN told.has_failed THEN finish.processing_failed_id ELSE finish.processed_id END,
           CASE WHEN told.has_failed THEN 'upload.processing_failed' ELSE 'upload.processed' END,
           finish.upload_id, finish.data, now(), finish.tenant, finish.job_id
    FROM told JOIN events AS finish ON finish.id = told.finish_id
    WHERE finish.processed_id IS NOT NULL
    ORDER BY finish.position
    ON CONFLICT (id) DO NOTHING;
END $$;

-- One call, so that no client can keep the lock; two statements, because the second needs a snapshot from after it:
-- whatever an earlier relay has numbered is committed by then, and whatever is committed later gets later numbers.
-- Gives the events above `after`, whoever has numbered them; without it, or where it has numbered what is not above it (a
-- restored database), those that it has numbered itself. Whoever listens on the channel is told the payload where there was
-- something to number.
CREATE FUNCTION relay_committed(most integer, after bigint DEFAULT NULL, channel text DEFAULT NULL,
                                payload text DEFAULT '') RETURNS SETOF events
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    numbered bigint[] := '{}';
    places bigint[];
    unwanted text[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tuspy.relay.' || current_schema(), 0));
    -- The second time for what the first has written: that an upload is processed which nobody is to process.
    FOR pass IN 1..2 LOOP
        WITH placed AS MATERIALIZED (
            SELECT first.id, nextval('event_positions') AS position
            FROM (SELECT events.id FROM events WHERE events.position IS NULL
                  ORDER BY events.number LIMIT most) AS first
        ), given AS (
            UPDATE events SET position = placed.position FROM placed WHERE events.id = placed.id
            RETURNING events.position, events.type, events.upload_id, events.processed_id
        ), added AS (
            INSERT INTO deliveries (position, consumer, upload_id, due_at, processing)
            SELECT given.position, consumers.name, given.upload_id, now(),
                   consumers.processing AND given.type = 'upload.finished'
            FROM given JOIN consumers ON given.type = ANY (consumers.types) AND consumers.disabled_reason IS NULL
            ORDER BY given.position
            RETURNING position, processing
        )
        SELECT array_agg(given.position),
               array_agg(given.upload_id) FILTER (
                   WHERE given.processed_id IS NOT NULL
                     AND given.position NOT IN (SELECT added.position FROM added WHERE added.processing))
        INTO places, unwanted FROM given;
        numbered := numbered || places;
        EXIT WHEN unwanted IS NULL;
        PERFORM judge_processing(unwanted);
    END LOOP;
    IF channel IS NOT NULL AND numbered <> '{}' THEN
        PERFORM pg_notify(channel, payload);
    END IF;
    IF after IS NULL OR after >= ANY (numbered) THEN
        RETURN QUERY SELECT * FROM events WHERE events.position = ANY (numbered);
    ELSE
        RETURN QUERY SELECT * FROM events WHERE events.position > after ORDER BY events.position LIMIT most;
    END IF;
END $$;

-- How a node of the version before relays: its consumers become known to the others, and those of the others get theirs.
CREATE OR REPLACE FUNCTION relay_events(consumers text[], types text[], most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO consumers (name, types, processing, registered_at, seen_at)
    SELECT told.name, array_agg(told.type), false, now(), now()
    FROM unnest($1, $2) AS told (name, type) GROUP BY told.name ORDER BY told.name
    ON CONFLICT (name) DO NOTHING;
    RETURN (SELECT count(*) FROM relay_committed($3));
END $$;

-- A failure that is told after another lease has begun is not that one's; a success is a success, also of what has been
-- given up. In one order, so that two calls wait for each other and never in a circle.
CREATE FUNCTION settle_deliveries(positions bigint[], names text[], tries integer[], outcome text, delay interval,
                                  reason text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    settled integer;
    finished text[];
BEGIN
    WITH given AS MATERIALIZED (
        SELECT told.position, told.name, max(told.attempt) AS attempt
        FROM unnest(positions, names, tries) AS told (position, name, attempt)
        GROUP BY told.position, told.name
    ), locked AS MATERIALIZED (
        SELECT deliveries.position, deliveries.consumer
        FROM given JOIN deliveries ON deliveries.position = given.position AND deliveries.consumer = given.name
        WHERE deliveries.status IN ('waiting', CASE WHEN outcome = 'delivered' THEN 'dead' END)
          AND (outcome = 'delivered' OR deliveries.attempts = given.attempt)
        ORDER BY deliveries.position, deliveries.consumer FOR UPDATE OF deliveries
    ), changed AS (
        UPDATE deliveries
        SET status = outcome, due_at = now() + delay, error = reason, leased_by = NULL, lease_token = NULL
        FROM locked WHERE deliveries.position = locked.position AND deliveries.consumer = locked.consumer
        RETURNING deliveries.upload_id, deliveries.processing
    )
    SELECT count(*), array_agg(changed.upload_id) FILTER (WHERE changed.processing AND outcome <> 'waiting')
    INTO settled, finished FROM changed;
    IF finished IS NOT NULL THEN
        PERFORM judge_processing(finished);
    END IF;
    RETURN settled;
END $$;

-- What waits for a consumer that is disabled: dead, so many at a time. The relay's lock first: one that has not seen it
-- disabled has ended by then.
CREATE FUNCTION bury_waiting(name text, most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    buried integer;
    finished text[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tuspy.relay.' || current_schema(), 0));
    WITH locked AS MATERIALIZED (
        SELECT deliveries.position, consumers.disabled_reason AS reason
        FROM consumers JOIN deliveries ON deliveries.consumer = consumers.name AND deliveries.status = 'waiting'
        WHERE consumers.name = bury_waiting.name AND consumers.disabled_reason IS NOT NULL
        ORDER BY deliveries.position LIMIT most FOR UPDATE OF deliveries
    ), changed AS (
        UPDATE deliveries
        SET status = 'dead', due_at = now(), error = locked.reason, leased_by = NULL, lease_token = NULL
        FROM locked WHERE deliveries.position = locked.position AND deliveries.consumer = bury_waiting.name
        RETURNING deliveries.upload_id, deliveries.processing
    )
    SELECT count(*), array_agg(changed.upload_id) FILTER (WHERE changed.processing)
    INTO buried, finished FROM changed;
    IF finished IS NOT NULL THEN
        PERFORM judge_processing(finished);
    END IF;
    RETURN buried;
END $$;

-- The newest events may have been purged while an older one is kept for somebody. The sequence knows better, but it may
-- be ahead of what readers can see, by a relay that has not committed yet: where it is, it is asked behind the lock.
CREATE FUNCTION last_event_position() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    seen bigint;
    last bigint;
BEGIN
    SELECT coalesce(max(events.position), 0) INTO seen FROM events WHERE events.position IS NOT NULL;
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO last FROM event_positions;
    IF seen < last THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('tuspy.relay.' || current_schema(), 0));
        SELECT last_value INTO last FROM event_positions;
    END IF;
    RETURN last;
END $$;
