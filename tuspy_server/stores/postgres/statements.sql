-- Every statement of the PostgreSQL adapter, by name, each one call and one transaction of its own. `{columns}`,
-- `{contested}` and `{recording}` stand for the texts of these names, `{parts_in_flight}` for the model's number. A WITH
-- that changes rows hands its RETURNING on: the rest of the statement sees the tables as they were before it.

-- name: columns
id, status, upload_offset, upload_length, upload_metadata, writer, created_at, expires_at, ended_at,
object_key, part_bytes, multipart_id, contested_to, unsettled, etag;

-- name: contested
-- Where a writer may still have parts under way. GREATEST passes over the NULL of an upload without parts.
greatest(contested_to, upload_offset / part_bytes + 1 + {parts_in_flight});

-- name: recording
-- Parts and pieces of a commit that `fenced` has let through. It may come again, with more, when its answer was lost:
-- of a part the latest counts, of a piece the first. Covered pieces are not assembled any more, only deleted.
-- $8 part numbers, $9 their bytes, $10 etags, $11 crc32c; $12 piece starts, $13 stops, $14 keys, $15 crc32c, $16 levels
new_parts AS (
    INSERT INTO parts (upload_id, part_number, part_bytes, etag, crc32c)
    SELECT DISTINCT ON (part.number) fenced.id, part.number, part.bytes, part.etag, part.crc32c
    FROM fenced, unnest($8::integer[], $9::bigint[], $10::text[], $11::bigint[]) WITH ORDINALITY
                 AS part (number, bytes, etag, crc32c, place)
    ORDER BY part.number, part.place DESC
    ON CONFLICT (upload_id, part_number) DO UPDATE
    SET part_bytes = excluded.part_bytes, etag = excluded.etag, crc32c = excluded.crc32c
    WHERE (parts.part_bytes, parts.etag, parts.crc32c)
          IS DISTINCT FROM (excluded.part_bytes, excluded.etag, excluded.crc32c)
), new AS MATERIALIZED (
    SELECT fenced.id AS upload_id, piece.*
    FROM fenced, unnest($12::bigint[], $13::bigint[], $14::text[], $15::bigint[], $16::integer[]) WITH ORDINALITY
                 AS piece (start_offset, stop_offset, key, crc32c, level, place)
    WHERE NOT EXISTS (SELECT FROM pieces WHERE pieces.upload_id = fenced.id AND pieces.key = piece.key)
), covers AS MATERIALIZED (
    SELECT fenced.id AS upload_id, (number - 1) * fenced.part_bytes AS start_offset,
           number * fenced.part_bytes AS stop_offset, NULL::text AS key, NULL::bigint AS place
    FROM fenced, unnest($8::integer[]) AS number
    UNION ALL
    SELECT upload_id, start_offset, stop_offset, key, place FROM new
), new_pieces AS (
    INSERT INTO pieces (upload_id, key, start_offset, stop_offset, crc32c, level, superseded)
    SELECT new.upload_id, new.key, new.start_offset, new.stop_offset, new.crc32c, new.level,
           EXISTS (SELECT FROM covers
                   WHERE covers.start_offset <= new.start_offset AND new.stop_offset <= covers.stop_offset
                     AND (covers.place IS NULL OR covers.place > new.place AND covers.key <> new.key))
    FROM new
    ON CONFLICT (upload_id, key) DO NOTHING
), covered AS (
    UPDATE pieces SET superseded = true
    FROM covers
    WHERE pieces.upload_id = covers.upload_id AND NOT pieces.superseded
      AND pieces.start_offset >= covers.start_offset AND pieces.start_offset < covers.stop_offset
      AND pieces.stop_offset <= covers.stop_offset
);

-- name: create
-- The node is stored though nobody writes yet: so the first claim, most often on the same one, touches no index.
WITH created AS (
    INSERT INTO uploads (id, status, upload_offset, upload_length, upload_metadata, writer, writer_node,
                         created_at, expires_at, object_key, part_bytes)
    VALUES ($1, 'uploading', 0, $2, $3, $4, $5, now(), least(now() + $6::interval, now() + $7::interval), $8, $9)
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time) SELECT $10::text, $11::text, $12::text, $13::json, now() FROM created
)
SELECT {columns}, now() AS as_of FROM created;

-- name: get
SELECT {columns}, now() AS as_of,
       (SELECT nodes.id FROM nodes
        WHERE nodes.id = uploads.writer_node AND uploads.writer IS NOT NULL
          AND nodes.id <> $2 AND nodes.beat_at > now() - $3::interval) AS writer_node
FROM uploads WHERE id = $1;

-- name: claim
-- The newest claim wins: the usual other writer is a dead connection that nobody has noticed. Claims are ordered by
-- their `as_of` also in the bucket, so it is the time when the row was locked, and not that when the statement came.
UPDATE uploads
SET writer = $2, writer_node = $3,
    contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
    unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
WHERE id = $1 AND status = 'uploading' AND upload_offset = $4::bigint
  AND (expires_at IS NULL OR expires_at > now())
  AND CASE WHEN upload_length IS NULL
           THEN $6::bigint IS NULL OR $6::bigint - $4::bigint >= $5::bigint
           ELSE upload_length - $4::bigint >= $5::bigint AND ($6::bigint IS NULL OR $6::bigint = upload_length) END
RETURNING {columns}, clock_timestamp() AS as_of,
    (SELECT json_agg(json_build_array(piece.start_offset, piece.stop_offset, piece.key, piece.crc32c, piece.level))
     FROM pieces AS piece
     WHERE piece.upload_id = uploads.id AND NOT piece.superseded
       AND piece.start_offset >= uploads.upload_offset / uploads.part_bytes * uploads.part_bytes
       AND piece.start_offset < (uploads.upload_offset / uploads.part_bytes + 1) * uploads.part_bytes) AS pieces;

-- name: commit
WITH fenced AS (
    UPDATE uploads
    SET upload_offset = greatest(upload_offset, $3::bigint),
        upload_length = coalesce($4::bigint, upload_length),
        contested_to = CASE WHEN $5::boolean
                            THEN greatest(contested_to, greatest(upload_offset, $3::bigint) / part_bytes + 1 + {parts_in_flight})
                            ELSE contested_to END,
        unsettled = unsettled OR ($5::boolean AND object_key IS NOT NULL),
        multipart_id = coalesce($6::text, multipart_id),
        etag = coalesce($7::text, etag),
        writer = CASE WHEN $17::boolean THEN NULL ELSE writer END,
        expires_at = least(now() + $18::interval, created_at + $19::interval)
    WHERE id = $1 AND writer = $2 AND status = 'uploading'
    RETURNING {columns}
), {recording}
SELECT {columns}, now() AS as_of FROM fenced;

-- name: complete
WITH fenced AS (
    UPDATE uploads
    SET status = 'completing',
        upload_offset = greatest(upload_offset, $3::bigint),
        upload_length = coalesce($4::bigint, upload_length),
        contested_to = CASE WHEN $5::boolean
                            THEN greatest(contested_to, greatest(upload_offset, $3::bigint) / part_bytes + 1 + {parts_in_flight})
                            ELSE contested_to END,
        unsettled = unsettled OR ($5::boolean AND object_key IS NOT NULL),
        multipart_id = coalesce($6::text, multipart_id),
        etag = coalesce($7::text, etag)
    WHERE id = $1 AND writer = $2 AND status = 'uploading'
    RETURNING {columns}
), {recording}
SELECT {columns}, now() AS as_of FROM fenced;

-- name: finish
-- Its parts are one object now; its pieces wait for their cleanup, also those that only this commit brings.
WITH ended AS (
    UPDATE uploads
    SET status = 'finished', upload_offset = $3::bigint, upload_length = $3::bigint, writer = NULL, writer_node = NULL,
        expires_at = NULL, ended_at = now(),
        contested_to = CASE WHEN $4::boolean
                            THEN greatest(contested_to, greatest(upload_offset, $3::bigint) / part_bytes + 1 + {parts_in_flight})
                            ELSE contested_to END,
        unsettled = unsettled OR ($4::boolean AND object_key IS NOT NULL),
        multipart_id = coalesce($5::text, multipart_id),
        etag = coalesce($6::text, etag)
    WHERE id = $1 AND writer = $2 AND status IN ('uploading', 'completing')
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time) SELECT $7::text, $8::text, $9::text, $10::json, now() FROM ended
), old_parts AS (
    DELETE FROM parts USING ended WHERE parts.upload_id = ended.id
), new_pieces AS (
    INSERT INTO pieces (upload_id, key, start_offset, stop_offset, crc32c, level, superseded)
    SELECT ended.id, piece.key, piece.start_offset, piece.stop_offset, piece.crc32c, piece.level, true
    FROM ended, unnest($12::bigint[], $13::bigint[], $14::text[], $15::bigint[], $16::integer[])
                AS piece (start_offset, stop_offset, key, crc32c, level)
    ON CONFLICT (upload_id, key) DO NOTHING
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $11::interval END FROM ended
    WHERE unsettled OR cardinality($14::text[]) > 0 OR EXISTS (SELECT FROM pieces WHERE pieces.upload_id = ended.id)
)
SELECT {columns}, now() AS as_of FROM ended;

-- name: terminate
WITH ended AS (
    UPDATE uploads
    SET status = 'terminated', writer = NULL, writer_node = NULL, ended_at = now(),
        contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
        unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
    WHERE id = $1 AND status IN ('uploading', 'finished') AND ($2::text IS NULL OR writer = $2)
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time) SELECT $3::text, $4::text, $5::text, $6::json, now() FROM ended
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $7::interval END FROM ended
    ON CONFLICT (upload_id) DO UPDATE
    SET status = excluded.status, due_at = excluded.due_at, again_at = excluded.again_at
)
SELECT {columns}, now() AS as_of FROM ended;

-- name: fail
WITH ended AS (
    UPDATE uploads
    SET status = 'failed', writer = NULL, writer_node = NULL, ended_at = now(),
        contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
        unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
    WHERE id = $1 AND status IN ('uploading', 'completing') AND ($2::text IS NULL OR writer = $2)
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time) SELECT $3::text, $4::text, $5::text, $6::json, now() FROM ended
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $7::interval END FROM ended
)
SELECT {columns}, now() AS as_of FROM ended;

-- name: expired
SELECT {columns}, now() AS as_of FROM uploads
WHERE status = 'uploading' AND expiry_slot <= now() AND expires_at <= now() AND writer IS NULL
ORDER BY expiry_slot, expires_at LIMIT $1;

-- name: expire
-- Of those that `expired` has told: a row that has changed since stays as it is. In one order, so that two sweeps wait
-- for each other and never in a circle.
WITH locked AS MATERIALIZED (
    SELECT id FROM uploads
    WHERE id = ANY ($1::text[]) AND status = 'uploading' AND expires_at <= now() AND writer IS NULL
    ORDER BY id FOR UPDATE
), ended AS (
    UPDATE uploads SET status = 'expired', writer_node = NULL, ended_at = now() WHERE id IN (SELECT id FROM locked)
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time)
    SELECT draft.id, draft.type, draft.upload_id, draft.data, now()
    FROM ended JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::json[])
                    AS draft (ended_id, id, type, upload_id, data) ON draft.ended_id = ended.id
    ORDER BY ended.expires_at
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $6::interval END FROM ended
)
SELECT {columns}, now() AS as_of FROM ended ORDER BY expires_at;

-- name: own_writers
SELECT writer FROM uploads WHERE status = 'uploading' AND writer_node = $1 AND writer IS NOT NULL;

-- name: release_writers
WITH locked AS MATERIALIZED (
    SELECT id FROM uploads
    WHERE status = 'uploading' AND writer_node = $1 AND writer = ANY ($2::text[])
    ORDER BY id FOR UPDATE
)
UPDATE uploads
SET writer = NULL,
    contested_to = {contested},
    unsettled = unsettled OR object_key IS NOT NULL
WHERE id IN (SELECT id FROM locked)
RETURNING id;

-- name: release_dead
-- The rows of nodes whose heart has stopped, also those without a writer: so the dead node is not met again. The nodes
-- are found by one descent of the index each, however many rows they have.
WITH RECURSIVE known AS (
    (SELECT writer_node FROM uploads
     WHERE status = 'uploading' AND writer_node IS NOT NULL ORDER BY writer_node LIMIT 1)
    UNION ALL
    SELECT (SELECT uploads.writer_node FROM uploads
            WHERE uploads.status = 'uploading' AND uploads.writer_node > known.writer_node
            ORDER BY uploads.writer_node LIMIT 1)
    FROM known WHERE known.writer_node IS NOT NULL
), dead AS MATERIALIZED (
    SELECT writer_node FROM known
    WHERE writer_node <> $1
      AND NOT EXISTS (SELECT FROM nodes WHERE nodes.id = known.writer_node AND nodes.beat_at > now() - $2::interval)
), locked AS MATERIALIZED (
    SELECT uploads.id, uploads.writer FROM dead JOIN uploads USING (writer_node)
    WHERE uploads.status = 'uploading'
    LIMIT $3 FOR UPDATE OF uploads SKIP LOCKED
), released AS (
    UPDATE uploads
    SET writer = NULL, writer_node = NULL,
        contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
        unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
    WHERE id IN (SELECT id FROM locked)
)
SELECT count(*)::integer AS seen, count(writer)::integer AS released FROM locked;

-- name: adopt
UPDATE uploads SET writer = $1, writer_node = $2
WHERE status = 'completing' AND id = (
    SELECT id FROM uploads
    WHERE status = 'completing' AND ($3::text IS NULL OR id = $3)
      AND CASE WHEN writer IS NULL OR writer_node IS NULL THEN true
               WHEN writer_node = $2 THEN writer <> ALL ($4::text[])
               ELSE NOT EXISTS (SELECT FROM nodes
                                WHERE nodes.id = writer_node AND nodes.beat_at > now() - $5::interval) END
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {columns}, now() AS as_of;

-- name: tried
UPDATE uploads SET tries = tries + 1 WHERE id = $1 AND writer = $2 AND status = 'completing' RETURNING tries;

-- name: assembly
SELECT 'part' AS kind, part_number::bigint AS first, part_bytes AS second, etag AS name, crc32c, 0 AS level
FROM parts WHERE upload_id = $1
UNION ALL
SELECT 'piece', start_offset, stop_offset, key, crc32c, level FROM pieces WHERE upload_id = $1 AND NOT superseded;

-- name: cleanups
SELECT {columns}, now() AS as_of, ARRAY(SELECT key FROM pieces WHERE pieces.upload_id = id) AS piece_keys
FROM uploads JOIN (SELECT upload_id, due_at FROM cleanups
                   WHERE due_at <= now() ORDER BY due_at, upload_id LIMIT $1) AS due ON due.upload_id = id
ORDER BY due_at, id;

-- name: cleanup
SELECT {columns}, now() AS as_of, ARRAY(SELECT key FROM pieces WHERE pieces.upload_id = id) AS piece_keys
FROM uploads
WHERE id = $1 AND EXISTS (SELECT FROM cleanups WHERE upload_id = id AND due_at <= now());

-- name: cleaned
-- $2: what the cleanup was for. One that has been asked for since stays. An unsettled upload is visited once more.
WITH done AS (
    DELETE FROM cleanups USING unnest($1::text[], $2::text[]) AS visited (id, status)
    WHERE upload_id = visited.id AND cleanups.status = coalesce(visited.status, cleanups.status) AND again_at IS NULL
      AND due_at <= now() -- of two first visits at once the later is no second one
    RETURNING upload_id
), later AS (
    UPDATE cleanups SET due_at = again_at, again_at = NULL
    FROM unnest($1::text[], $2::text[]) AS visited (id, status)
    WHERE upload_id = visited.id AND cleanups.status = coalesce(visited.status, cleanups.status)
      AND again_at IS NOT NULL
), old_parts AS (
    DELETE FROM parts WHERE upload_id IN (SELECT upload_id FROM done)
)
DELETE FROM pieces WHERE upload_id IN (SELECT upload_id FROM done);

-- name: purge
-- Deliveries go with their events; an event that somebody still waits for must not use up the limit.
WITH gone AS MATERIALIZED (
    SELECT id FROM uploads
    WHERE status IN ('failed', 'terminated', 'expired') AND ended_at <= now() - $1::interval
      AND NOT EXISTS (SELECT FROM cleanups WHERE upload_id = id)
    ORDER BY ended_at LIMIT $4 FOR UPDATE SKIP LOCKED
), gone_uploads AS (
    DELETE FROM uploads WHERE id IN (SELECT id FROM gone) RETURNING id
), gone_parts AS (
    DELETE FROM parts WHERE upload_id IN (SELECT id FROM gone)
), gone_pieces AS (
    DELETE FROM pieces WHERE upload_id IN (SELECT id FROM gone)
), old AS MATERIALIZED (
    SELECT id, position FROM events
    WHERE time <= now() - $2::interval AND (position IS NOT NULL OR $3::boolean)
      AND NOT EXISTS (SELECT FROM deliveries
                      WHERE deliveries.position = events.position AND deliveries.status = 'waiting')
    ORDER BY time LIMIT $4 FOR UPDATE SKIP LOCKED
), old_deliveries AS (
    DELETE FROM deliveries WHERE position IN (SELECT position FROM old)
), old_events AS (
    DELETE FROM events WHERE id IN (SELECT id FROM old) RETURNING id
)
SELECT (SELECT count(*) FROM gone_uploads) + (SELECT count(*) FROM old_events) AS purged;

-- name: count_by_status
SELECT status, count(*) AS uploads FROM uploads GROUP BY status;

-- name: beat
WITH forgotten AS (
    DELETE FROM nodes WHERE id <> $1 AND beat_at < now() - $2::interval
)
INSERT INTO nodes (id, beat_at) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at;

-- name: stop_beating
DELETE FROM nodes WHERE id = $1;

-- name: release_leases
-- What a node that has stopped was delivering is due now.
UPDATE deliveries SET due_at = now(), leased_by = NULL
WHERE status = 'waiting' AND due_at > now() AND leased_by IS NOT NULL
  AND NOT EXISTS (SELECT FROM nodes WHERE nodes.id = leased_by AND nodes.beat_at > now() - $1::interval);

-- name: relay
SELECT relay_events($1::text[], $2::text[], $3::integer);

-- name: lease
-- Two leases at once share nothing: what the other has locked is skipped, what it has leased is not due any more.
WITH due AS MATERIALIZED (
    SELECT first.* FROM unnest($1::text[]) AS wanted (consumer), LATERAL (
        SELECT waiting.position, waiting.consumer, waiting.due_at
        FROM deliveries AS waiting
        WHERE waiting.consumer = wanted.consumer AND waiting.status = 'waiting' AND waiting.due_at <= now()
          AND NOT EXISTS (SELECT FROM deliveries AS earlier
                          WHERE earlier.consumer = waiting.consumer AND earlier.upload_id = waiting.upload_id
                            AND earlier.status = 'waiting' AND earlier.position < waiting.position)
        ORDER BY waiting.due_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS first
    ORDER BY first.due_at, first.position, first.consumer LIMIT $2
), leased AS (
    UPDATE deliveries SET attempts = attempts + 1, due_at = now() + $3::interval, leased_by = $4
    FROM due WHERE deliveries.position = due.position AND deliveries.consumer = due.consumer
    RETURNING deliveries.position, deliveries.consumer, deliveries.attempts, due.due_at AS was_due_at
)
SELECT events.id, events.type, events.upload_id, events.data, events.time, events.position,
       leased.consumer, leased.attempts
FROM leased JOIN events ON events.position = leased.position
ORDER BY leased.was_due_at, leased.position, leased.consumer;

-- name: settle
-- A failure that is told after another lease has begun is not that one's; a success is a success.
UPDATE deliveries SET status = $3::text, due_at = now() + $4::interval, error = $5::text, leased_by = NULL
WHERE position = $1 AND consumer = $2 AND status = 'waiting' AND ($3::text = 'delivered' OR attempts = $6::integer);

-- name: next_due
SELECT extract(epoch FROM min(first.due_at) - now())::float8
FROM unnest($1::text[]) AS wanted (consumer), LATERAL (
    SELECT waiting.due_at FROM deliveries AS waiting
    WHERE waiting.consumer = wanted.consumer AND waiting.status = 'waiting'
      AND NOT EXISTS (SELECT FROM deliveries AS earlier
                      WHERE earlier.consumer = waiting.consumer AND earlier.upload_id = waiting.upload_id
                        AND earlier.status = 'waiting' AND earlier.position < waiting.position)
    ORDER BY waiting.due_at LIMIT 1) AS first;

-- name: events_after
SELECT id, type, upload_id, data, time, position FROM events WHERE position > $1 ORDER BY position LIMIT $2;

-- name: notify
SELECT pg_notify($1, $2);
