-- Endings of uploads, and what comes after them.

-- name: terminate
WITH ended AS (
    UPDATE uploads
    SET status = 'terminated', writer = NULL, writer_node = NULL, ended_at = now(),
        contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
        unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
    WHERE id = $1 AND status IN ('uploading', 'finished') AND ($2::text IS NULL OR writer = $2)
      AND status <> CASE WHEN $10::boolean THEN 'finished' ELSE '' END
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
    SELECT $3::text, $4::text, $5::text, $6::json, now(), $7::text, $8::text FROM ended
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $9::interval END FROM ended
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
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
    SELECT $3::text, $4::text, $5::text, $6::json, now(), $7::text, $8::text FROM ended
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $9::interval END FROM ended
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
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
    SELECT draft.id, draft.type, draft.upload_id, draft.data, now(), draft.tenant, draft.job_id
    FROM ended JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::json[], $6::text[], $7::text[])
                    AS draft (ended_id, id, type, upload_id, data, tenant, job_id) ON draft.ended_id = ended.id
    ORDER BY ended.expires_at
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $8::interval END FROM ended
)
SELECT {columns}, now() AS as_of FROM ended ORDER BY expires_at;

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
-- Deliveries go with their events; an event that somebody still waits for must not use up the limit. A job knows all its
-- files for as long as it is known.
WITH gone AS MATERIALIZED (
    SELECT id FROM uploads
    WHERE status IN ('failed', 'terminated', 'expired') AND ended_at <= now() - $1::interval
      AND NOT EXISTS (SELECT FROM cleanups WHERE upload_id = id)
      AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = uploads.job_id)
    ORDER BY ended_at LIMIT $3 FOR UPDATE SKIP LOCKED
), gone_uploads AS (
    DELETE FROM uploads WHERE id IN (SELECT id FROM gone) RETURNING id
), gone_parts AS (
    DELETE FROM parts WHERE upload_id IN (SELECT id FROM gone)
), gone_pieces AS (
    DELETE FROM pieces WHERE upload_id IN (SELECT id FROM gone)
), old AS MATERIALIZED (
    SELECT id, position FROM events
    WHERE time <= now() - $2::interval AND position IS NOT NULL
      AND NOT EXISTS (SELECT FROM deliveries
                      WHERE deliveries.position = events.position AND deliveries.status = 'waiting')
    ORDER BY time LIMIT $3 FOR UPDATE SKIP LOCKED
), old_deliveries AS (
    DELETE FROM deliveries WHERE position IN (SELECT position FROM old)
), old_events AS (
    DELETE FROM events WHERE id IN (SELECT id FROM old) RETURNING id
)
SELECT (SELECT count(*) FROM gone_uploads) + (SELECT count(*) FROM old_events) AS purged;

-- name: has_any
SELECT id FROM uploads ORDER BY id LIMIT 1;

-- name: count_by_status
SELECT status, count(*) AS uploads FROM uploads GROUP BY status;
