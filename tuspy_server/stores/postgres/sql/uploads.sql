-- Statements by name, each one call and one transaction of its own. `{columns}`, `{contested}` and other texts in braces
-- stand for those of these names, `{parts_in_flight}` for the model's number. A WITH that changes rows hands its
-- RETURNING on: the rest of the statement sees the tables as they were before it.

-- name: columns
id, status, upload_offset, upload_length, upload_metadata, writer, created_at, expires_at, ended_at,
object_bucket, object_key, part_bytes, multipart_id, contested_to, unsettled, etag,
tenant, job_id, job_number, trusted_metadata, most_bytes, idle_seconds, processing;

-- name: contested
-- Where a writer may still have parts under way: so many as its own node may send, which may be of another release.
-- GREATEST passes over the NULL of an upload without parts.
greatest(contested_to, upload_offset / part_bytes + 1 + parts_in_flight);

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
WITH job AS (
    UPDATE jobs SET files = files + 1
    WHERE id = $21::text AND tenant IS NOT DISTINCT FROM $20::text AND cancelled_at IS NULL
    RETURNING files
), created AS (
    INSERT INTO uploads (id, status, upload_offset, upload_length, upload_metadata, writer, writer_node,
                         created_at, expires_at, object_bucket, object_key, part_bytes, parts_in_flight,
                         tenant, job_id, job_number, trusted_metadata, most_bytes, idle_seconds)
    SELECT $2::text, 'uploading', 0, $3::bigint, $4::text, $5::text, $1::text,
           now(), least(now() + coalesce($13::float8 * interval '1 second', $6::interval), now() + $7::interval),
           $8::text, $9::text, $10::bigint, {parts_in_flight},
           $20::text, $21::text, (SELECT files FROM job), $11::json, $12::bigint, $13::float8
    WHERE $21::text IS NULL OR EXISTS (SELECT FROM job)
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id)
    SELECT $14::text, $15::text, $16::text, $17::json, now(), $18::text, $19::text FROM created
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
SET writer = $2, writer_node = $3, parts_in_flight = {parts_in_flight},
    contested_to = CASE WHEN writer IS NULL THEN contested_to ELSE {contested} END,
    unsettled = unsettled OR (writer IS NOT NULL AND object_key IS NOT NULL)
WHERE id = $1 AND status = 'uploading' AND upload_offset = $4::bigint AND ($7::text IS NULL OR tenant = $7)
  AND (expires_at IS NULL OR expires_at > now())
  AND CASE WHEN upload_length IS NULL
           THEN $6::bigint IS NULL OR $6::bigint - $4::bigint >= $5::bigint
           ELSE upload_length - $4::bigint >= $5::bigint AND ($6::bigint IS NULL OR $6::bigint = upload_length) END
  AND (most_bytes IS NULL OR greatest($4::bigint + $5::bigint, $6::bigint) <= most_bytes)
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
                            THEN greatest(contested_to, greatest(upload_offset, $3::bigint) / part_bytes + 1 + parts_in_flight)
                            ELSE contested_to END,
        unsettled = unsettled OR ($5::boolean AND object_key IS NOT NULL),
        multipart_id = coalesce($6::text, multipart_id),
        etag = coalesce($7::text, etag),
        writer = CASE WHEN $17::boolean THEN NULL ELSE writer END,
        expires_at = least(now() + coalesce(idle_seconds * interval '1 second', $18::interval),
                           created_at + $19::interval)
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
                            THEN greatest(contested_to, greatest(upload_offset, $3::bigint) / part_bytes + 1 + parts_in_flight)
                            ELSE contested_to END,
        unsettled = unsettled OR ($5::boolean AND object_key IS NOT NULL),
        multipart_id = coalesce($6::text, multipart_id),
        etag = coalesce($7::text, etag),
        expires_at = least(now() + coalesce(idle_seconds * interval '1 second', $17::interval),
                           created_at + $18::interval)
    WHERE id = $1 AND writer = $2 AND status = 'uploading'
    RETURNING {columns}
), {recording}
SELECT {columns}, now() AS as_of FROM fenced;

-- name: finish
-- $7 to $12 the event; $13 and $14 the ids of the one that tells how its processing went, where somebody is to process it.
-- Its parts are one object now; its pieces wait for their cleanup, also those that only this commit brings.
WITH ended AS (
    UPDATE uploads
    SET status = 'finished', upload_offset = $3::bigint, upload_length = $3::bigint, writer = NULL, writer_node = NULL,
        expires_at = NULL, ended_at = now(),
        contested_to = CASE WHEN $4::boolean
                            THEN greatest(contested_to, greatest(upload_offset, $3::bigint) / part_bytes + 1 + parts_in_flight)
                            ELSE contested_to END,
        unsettled = unsettled OR ($4::boolean AND object_key IS NOT NULL),
        multipart_id = coalesce($5::text, multipart_id),
        etag = coalesce($6::text, etag),
        processing = CASE WHEN EXISTS (SELECT FROM consumers
                                       WHERE consumers.processing AND consumers.disabled_reason IS NULL
                                         AND 'upload.finished' = ANY (consumers.types)) THEN 'waiting' END
    WHERE id = $1 AND writer = $2 AND status IN ('uploading', 'completing')
    RETURNING {columns}
), event AS (
    INSERT INTO events (id, type, upload_id, data, time, tenant, job_id, processed_id, processing_failed_id)
    SELECT $7::text, $8::text, $9::text, $10::json, now(), $11::text, $12::text,
           CASE WHEN ended.processing = 'waiting' THEN $13::text END,
           CASE WHEN ended.processing = 'waiting' THEN $14::text END
    FROM ended
), old_parts AS (
    DELETE FROM parts USING ended WHERE parts.upload_id = ended.id
), new_pieces AS (
    INSERT INTO pieces (upload_id, key, start_offset, stop_offset, crc32c, level, superseded)
    SELECT ended.id, piece.key, piece.start_offset, piece.stop_offset, piece.crc32c, piece.level, true
    FROM ended, unnest($16::bigint[], $17::bigint[], $18::text[], $19::bigint[], $20::integer[])
                AS piece (start_offset, stop_offset, key, crc32c, level)
    ON CONFLICT (upload_id, key) DO NOTHING
), cleanup AS (
    INSERT INTO cleanups (upload_id, status, due_at, again_at)
    SELECT id, status, now(), CASE WHEN unsettled THEN now() + $15::interval END FROM ended
    WHERE unsettled OR cardinality($18::text[]) > 0 OR EXISTS (SELECT FROM pieces WHERE pieces.upload_id = ended.id)
)
SELECT {columns}, now() AS as_of FROM ended;
