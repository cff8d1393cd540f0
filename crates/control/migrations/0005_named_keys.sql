-- Named keys. Their material is in the object store, wrapped; here is what they are called and whether they may be used.

-- version: the newest. is_default: of exactly one key. state_since: when it was enabled or disabled last.
CREATE TABLE named_key (
    key_id      TEXT PRIMARY KEY NOT NULL,
    description TEXT,
    state       TEXT NOT NULL,
    is_default  BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    state_since BIGINT NOT NULL,
    rotated_at  BIGINT
);
CREATE INDEX named_key_in_order ON named_key (created_at, key_id);
CREATE UNIQUE INDEX named_key_one_default ON named_key (is_default) WHERE is_default = 1;

CREATE TABLE key_alias (
    alias      TEXT PRIMARY KEY NOT NULL,
    key_id     TEXT NOT NULL REFERENCES named_key (key_id),
    created_at BIGINT NOT NULL
);
CREATE INDEX alias_of_key ON key_alias (key_id, alias);

-- The one key that every store had before keys had names. The next start gives it its date.
INSERT INTO named_key (key_id, description, state, is_default, version, created_at, state_since)
VALUES ('key-00000000000000000000000000000001', 'made at the first start', 'ENABLED', 1, 1, 0, 0);

-- What a run encrypts with, and how its job named that key; the version is the latest that a pack of it is under.
ALTER TABLE run ADD COLUMN key_id TEXT;
ALTER TABLE run ADD COLUMN key_version BIGINT;
ALTER TABLE run ADD COLUMN key_name TEXT;
ALTER TABLE run ADD COLUMN encrypted BIGINT;
UPDATE run SET key_id = 'key-00000000000000000000000000000001', key_version = 1,
    encrypted = (SELECT job.encrypted FROM job WHERE job.job_id = run.job_id)
    WHERE started_at IS NOT NULL;

ALTER TABLE image ADD COLUMN key_id TEXT NOT NULL DEFAULT 'key-00000000000000000000000000000001';
ALTER TABLE image ADD COLUMN key_version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE snapshot ADD COLUMN key_id TEXT NOT NULL DEFAULT 'key-00000000000000000000000000000001';
CREATE INDEX image_of_key ON image (key_id);
