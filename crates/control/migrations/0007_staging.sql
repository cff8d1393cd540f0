-- What is staged, what deleted snapshots released, what sweeps of the store did.

-- When the pack became durable; NULL until it is, and for those of before this version until the next sweep.
ALTER TABLE pack_ledger ADD COLUMN durable_at BIGINT;

-- Ranges of packs whose snapshot was deleted, or that were emptied: if nothing names them, they need not wait until they
-- are old. Kept as long as that would take.
CREATE TABLE released_packs (
    first_pack  TEXT NOT NULL,
    packs       BIGINT NOT NULL,
    released_at BIGINT NOT NULL,
    PRIMARY KEY (first_pack, packs)
);

CREATE TABLE store_sweep (
    sweep_id      TEXT PRIMARY KEY NOT NULL,
    on_demand     BIGINT NOT NULL,
    state         TEXT NOT NULL,
    started_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    packs_freed   BIGINT NOT NULL,
    bytes_freed   BIGINT NOT NULL,
    bytes_moved   BIGINT NOT NULL,
    left_behind   BIGINT NOT NULL,
    message       TEXT
);
CREATE INDEX store_sweep_in_order ON store_sweep (started_at, sweep_id);
CREATE UNIQUE INDEX store_sweep_one_running ON store_sweep (state) WHERE state = 'RUNNING';
