-- Hearts, writers of nodes that have stopped, and what nodes tell one another.

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
    -- A join would read all rows of the dead nodes for each batch of them.
    SELECT theirs.id, theirs.writer
    FROM dead CROSS JOIN LATERAL (
        SELECT uploads.id, uploads.writer FROM uploads
        WHERE uploads.status = 'uploading' AND uploads.writer_node = dead.writer_node
        ORDER BY uploads.writer_node LIMIT $3 FOR UPDATE SKIP LOCKED
    ) AS theirs
    LIMIT $3
), released AS (
    UPDATE uploads
    SET writer = NULL, writer_node = NULL,
        contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
        unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
    WHERE id IN (SELECT id FROM locked)
)
SELECT count(*)::integer AS seen, count(writer)::integer AS released FROM locked;

-- name: beat
WITH forgotten AS (
    DELETE FROM nodes WHERE id <> $1 AND beat_at < now() - $2::interval
)
INSERT INTO nodes (id, beat_at) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at;

-- name: stop_beating
DELETE FROM nodes WHERE id = $1;

-- name: release_leases
-- What a node that has stopped was delivering is due now.
UPDATE deliveries SET due_at = now(), leased_by = NULL, lease_token = NULL
WHERE status = 'waiting' AND due_at > now() AND leased_by IS NOT NULL
  AND NOT EXISTS (SELECT FROM nodes WHERE nodes.id = leased_by AND nodes.beat_at > now() - $1::interval);

-- name: notify
SELECT pg_notify($1, $2);

-- name: queue_usage
-- From 0 to 1.
SELECT pg_notification_queue_usage();
