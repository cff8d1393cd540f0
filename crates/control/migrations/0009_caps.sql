-- How fast may be read: of a job's runs, of one run instead of what its job says, of a connector, of everything. Texts in
-- the language of caps; NULL is none, and for a run what its job says.
ALTER TABLE job ADD COLUMN cap TEXT;
ALTER TABLE run ADD COLUMN cap TEXT;
ALTER TABLE connector ADD COLUMN cap TEXT;

-- What counts for the whole service and is changed while it works. name: total_cap.
CREATE TABLE service_limit (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
