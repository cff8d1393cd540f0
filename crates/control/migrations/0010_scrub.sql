-- What proved damaged in the store, what of it the next run repairs, and how far the scrub is.

-- Ranges of a job's last committed volumes that proved damaged: its next run reads them from the source again.
CREATE TABLE suspect (
    job_id      TEXT NOT NULL,
    device      TEXT NOT NULL,
    first_byte  BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    PRIMARY KEY (job_id, device, first_byte, bytes)
);

-- Those of them that the run was given: what is found while it is at work is for the run behind it.
ALTER TABLE run_volume ADD COLUMN repairs TEXT NOT NULL DEFAULT '[]';

-- Packs that the scrub found damaged. traced: 1 once it is on record which images that harms.
CREATE TABLE damaged_pack (
    pack_id  TEXT PRIMARY KEY NOT NULL,
    found_at BIGINT NOT NULL,
    problem  TEXT NOT NULL,
    traced   BIGINT NOT NULL
);

-- One row. A round is one pass over all packs in the order of their ids; position: the pack that was checked last in it.
CREATE TABLE store_scrub (
    one          BIGINT PRIMARY KEY NOT NULL,
    on_demand    BIGINT NOT NULL,
    round        BIGINT NOT NULL,
    began_at     BIGINT,
    is_open      BIGINT NOT NULL,
    position     TEXT,
    looked_at    BIGINT,
    packs        BIGINT NOT NULL,
    bytes        BIGINT NOT NULL,
    bytes_total  BIGINT NOT NULL,
    skipped      BIGINT NOT NULL,
    ended_at     BIGINT,
    message      TEXT
);
INSERT INTO store_scrub (one, on_demand, round, is_open, packs, bytes, bytes_total, skipped)
    VALUES (1, 0, 0, 0, 0, 0, 0, 0);
