-- What was forecast of a run when it began, and what became of it: that is NULL unless it completed. forecast is a
-- model::forecast::Forecast as JSON; took is in milliseconds.
CREATE TABLE run_forecast (
    run_id       TEXT PRIMARY KEY NOT NULL REFERENCES run (run_id),
    forecast     TEXT NOT NULL,
    bytes_read   BIGINT,
    bytes_stored BIGINT,
    took         BIGINT,
    ended_at     BIGINT
);

-- The runs that completed last, of whatever job. Not an index of run: it would be taken where those by job are better.
CREATE INDEX run_forecast_by_end ON run_forecast (ended_at) WHERE ended_at IS NOT NULL;
