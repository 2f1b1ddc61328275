-- Jobs, and questions about many uploads. :now is the adapter's clock, in microseconds; {condition} is made of the columns
-- that a filter names. Sums of bytes come in two halves: two uploads can have more than an integer holds.

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
WHERE (created_at, id) < (:before_created_at, :before_id)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: list_jobs_of_tenant
SELECT * FROM jobs
WHERE tenant = :tenant AND (created_at, id) < (:before_created_at, :before_id)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: job_files
SELECT * FROM uploads WHERE job_id = :job_id AND job_number > :after ORDER BY job_number LIMIT :limit;

-- name: cancel_job
UPDATE jobs SET cancelled_at = coalesce(cancelled_at, :now)
WHERE id = :id AND (:tenant IS NULL OR tenant = :tenant)
RETURNING *;

-- name: left_files
SELECT * FROM uploads
WHERE job_id IS NOT NULL AND status = 'uploading' AND upload_length = 0 AND writer IS NULL
UNION
SELECT uploads.* FROM jobs JOIN uploads ON uploads.job_id = jobs.id
WHERE jobs.cancelled_at IS NOT NULL AND uploads.job_id IS NOT NULL AND uploads.status = 'uploading'
ORDER BY created_at, id LIMIT :limit;

-- name: purge_jobs
DELETE FROM jobs
WHERE id IN (SELECT id FROM jobs
             WHERE created_at <= :created_before
               AND NOT EXISTS (SELECT 1 FROM uploads
                               WHERE uploads.job_id = jobs.id
                                 AND (status IN ('uploading', 'completing')
                                      OR status = 'finished' AND processing = 'waiting'))
             ORDER BY created_at LIMIT :limit);

-- name: count_files
SELECT job_id, {file_status} AS file_status, count(*) AS files,
       sum(upload_offset >> 32) AS upload_offset_high, sum(upload_offset & 4294967295) AS upload_offset_low,
       sum(upload_length >> 32) AS upload_length_high, sum(upload_length & 4294967295) AS upload_length_low
FROM uploads WHERE job_id IN (SELECT value FROM json_each(:job_ids))
GROUP BY job_id, 2;

-- name: list_uploads
SELECT * FROM uploads
WHERE {condition} AND (created_at, id) < (:before_created_at, :before_id)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: sum_uploads
SELECT {file_status} AS file_status, count(*) AS files,
       count(*) FILTER (WHERE status = 'finished') AS finished,
       sum(upload_offset >> 32) AS upload_offset_high, sum(upload_offset & 4294967295) AS upload_offset_low,
       sum(upload_offset >> 32) FILTER (WHERE status = 'finished') AS finished_bytes_high,
       sum(upload_offset & 4294967295) FILTER (WHERE status = 'finished') AS finished_bytes_low,
       total((ended_at - created_at) / 1e6) FILTER (WHERE status = 'finished') AS finished_seconds
FROM uploads WHERE {condition}
GROUP BY 1;

-- name: quantile_of_durations
SELECT (ended_at - created_at) / 1e6 AS value FROM uploads
WHERE status = 'finished' AND {condition} ORDER BY 1 LIMIT 1 OFFSET :place;

-- name: quantile_of_lengths
SELECT upload_length AS value FROM uploads
WHERE status = 'finished' AND {condition} ORDER BY 1 LIMIT 1 OFFSET :place;

-- name: count_errors
SELECT coalesce(CAST(json_extract(events.data, '$.reason') AS TEXT), 'unknown') AS reason, count(*) AS uploads
FROM uploads LEFT JOIN events ON events.upload_id = uploads.id AND events.type = 'upload.failed'
WHERE uploads.status = 'failed' AND {condition}
GROUP BY 1;
