-- Every statement of the SQLite adapter, by name. :now is the adapter's clock, in microseconds.

-- name: create
INSERT INTO uploads (id, status, upload_offset, upload_length, upload_metadata, writer, created_at, expires_at)
VALUES (:id, 'uploading', 0, :upload_length, :upload_metadata, :writer, :now,
        min(:now + :idle, :now + :cap))
RETURNING *;

-- name: get
SELECT * FROM uploads WHERE id = :id;

-- name: claim
-- The newest claim wins: the usual other writer is a dead connection that nobody has noticed.
UPDATE uploads SET writer = :writer
WHERE id = :id AND status = 'uploading' AND upload_offset = :upload_offset
  AND (expires_at IS NULL OR expires_at > :now)
  AND CASE WHEN upload_length IS NULL
           THEN :declared_length IS NULL OR :declared_length >= :upload_offset + :body_bytes
           ELSE :upload_offset + :body_bytes <= upload_length
                AND (:declared_length IS NULL OR :declared_length = upload_length) END
RETURNING *;

-- name: commit
UPDATE uploads
SET upload_offset = max(upload_offset, :upload_offset),
    upload_length = coalesce(:upload_length, upload_length),
    writer = CASE WHEN :release THEN NULL ELSE writer END,
    expires_at = min(:now + :idle, created_at + :cap)
WHERE id = :id AND writer = :writer AND status = 'uploading'
RETURNING *;

-- name: finish
UPDATE uploads
SET status = 'finished', upload_offset = :upload_offset, upload_length = :upload_offset,
    writer = NULL, expires_at = NULL, ended_at = :now
WHERE id = :id AND writer = :writer AND status IN ('uploading', 'completing')
RETURNING *;

-- name: terminate
UPDATE uploads SET status = 'terminated', writer = NULL, ended_at = :now
WHERE id = :id AND status IN ('uploading', 'finished') AND (:writer IS NULL OR writer = :writer)
RETURNING *;

-- name: fail
UPDATE uploads SET status = 'failed', writer = NULL, ended_at = :now
WHERE id = :id AND status IN ('uploading', 'completing') AND (:writer IS NULL OR writer = :writer)
RETURNING *;

-- name: expired
SELECT * FROM uploads
WHERE status = 'uploading' AND expires_at <= :now AND writer IS NULL
ORDER BY expires_at LIMIT :limit;

-- name: expire
UPDATE uploads SET status = 'expired', ended_at = :now
WHERE id IN (SELECT id FROM uploads
             WHERE status = 'uploading' AND expires_at <= :now AND writer IS NULL
             ORDER BY expires_at LIMIT :limit)
RETURNING *;

-- name: forget_writers
-- At the start no request runs: every writer is of a process that is gone.
UPDATE uploads SET writer = NULL WHERE writer IS NOT NULL;

-- name: writers
SELECT writer FROM uploads WHERE writer IS NOT NULL;

-- name: release_writers
UPDATE uploads SET writer = NULL
WHERE writer IS NOT NULL AND writer IN (SELECT value FROM json_each(:lost));

-- name: add_cleanup
INSERT OR IGNORE INTO cleanups (upload_id, created_at) VALUES (:id, :now);

-- name: cleanups
SELECT uploads.* FROM cleanups JOIN uploads ON uploads.id = cleanups.upload_id
ORDER BY cleanups.created_at LIMIT :limit;

-- name: cleaned
DELETE FROM cleanups WHERE upload_id = :id;

-- name: purge_uploads
DELETE FROM uploads
WHERE id IN (SELECT id FROM uploads
             WHERE status IN ('failed', 'terminated', 'expired') AND ended_at <= :gone_before
               AND id NOT IN (SELECT upload_id FROM cleanups)
             LIMIT :limit);

-- name: purge_deliveries
-- Of the events that purge_events deletes next. Those that somebody still waits for must not use up the limit.
DELETE FROM deliveries
WHERE position IN (SELECT position FROM events
                   WHERE time <= :event_before AND (relayed OR :unrelayed)
                     AND NOT EXISTS (SELECT 1 FROM deliveries AS waiting
                                     WHERE waiting.position = events.position AND waiting.status = 'waiting')
                   ORDER BY time LIMIT :limit);

-- name: purge_events
DELETE FROM events
WHERE position IN (SELECT position FROM events
                   WHERE time <= :event_before AND (relayed OR :unrelayed)
                     AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.position = events.position)
                   ORDER BY time LIMIT :limit);

-- name: count_by_status
SELECT status, count(*) AS uploads FROM uploads GROUP BY status;

-- name: add_event
INSERT INTO events (id, type, upload_id, data, time) VALUES (:id, :type, :upload_id, :data, :now);

-- name: to_relay
SELECT position, type, upload_id FROM events WHERE relayed = 0 ORDER BY position LIMIT :limit;

-- name: relayed
UPDATE events SET relayed = 1 WHERE position = :position;

-- name: add_delivery
INSERT OR IGNORE INTO deliveries (position, consumer, upload_id, due_at)
VALUES (:position, :consumer, :upload_id, :now);

-- name: due_deliveries
SELECT events.*, deliveries.attempts
FROM deliveries JOIN events ON events.position = deliveries.position
WHERE deliveries.consumer = :consumer AND deliveries.status = 'waiting' AND deliveries.due_at <= :now
  AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier
                  WHERE earlier.consumer = deliveries.consumer AND earlier.upload_id = deliveries.upload_id
                    AND earlier.status = 'waiting' AND earlier.position < deliveries.position)
ORDER BY deliveries.due_at LIMIT :limit;

-- name: lease_delivery
-- error IS NULL marks what is on its way, so that a start can tell it from what waits for its next attempt.
UPDATE deliveries SET attempts = attempts + 1, due_at = :due_at, error = NULL
WHERE position = :position AND consumer = :consumer;

-- name: settle_delivery
UPDATE deliveries SET status = :status, due_at = :due_at, error = :error
WHERE position = :position AND consumer = :consumer AND status = 'waiting';

-- name: release_leases
-- At the start nothing is on its way: what a crash interrupted is due now.
UPDATE deliveries SET due_at = :now WHERE status = 'waiting' AND due_at > :now AND error IS NULL;

-- name: next_due
SELECT min(due_at) AS due_at FROM deliveries
WHERE status = 'waiting' AND consumer = :consumer
  AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier
                  WHERE earlier.consumer = deliveries.consumer AND earlier.upload_id = deliveries.upload_id
                    AND earlier.status = 'waiting' AND earlier.position < deliveries.position);

-- name: events_after
SELECT * FROM events WHERE position > :after ORDER BY position LIMIT :limit;
