-- Events, and their way to consumers and readers. What changes several tables after a lock is a function: see 0002.

-- name: event_columns
events.id, events.type, events.upload_id, events.data, events.time, events.position, events.tenant, events.job_id;

-- name: delivery_columns
deliveries.consumer, deliveries.status, deliveries.attempts, deliveries.due_at, deliveries.error;

-- name: register
INSERT INTO consumers (name, types, processing, registered_at, seen_at)
SELECT given.name, string_to_array(given.types, ','), given.processing, now(), now()
FROM unnest($1::text[], $2::text[], $3::boolean[]) AS given (name, types, processing)
ORDER BY given.name
ON CONFLICT (name) DO UPDATE
SET types = excluded.types, processing = excluded.processing, seen_at = excluded.seen_at,
    disabled_reason = nullif(consumers.disabled_reason, 'unregistered'); -- one that was forgotten is new

-- name: consumers
SELECT name, types, processing, registered_at, seen_at, disabled_reason FROM consumers ORDER BY name;

-- name: disable
UPDATE consumers SET disabled_reason = $2 WHERE name = $1 RETURNING name;

-- name: disable_unseen
UPDATE consumers SET disabled_reason = 'unregistered'
WHERE name = $1 AND seen_at <= now() - $2::interval RETURNING name;

-- name: enable
UPDATE consumers SET disabled_reason = NULL WHERE name = $1 RETURNING name;

-- name: bury_waiting
SELECT bury_waiting($1::text, $2::integer);

-- name: forget
-- Unless its process has come back meanwhile.
DELETE FROM consumers WHERE name = $1 AND disabled_reason = 'unregistered' RETURNING name;

-- name: unseen
SELECT name FROM consumers WHERE seen_at <= now() - $1::interval ORDER BY name;

-- name: half_buried
-- A crash may come between the two steps of disabling a consumer.
SELECT name FROM consumers
WHERE disabled_reason IS NOT NULL
  AND EXISTS (SELECT FROM deliveries WHERE deliveries.consumer = consumers.name AND deliveries.status = 'waiting')
ORDER BY name;

-- name: relay
SELECT {event_columns} FROM relay_committed($1::integer, $2::bigint, $3::text, $4::text) AS events
ORDER BY events.position;

-- name: lease
-- Two leases at once share nothing: what the other has locked is skipped, what it has leased is not due any more.
-- The bound of due_at that all pass is that of deliveries_due: the earliest of an upload, asked for without it, can only
-- be looked for in deliveries_in_order. As long as the table has no statistics the planner would take either.
-- A replay and a purge that have not seen each other leave a delivery without its event: it must hold up no other.
WITH due AS MATERIALIZED (
    SELECT first.*, (SELECT events.position FROM events WHERE events.position = first.position) AS found
    FROM unnest($1::text[]) AS wanted (consumer), LATERAL (
        SELECT waiting.position, waiting.consumer, waiting.due_at
        FROM deliveries AS waiting
        WHERE waiting.consumer = wanted.consumer AND waiting.status = 'waiting'
          AND waiting.due_at > '-infinity' AND waiting.due_at <= now()
          AND waiting.position = (SELECT earliest.position FROM deliveries AS earliest
                                  WHERE earliest.consumer = waiting.consumer AND earliest.status = 'waiting'
                                    AND earliest.upload_id = waiting.upload_id
                                  ORDER BY earliest.consumer, earliest.upload_id, earliest.position LIMIT 1)
        ORDER BY waiting.due_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS first
    WHERE NOT EXISTS (SELECT FROM consumers WHERE name = wanted.consumer AND disabled_reason IS NOT NULL)
    ORDER BY first.due_at, first.position, first.consumer LIMIT $2
), lost AS (
    DELETE FROM deliveries USING due
    WHERE deliveries.position = due.position AND deliveries.consumer = due.consumer AND due.found IS NULL
), leased AS (
    UPDATE deliveries
    SET attempts = attempts + 1, due_at = now() + $3::interval, leased_by = $4::text, lease_token = $5::text,
        first_leased_at = CASE WHEN attempts = 0 THEN now() ELSE coalesce(first_leased_at, now()) END
    FROM due WHERE deliveries.position = due.found AND deliveries.consumer = due.consumer
    RETURNING deliveries.position, deliveries.consumer, deliveries.attempts, due.due_at AS was_due_at,
        extract(epoch FROM now() - deliveries.first_leased_at)::float8 AS tried_seconds
)
SELECT {event_columns}, leased.consumer, leased.attempts, leased.tried_seconds
FROM leased JOIN events ON events.position = leased.position
ORDER BY leased.was_due_at, leased.position, leased.consumer;

-- name: take_back
-- Leases whose answers were lost: nobody has tried to deliver them.
UPDATE deliveries SET due_at = now(), attempts = attempts - 1, leased_by = NULL, lease_token = NULL
WHERE consumer = ANY ($1::text[]) AND status = 'waiting' AND due_at > now() AND lease_token = ANY ($2::text[]);

-- name: settle
SELECT settle_deliveries($1::bigint[], $2::text[], $3::integer[], $4::text, $5::interval, $6::text);

-- name: next_due
SELECT extract(epoch FROM min(first.due_at) - now())::float8
FROM unnest($1::text[]) AS wanted (consumer), LATERAL (
    SELECT waiting.due_at FROM deliveries AS waiting
    WHERE waiting.consumer = wanted.consumer AND waiting.status = 'waiting' AND waiting.due_at > '-infinity'
      AND waiting.position = (SELECT earliest.position FROM deliveries AS earliest
                              WHERE earliest.consumer = waiting.consumer AND earliest.status = 'waiting'
                                AND earliest.upload_id = waiting.upload_id
                              ORDER BY earliest.consumer, earliest.upload_id, earliest.position LIMIT 1)
    ORDER BY waiting.due_at LIMIT 1) AS first
WHERE NOT EXISTS (SELECT FROM consumers WHERE name = wanted.consumer AND disabled_reason IS NOT NULL);

-- name: events_after
SELECT {event_columns} FROM events
WHERE position > $1 AND position <= coalesce($2::bigint, 9223372036854775807)
  AND ($3::text IS NULL OR tenant = $3) AND (cardinality($4::text[]) = 0 OR type = ANY ($4))
ORDER BY position LIMIT $5;

-- name: events_of_upload
SELECT {event_columns} FROM events
WHERE upload_id = $6 AND position > $1 AND position <= coalesce($2::bigint, 9223372036854775807)
  AND ($3::text IS NULL OR tenant = $3) AND (cardinality($4::text[]) = 0 OR type = ANY ($4))
  AND ($7::text IS NULL OR job_id = $7)
ORDER BY position LIMIT $5;

-- name: events_of_job
SELECT {event_columns} FROM events
WHERE job_id = $6 AND position > $1 AND position <= coalesce($2::bigint, 9223372036854775807)
  AND ($3::text IS NULL OR tenant = $3) AND (cardinality($4::text[]) = 0 OR type = ANY ($4))
ORDER BY position LIMIT $5;

-- name: event_at
SELECT {event_columns} FROM events WHERE position = $1;

-- name: last_position
SELECT last_event_position();

-- name: deliveries_any
SELECT {event_columns}, {delivery_columns}
FROM deliveries JOIN events USING (position)
WHERE ($1::text IS NULL OR deliveries.consumer = $1) AND ($2::text IS NULL OR deliveries.status = $2)
ORDER BY deliveries.position DESC, deliveries.consumer LIMIT $3;

-- name: deliveries_waiting
SELECT {event_columns}, {delivery_columns}
FROM (SELECT * FROM deliveries
      WHERE status = 'waiting' AND ($1::text IS NULL OR consumer = $1)
      ORDER BY position DESC, consumer LIMIT $2) AS deliveries
JOIN events USING (position)
ORDER BY deliveries.position DESC, deliveries.consumer;

-- name: deliveries_dead
SELECT {event_columns}, {delivery_columns}
FROM (SELECT * FROM deliveries
      WHERE status = 'dead' AND ($1::text IS NULL OR consumer = $1)
      ORDER BY position DESC, consumer LIMIT $2) AS deliveries
JOIN events USING (position)
ORDER BY deliveries.position DESC, deliveries.consumer;

-- name: deliveries_of_events
SELECT {event_columns}, {delivery_columns}
FROM (SELECT * FROM events WHERE id = $1::text AND ($2::text IS NULL OR upload_id = $2)
      UNION ALL
      SELECT * FROM events WHERE $1::text IS NULL AND upload_id = $2) AS events
JOIN deliveries USING (position)
WHERE ($3::text IS NULL OR deliveries.consumer = $3) AND ($4::text IS NULL OR deliveries.status = $4)
ORDER BY deliveries.position DESC, deliveries.consumer LIMIT $5;

-- name: backlog
-- In the order of an index, so that the table is never read for it.
SELECT (SELECT count(*) FROM (SELECT FROM deliveries WHERE status = 'waiting' AND due_at > '-infinity'
                              ORDER BY consumer, due_at LIMIT $1) AS waiting) AS waiting,
       (SELECT count(*) FROM (SELECT FROM deliveries WHERE status = 'dead' ORDER BY position LIMIT $1) AS dead) AS dead,
       coalesce((SELECT greatest(extract(epoch FROM now() - time), 0)::float8 FROM events WHERE position IS NULL
                 ORDER BY number LIMIT 1), 0) AS lag_seconds;

-- name: retry_now
-- What is on its way stays so: its lease ends by itself.
WITH found AS (
    SELECT position, consumer, upload_id FROM deliveries
    WHERE status = 'waiting' AND (leased_by IS NULL OR due_at <= now()) AND coalesce($2::text, 'waiting') = 'waiting'
      AND ($1::text IS NULL OR consumer = $1)
    UNION ALL
    SELECT position, consumer, upload_id FROM deliveries
    WHERE status = 'dead' AND coalesce($2::text, 'dead') = 'dead' AND ($1::text IS NULL OR consumer = $1)
), locked AS MATERIALIZED (
    SELECT deliveries.position, deliveries.consumer
    FROM found JOIN deliveries USING (position, consumer)
    WHERE ($3::text IS NULL OR found.upload_id = $3)
      AND ($4::text IS NULL OR found.position = (SELECT position FROM events WHERE id = $4))
      AND EXISTS (SELECT FROM consumers WHERE name = found.consumer AND disabled_reason IS NULL)
      AND deliveries.status IN ('waiting', 'dead')
    ORDER BY deliveries.position, deliveries.consumer FOR UPDATE OF deliveries
), due AS (
    UPDATE deliveries
    SET status = 'waiting', due_at = now(), attempts = CASE WHEN status = 'dead' THEN 0 ELSE attempts END
    FROM locked WHERE deliveries.position = locked.position AND deliveries.consumer = locked.consumer
    RETURNING 1
)
SELECT count(*) FROM due;

-- name: replay
WITH again AS (
    INSERT INTO deliveries (position, consumer, upload_id, due_at, processing)
    SELECT events.position, consumers.name, events.upload_id, now(),
           consumers.processing AND events.type = 'upload.finished'
    FROM events JOIN consumers
      ON consumers.name = $1 AND consumers.disabled_reason IS NULL AND events.type = ANY (consumers.types)
    WHERE events.position > $2 AND events.position <= coalesce($3::bigint, 9223372036854775807)
      AND ($4::text IS NULL OR events.tenant = $4) AND (cardinality($5::text[]) = 0 OR events.type = ANY ($5))
      AND ($6::text IS NULL OR events.upload_id = $6) AND ($7::text IS NULL OR events.job_id = $7)
    ORDER BY events.position
    ON CONFLICT (position, consumer) DO UPDATE
    SET status = 'waiting', due_at = now(), attempts = 0, error = NULL, processing = excluded.processing
    WHERE deliveries.status <> 'waiting'
    RETURNING 1
)
SELECT count(*) FROM again;
