-- Every statement of the SQLite adapter, by name. :now is the adapter's clock, in microseconds.

-- name: create
-- An id whose events are still there would clash with them later, so it is taken, too.
INSERT INTO uploads (id, status, upload_offset, upload_length, upload_metadata, writer, created_at, expires_at,
                     tenant, job_id, job_number, trusted_metadata, most_bytes, idle_seconds)
SELECT :id, 'uploading', 0, :upload_length, :upload_metadata, :writer, :now,
       min(:now + :idle, coalesce(:now + :cap, :now + :idle)),
       :tenant, :job_id,
       CASE WHEN :job_id IS NOT NULL
            THEN (SELECT coalesce(max(job_number), 0) + 1 FROM uploads WHERE job_id = :job_id) END,
       :trusted_metadata, :most_bytes, :idle_seconds
WHERE NOT EXISTS (SELECT 1 FROM events WHERE upload_id = :id)
  AND (:job_id IS NULL
       OR EXISTS (SELECT 1 FROM jobs WHERE id = :job_id AND cancelled_at IS NULL AND tenant IS :tenant))
ON CONFLICT (id) DO NOTHING
RETURNING *;

-- name: get
SELECT * FROM uploads WHERE id = :id;

-- name: claim
-- The newest claim wins: the usual other writer is a dead connection that nobody has noticed.
UPDATE uploads SET writer = :writer
WHERE id = :id AND status = 'uploading' AND upload_offset = :upload_offset
  AND (:tenant IS NULL OR tenant = :tenant)
  AND (most_bytes IS NULL OR max(:upload_offset + :body_bytes, coalesce(:declared_length, 0)) <= most_bytes)
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
    expires_at = min(:now + coalesce(CAST(round(idle_seconds * 1000000) AS INTEGER), :idle),
                     coalesce(created_at + :cap, :now + CAST(round(idle_seconds * 1000000) AS INTEGER)))
WHERE id = :id AND writer = :writer AND status = 'uploading'
RETURNING *;

-- name: finish
UPDATE uploads
SET status = 'finished', upload_offset = :upload_offset, upload_length = :upload_offset,
    writer = NULL, expires_at = NULL, ended_at = :now,
    processing = (SELECT 'waiting' FROM consumers
                  WHERE processing AND disabled_reason IS NULL AND instr(types, '"upload.finished"') LIMIT 1)
WHERE id = :id AND writer = :writer AND status IN ('uploading', 'completing')
RETURNING *;

-- name: terminate
UPDATE uploads SET status = 'terminated', writer = NULL, ended_at = :now
WHERE id = :id AND status IN ('uploading', 'finished') AND (:writer IS NULL OR writer = :writer)
  AND (NOT :unfinished OR ended_at IS NULL)
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
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = uploads.job_id)
             LIMIT :limit);

-- name: has_any
SELECT id FROM uploads WHERE id > '' LIMIT 1;

-- name: count_by_status
SELECT status, count(*) AS uploads FROM uploads GROUP BY status;
