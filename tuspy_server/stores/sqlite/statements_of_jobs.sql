-- Jobs. :now is the adapter's clock, in microseconds.

-- name: create_job
-- An id that uploads of a forgotten job still name is taken, too: its files would appear in the new one.
INSERT INTO jobs (id, tenant, created_at)
SELECT :id, :tenant, :now WHERE NOT EXISTS (SELECT 1 FROM uploads WHERE job_id = :id)
ON CONFLICT (id) DO NOTHING
RETURNING *;

-- name: get_job
SELECT * FROM jobs WHERE id = :id AND (:tenant IS NULL OR tenant = :tenant);

-- name: list_jobs
SELECT * FROM jobs
WHERE (created_at, id) < (:created_at, :id)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: list_jobs_of_tenant
SELECT * FROM jobs
WHERE tenant = :tenant AND (created_at, id) < (:created_at, :id)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: job_files
SELECT * FROM uploads WHERE job_id = :job_id AND job_number > :after ORDER BY job_number LIMIT :limit;

-- name: cancel_job
UPDATE jobs SET cancelled_at = coalesce(cancelled_at, :now)
WHERE id = :id AND (:tenant IS NULL OR tenant = :tenant)
RETURNING *;

-- name: left_empty_files
SELECT * FROM uploads
WHERE job_id IS NOT NULL AND status = 'uploading' AND upload_length = 0 AND writer IS NULL
ORDER BY created_at, id LIMIT :limit;

-- name: left_cancelled_files
SELECT uploads.* FROM jobs JOIN uploads ON uploads.job_id = jobs.id
WHERE jobs.cancelled_at IS NOT NULL AND uploads.job_id IS NOT NULL AND uploads.status = 'uploading'
ORDER BY uploads.created_at, uploads.id LIMIT :limit;

-- name: purge_jobs
DELETE FROM jobs
WHERE id IN (SELECT id FROM jobs
             WHERE created_at <= :created_before
               AND NOT EXISTS (SELECT 1 FROM uploads
                               WHERE uploads.job_id = jobs.id
                                 AND (status IN ('uploading', 'completing')
                                      OR status = 'finished' AND processing = 'waiting'))
             ORDER BY created_at LIMIT :limit);
