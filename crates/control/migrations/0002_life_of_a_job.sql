-- The whole life of a job: who is told, what failures lead to, since when it is in its state.

-- failures: failed scheduled runs in a row. pause_after: NULL is the number that is configured.
ALTER TABLE job ADD COLUMN recipients TEXT NOT NULL DEFAULT '[]';
ALTER TABLE job ADD COLUMN pause_on_failure BIGINT NOT NULL DEFAULT 1;
ALTER TABLE job ADD COLUMN pause_after BIGINT;
ALTER TABLE job ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN state_since BIGINT NOT NULL DEFAULT 0;
UPDATE job SET state_since = COALESCE((SELECT MAX(run.completed_at) FROM run WHERE run.job_id = job.job_id), created_at);
UPDATE job SET pause_on_failure = 0 WHERE interval_minutes IS NULL;
CREATE INDEX job_by_state ON job (state, state_since);

-- What runs in a server, if it is known; since when it is missing at its VM manager.
ALTER TABLE server ADD COLUMN platform TEXT;
ALTER TABLE server ADD COLUMN missing_since BIGINT;

-- Images and snapshots in the store that nothing needs and that could not be removed when their run or job ended. They
-- may name packs, so they go before any pack does.
CREATE TABLE leftover (
    object_id TEXT PRIMARY KEY NOT NULL
);
