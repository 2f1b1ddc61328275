-- Events, consumers and deliveries. :now is the adapter's clock, in microseconds; {condition} is made of the columns that
-- a filter names.

-- name: add_event
INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
VALUES (:id, :type, :upload_id, :data, :now, :tenant, :job_id);

-- name: events
SELECT * FROM events WHERE {condition} ORDER BY position LIMIT :limit;

-- name: event_at
SELECT * FROM events WHERE position = :position;

-- name: last_position
SELECT seq FROM sqlite_sequence WHERE name = 'events';

-- name: to_relay
SELECT * FROM events WHERE relayed = 0 ORDER BY position LIMIT :limit;

-- name: events_above
SELECT * FROM events WHERE position > :after ORDER BY position LIMIT :limit;

-- name: add_deliveries
INSERT OR IGNORE INTO deliveries (position, consumer, upload_id, due_at, processing)
SELECT events.position, consumers.name, events.upload_id, :now,
       consumers.processing AND events.type = 'upload.finished'
FROM events JOIN consumers ON instr(consumers.types, '"' || events.type || '"')
WHERE events.relayed = 0 AND events.position <= :last AND consumers.disabled_reason IS NULL
ORDER BY events.position;

-- name: waited_for_by_none
-- Those who were to process it have gone since it finished.
SELECT events.position, events.upload_id
FROM events JOIN uploads ON uploads.id = events.upload_id
WHERE events.relayed = 0 AND events.position <= :last AND events.type = 'upload.finished'
  AND uploads.processing = 'waiting'
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.position = events.position AND deliveries.processing);

-- name: relayed
UPDATE events SET relayed = 1 WHERE relayed = 0 AND position <= :last;

-- name: due_deliveries
SELECT events.*, deliveries.attempts, coalesce(deliveries.first_leased_at, :now) AS first_leased_at
FROM deliveries JOIN events ON events.position = deliveries.position
WHERE deliveries.consumer = :consumer AND deliveries.status = 'waiting' AND deliveries.due_at <= :now
  AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier
                  WHERE earlier.consumer = deliveries.consumer AND earlier.upload_id = deliveries.upload_id
                    AND earlier.status = 'waiting' AND earlier.position < deliveries.position)
ORDER BY deliveries.due_at, deliveries.position LIMIT :limit;

-- name: lease_delivery
-- error IS NULL marks what is on its way, so that a start can tell it from what waits for its next attempt.
UPDATE deliveries
SET attempts = attempts + 1, due_at = :due_at, error = NULL, first_leased_at = coalesce(first_leased_at, :now)
WHERE position = :position AND consumer = :consumer;

-- name: unlease_delivery
UPDATE deliveries
SET attempts = attempts - 1, due_at = :now,
    first_leased_at = CASE attempts WHEN 1 THEN NULL ELSE first_leased_at END
WHERE position = :position AND consumer = :consumer AND status = 'waiting'
  AND attempts = :attempts AND due_at = :due_at;

-- name: release_leases
-- At the start nothing is on its way: what a crash interrupted is due now.
UPDATE deliveries SET due_at = :now WHERE status = 'waiting' AND due_at > :now AND error IS NULL;

-- name: settle_delivered
-- Also what was given up meanwhile: it has arrived.
UPDATE deliveries SET status = 'delivered', error = NULL
WHERE position = :position AND consumer = :consumer AND status <> 'delivered'
RETURNING position, upload_id, processing;

-- name: settle_retry
UPDATE deliveries SET due_at = :due_at, error = :error
WHERE position = :position AND consumer = :consumer AND status = 'waiting';

-- name: settle_dead
UPDATE deliveries SET status = 'dead', error = :error
WHERE position = :position AND consumer = :consumer AND status = 'waiting'
RETURNING position, upload_id, processing;

-- name: settle_all_dead
UPDATE deliveries SET status = 'dead', error = :error
WHERE consumer = :consumer AND status = 'waiting'
RETURNING position, upload_id, processing;

-- name: settle_processing
UPDATE uploads
SET processing = CASE WHEN EXISTS (SELECT 1 FROM deliveries
                                   WHERE position = :position AND processing AND status = 'dead')
                      THEN 'failed' ELSE 'done' END
WHERE id = :upload_id AND status = 'finished'
  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE position = :position AND processing AND status = 'waiting')
  AND (processing = 'waiting'
       OR processing = 'failed'
          AND NOT EXISTS (SELECT 1 FROM deliveries WHERE position = :position AND processing AND status = 'dead'))
RETURNING processing;

-- name: add_processed
-- The same event may have been written by an earlier turn from failed to waiting.
INSERT OR IGNORE INTO events (id, type, upload_id, data, time, tenant, job_id)
SELECT :id, :type, upload_id, data, :now, tenant, job_id FROM events WHERE position = :position;

-- name: backlog
SELECT (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE status = 'waiting'
                              ORDER BY consumer, due_at LIMIT :most)) AS waiting,
       (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE status = 'dead' ORDER BY position LIMIT :most)) AS dead,
       (SELECT time FROM events WHERE relayed = 0 ORDER BY position LIMIT 1) AS oldest;

-- name: next_due
SELECT min(due_at) AS due_at FROM deliveries
WHERE status = 'waiting' AND consumer = :consumer
  AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier
                  WHERE earlier.consumer = deliveries.consumer AND earlier.upload_id = deliveries.upload_id
                    AND earlier.status = 'waiting' AND earlier.position < deliveries.position);

-- name: purge_deliveries
-- Of the events that purge_events deletes next. Those that somebody still waits for must not use up the limit.
DELETE FROM deliveries
WHERE position IN (SELECT position FROM events
                   WHERE time <= :event_before AND relayed
                     AND NOT EXISTS (SELECT 1 FROM deliveries AS waiting
                                     WHERE waiting.position = events.position AND waiting.status = 'waiting')
                   ORDER BY time LIMIT :limit);

-- name: purge_events
DELETE FROM events
WHERE position IN (SELECT position FROM events
                   WHERE time <= :event_before AND relayed
                     AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.position = events.position)
                   ORDER BY time LIMIT :limit);

-- name: register
INSERT INTO consumers (name, types, processing, registered_at, seen_at)
VALUES (:name, :types, :processing, :now, :now)
ON CONFLICT (name) DO UPDATE SET types = excluded.types, processing = excluded.processing, seen_at = excluded.seen_at;

-- name: consumers
SELECT * FROM consumers ORDER BY name;

-- name: consumer
SELECT * FROM consumers WHERE name = :name;

-- name: unseen_consumers
SELECT name FROM consumers WHERE seen_at <= :seen_before;

-- name: unregister
DELETE FROM consumers WHERE name = :name;

-- name: disable
UPDATE consumers SET disabled_reason = :reason WHERE name = :name;

-- name: enable
UPDATE consumers SET disabled_reason = NULL WHERE name = :name;

-- name: deliveries
SELECT events.*, deliveries.consumer, deliveries.status, deliveries.attempts, deliveries.due_at, deliveries.error
FROM deliveries JOIN events ON events.position = deliveries.position
WHERE {condition}
ORDER BY deliveries.position DESC, deliveries.consumer LIMIT :limit;

-- name: retry_now
-- What is on its way stays so.
UPDATE deliveries
SET status = 'waiting', due_at = :now, attempts = CASE status WHEN 'dead' THEN 0 ELSE attempts END,
    first_leased_at = CASE status WHEN 'dead' THEN NULL ELSE first_leased_at END
WHERE (position, consumer) IN (SELECT deliveries.position, deliveries.consumer
                               FROM deliveries JOIN events ON events.position = deliveries.position
                               WHERE {condition})
  AND NOT (status = 'waiting' AND attempts > 0 AND error IS NULL AND due_at > :now)
  AND EXISTS (SELECT 1 FROM consumers WHERE name = deliveries.consumer AND disabled_reason IS NULL);

-- name: replay
INSERT INTO deliveries (position, consumer, upload_id, due_at, processing)
SELECT events.position, consumers.name, events.upload_id, :now,
       consumers.processing AND events.type = 'upload.finished'
FROM consumers JOIN events ON instr(consumers.types, '"' || events.type || '"')
WHERE consumers.name = :consumer AND consumers.disabled_reason IS NULL AND events.relayed AND {condition}
ON CONFLICT (position, consumer) DO UPDATE
SET status = 'waiting', attempts = 0, first_leased_at = NULL, due_at = excluded.due_at, error = NULL
WHERE status <> 'waiting';
