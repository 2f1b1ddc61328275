-- Whose an upload is, its batch, what hooks have said of it, and what has become of it with those who process it.
ALTER TABLE uploads ADD COLUMN tenant TEXT;
ALTER TABLE uploads ADD COLUMN job_id TEXT;
ALTER TABLE uploads ADD COLUMN job_number INTEGER;
ALTER TABLE uploads ADD COLUMN trusted_metadata TEXT;
ALTER TABLE uploads ADD COLUMN most_bytes INTEGER;
ALTER TABLE uploads ADD COLUMN idle_seconds REAL;
ALTER TABLE uploads ADD COLUMN processing TEXT CHECK (processing IN ('waiting', 'done', 'failed'));

CREATE UNIQUE INDEX uploads_by_job ON uploads (job_id, job_number) WHERE job_id IS NOT NULL;
CREATE INDEX uploads_by_creation ON uploads (created_at);
CREATE INDEX uploads_by_tenant ON uploads (tenant, created_at) WHERE tenant IS NOT NULL;
-- What a crash may have left unfinished.
CREATE INDEX uploads_unfinished ON uploads (job_id) WHERE job_id IS NOT NULL AND status = 'uploading';
CREATE INDEX uploads_empty ON uploads (created_at)
    WHERE job_id IS NOT NULL AND status = 'uploading' AND upload_length = 0;

ALTER TABLE events ADD COLUMN tenant TEXT;
ALTER TABLE events ADD COLUMN job_id TEXT;

CREATE INDEX events_by_upload ON events (upload_id);
CREATE INDEX events_by_job ON events (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX events_by_tenant ON events (tenant) WHERE tenant IS NOT NULL;

-- Whom events are delivered to; each process registers those that it has. `types` is a JSON array.
CREATE TABLE consumers (
    name            TEXT PRIMARY KEY,
    types           TEXT NOT NULL,
    processing      INTEGER NOT NULL,
    registered_at   INTEGER NOT NULL,
    seen_at         INTEGER NOT NULL,
    disabled_reason TEXT
) STRICT, WITHOUT ROWID;

-- Asked by every finish.
CREATE INDEX consumers_processing ON consumers (name)
    WHERE processing AND disabled_reason IS NULL AND instr(types, '"upload.finished"');

-- Set on deliveries of upload.finished to a processing consumer: an upload waits for them.
ALTER TABLE deliveries ADD COLUMN processing INTEGER NOT NULL DEFAULT 0;
-- Of its first attempt.
ALTER TABLE deliveries ADD COLUMN first_leased_at INTEGER;

CREATE INDEX deliveries_dead ON deliveries (position) WHERE status = 'dead';

CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    tenant       TEXT,
    created_at   INTEGER NOT NULL,
    cancelled_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_creation ON jobs (created_at);
CREATE INDEX jobs_by_tenant ON jobs (tenant, created_at) WHERE tenant IS NOT NULL;
CREATE INDEX jobs_cancelled ON jobs (cancelled_at) WHERE cancelled_at IS NOT NULL;
