-- Jobs, and questions about many uploads.

-- name: file_status
-- ports.jobs.file_status, of a row of uploads.
CASE WHEN uploads.status = 'expired' OR uploads.status = 'uploading' AND uploads.expires_at <= now() THEN 'EXPIRED'
     WHEN uploads.status = 'failed' OR uploads.status = 'finished' AND uploads.processing = 'failed' THEN 'FAILED'
     WHEN uploads.status = 'terminated' THEN 'CANCELLED'
     WHEN uploads.status = 'finished' AND uploads.processing = 'waiting' THEN 'PROCESSING'
     WHEN uploads.status = 'finished' THEN 'COMPLETED'
     WHEN uploads.status = 'uploading' AND uploads.upload_offset = 0 AND uploads.writer IS NULL THEN 'QUEUED'
     ELSE 'UPLOADING' END;

-- name: new_files
-- $4 to $20: what `create` has once, here column by column, in the order of the files.
created AS (
    INSERT INTO uploads (id, status, upload_offset, upload_length, upload_metadata, writer, writer_node,
                         created_at, expires_at, object_bucket, object_key, part_bytes, parts_in_flight,
                         tenant, job_id, job_number, trusted_metadata, most_bytes, idle_seconds)
    SELECT file.id, 'uploading', 0, file.upload_length, file.upload_metadata, file.writer, $4::text, now(),
           least(now() + coalesce(file.own_idle * interval '1 second', file.idle), now() + file.cap),
           file.object_bucket, file.object_key, file.part_bytes, {parts_in_flight},
           job.job_tenant, job.job_key, job.before + file.place, file.trusted_metadata, file.most_bytes, file.own_idle
    FROM job, unnest($5::text[], $6::bigint[], $7::text[], $8::text[], $9::interval[], $10::interval[],
                     $11::text[], $12::text[], $13::bigint[], $14::json[], $15::bigint[], $16::float8[])
              WITH ORDINALITY
              AS file (id, upload_length, upload_metadata, writer, idle, cap,
                       object_bucket, object_key, part_bytes, trusted_metadata, most_bytes, own_idle, place)
    ORDER BY file.place
    RETURNING {columns}
), new_events AS (
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
    SELECT draft.id, draft.type, draft.upload_id, draft.data, now(), job.job_tenant, job.job_key
    FROM job, unnest($17::text[], $18::text[], $19::text[], $20::json[]) WITH ORDINALITY
              AS draft (id, type, upload_id, data, place)
    ORDER BY draft.place
);

-- name: create_job
-- An id is also taken while files of a job that was forgotten still name it.
WITH job AS (
    INSERT INTO jobs (id, tenant, created_at, files)
    SELECT $1::text, $2::text, now(), $3::integer WHERE NOT EXISTS (SELECT FROM uploads WHERE uploads.job_id = $1)
    RETURNING id AS job_key, tenant AS job_tenant, created_at AS job_created_at, 0 AS before
), {new_files}
SELECT {columns}, now() AS as_of, job_created_at FROM job LEFT JOIN created ON true ORDER BY job_number;

-- name: add_files
WITH job AS (
    UPDATE jobs SET files = files + $3::integer
    WHERE id = $1::text AND ($2::text IS NULL OR tenant = $2) AND cancelled_at IS NULL
    RETURNING id AS job_key, tenant AS job_tenant, created_at AS job_created_at, files - $3::integer AS before
), {new_files}
SELECT {columns}, now() AS as_of, job_created_at FROM job LEFT JOIN created ON true ORDER BY job_number;

-- name: job_row
SELECT id, tenant, created_at, cancelled_at FROM jobs WHERE id = $1 AND ($2::text IS NULL OR tenant = $2);

-- name: job_sums
LEFT JOIN LATERAL (
    SELECT json_object_agg(each.status, each.files) AS files,
           sum(each.upload_offset) AS upload_offset, sum(each.upload_length) AS upload_length
    FROM (SELECT {file_status} AS status, count(*) AS files,
                 sum(uploads.upload_offset) AS upload_offset, sum(uploads.upload_length) AS upload_length
          FROM uploads WHERE uploads.job_id = jobs.id GROUP BY 1) AS each) AS sums ON true;

-- name: job
SELECT jobs.id, jobs.tenant, jobs.created_at, jobs.cancelled_at, sums.*
FROM jobs {job_sums}
WHERE jobs.id = $1 AND ($2::text IS NULL OR jobs.tenant = $2);

-- name: jobs
SELECT jobs.*, sums.*
FROM (SELECT id, tenant, created_at, cancelled_at FROM jobs
      WHERE (created_at, id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
      ORDER BY created_at DESC, id DESC LIMIT $3) AS jobs {job_sums}
ORDER BY jobs.created_at DESC, jobs.id DESC;

-- name: jobs_of_tenant
SELECT jobs.*, sums.*
FROM (SELECT id, tenant, created_at, cancelled_at FROM jobs
      WHERE tenant = $4 AND (created_at, id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::text, ''))
      ORDER BY created_at DESC, id DESC LIMIT $3) AS jobs {job_sums}
ORDER BY jobs.created_at DESC, jobs.id DESC;

-- name: job_files
SELECT {columns}, now() AS as_of FROM uploads WHERE job_id = $1 AND job_number > $2 ORDER BY job_number LIMIT $3;

-- name: cancel_job
UPDATE jobs SET cancelled_at = coalesce(cancelled_at, now())
WHERE id = $1 AND ($2::text IS NULL OR tenant = $2)
RETURNING id, tenant, created_at, cancelled_at;

-- name: left_files
SELECT {columns}, now() AS as_of FROM uploads
WHERE id IN (
    (SELECT uploads.id FROM jobs JOIN uploads ON uploads.job_id = jobs.id AND uploads.status = 'uploading'
     WHERE jobs.cancelled_at IS NOT NULL ORDER BY uploads.created_at, uploads.id LIMIT $1)
    UNION ALL
    (SELECT uploads.id FROM uploads
     WHERE uploads.status = 'uploading' AND uploads.upload_length = 0 AND uploads.job_id IS NOT NULL
       AND uploads.writer IS NULL
     ORDER BY uploads.created_at, uploads.id LIMIT $1))
ORDER BY created_at, id LIMIT $1;

-- name: purge_jobs
-- A job that gets a file meanwhile has another number of files. OFFSET 0: look job by job, from the oldest.
WITH old AS MATERIALIZED (
    SELECT id, files FROM jobs
    WHERE created_at <= now() - $1::interval
      AND NOT EXISTS (SELECT FROM uploads
                      WHERE uploads.job_id = jobs.id
                        AND (uploads.status IN ('uploading', 'completing')
                             OR uploads.status = 'finished' AND uploads.processing = 'waiting') OFFSET 0)
    ORDER BY created_at LIMIT $2
), gone AS (
    DELETE FROM jobs USING old WHERE jobs.id = old.id AND jobs.files = old.files RETURNING 1
)
SELECT count(*) FROM gone;

-- name: those
-- $1 to $5: UploadFilter.
($1::text IS NULL OR uploads.tenant = $1) AND ($2::text IS NULL OR uploads.job_id = $2)
AND ($3::text IS NULL OR {file_status} = $3)
AND uploads.created_at >= coalesce($4::timestamptz, '-infinity')
AND uploads.created_at < coalesce($5::timestamptz, 'infinity');

-- name: list_uploads
SELECT {columns}, now() AS as_of FROM uploads
WHERE {those} AND (created_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7::text, ''))
ORDER BY created_at DESC, id DESC LIMIT $8;

-- name: list_uploads_of_tenant
SELECT {columns}, now() AS as_of FROM uploads
WHERE tenant = $1::text AND {those}
  AND (created_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7::text, ''))
ORDER BY created_at DESC, id DESC LIMIT $8;

-- name: list_uploads_of_job
SELECT {columns}, now() AS as_of FROM uploads
WHERE job_id = $2::text AND {those}
  AND (created_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7::text, ''))
ORDER BY created_at DESC, id DESC LIMIT $8;

-- name: sum_uploads
-- Metadata may hold NUL, which no text does: then PostgreSQL takes nothing out of the event. So each backslash is written
-- in the long way first, and what then is \u0000 is one.
WITH chosen AS MATERIALIZED (
    SELECT uploads.id, uploads.status, {file_status} AS file_status, uploads.upload_offset, uploads.upload_length,
           extract(epoch FROM uploads.ended_at - uploads.created_at)::float8 AS seconds
    FROM uploads WHERE {those}
)
SELECT (SELECT json_object_agg(each.file_status, each.files)
        FROM (SELECT chosen.file_status, count(*) AS files FROM chosen GROUP BY 1) AS each) AS files,
       coalesce(sum(chosen.upload_length) FILTER (WHERE chosen.status = 'finished'), 0) AS finished_bytes,
       coalesce(sum(chosen.upload_offset), 0) AS received_bytes,
       coalesce(sum(chosen.seconds) FILTER (WHERE chosen.status = 'finished'), 0)::float8 AS finished_seconds,
       percentile_disc(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY chosen.seconds)
           FILTER (WHERE chosen.status = 'finished') AS durations,
       percentile_disc(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY chosen.upload_length)
           FILTER (WHERE chosen.status = 'finished') AS lengths,
       (SELECT json_object_agg(each.reason, each.files)
        FROM (SELECT coalesce(replace(replace(events.data::text, '\\', '\u005c'), '\u0000', '\ufffd')::json ->> 'reason',
                              'unknown') AS reason, count(*) AS files
              FROM chosen LEFT JOIN events ON events.upload_id = chosen.id AND events.type = 'upload.failed'
              WHERE chosen.status = 'failed' GROUP BY 1) AS each) AS errors
FROM chosen;
