-- State of the decision line, version 1. Taken by SQLite and PostgreSQL alike: only TEXT and BIGINT columns, times in
-- milliseconds since the epoch, truth values as 0 and 1, lists and settings as JSON in TEXT, bytes as hexadecimal TEXT.

CREATE TABLE connector (
    connector_id    TEXT PRIMARY KEY NOT NULL,
    name            TEXT NOT NULL,
    config          TEXT NOT NULL,
    status          TEXT NOT NULL,
    status_reason   TEXT,
    manager_id      TEXT NOT NULL UNIQUE,
    manager_name    TEXT NOT NULL,
    manager_version TEXT NOT NULL,
    associated_at   BIGINT NOT NULL,
    last_contact_at BIGINT NOT NULL
);

-- One row. import_number fences: an import that ends after another began, or after the catalog was cleared, is void.
CREATE TABLE catalog (
    catalog_id    BIGINT PRIMARY KEY NOT NULL,
    status        TEXT NOT NULL,
    status_before TEXT NOT NULL,
    import_number BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL
);
INSERT INTO catalog (catalog_id, status, status_before, import_number, modified_at)
VALUES (1, 'NOT_IMPORTED', 'NOT_IMPORTED', 0, 0);

-- A server keeps its row, and so its id, for ever; listed says whether the catalog shows it.
CREATE TABLE server (
    server_id     TEXT PRIMARY KEY NOT NULL,
    manager_id    TEXT NOT NULL,
    vm_id         TEXT NOT NULL,
    connector_id  TEXT,
    manager_name  TEXT NOT NULL,
    name          TEXT NOT NULL,
    path          TEXT NOT NULL,
    volumes       TEXT NOT NULL,
    listed        BIGINT NOT NULL,
    import_number BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    UNIQUE (manager_id, vm_id)
);

-- start_at is where the grid of the schedule begins; seed_at is where it began when the job was created.
CREATE TABLE job (
    job_id           TEXT PRIMARY KEY NOT NULL,
    server_id        TEXT NOT NULL REFERENCES server (server_id),
    state            TEXT NOT NULL,
    start_at         BIGINT NOT NULL,
    interval_minutes BIGINT,
    license          TEXT,
    role_name        TEXT NOT NULL,
    description      TEXT,
    keep_images      BIGINT,
    encrypted        BIGINT,
    kms_key_id       TEXT,
    status_message   TEXT,
    created_at       BIGINT NOT NULL,
    seed_at          BIGINT NOT NULL,
    fence            BIGINT NOT NULL
);
CREATE INDEX job_in_order ON job (created_at, job_id);
CREATE UNIQUE INDEX job_one_live_per_server ON job (server_id)
    WHERE state IN ('PENDING', 'ACTIVE', 'PAUSED_ON_FAILURE', 'FAILING', 'DELETING');

-- fence grows with every change of state or stage: who acts on an older one acts on nothing.
CREATE TABLE run (
    run_id           TEXT PRIMARY KEY NOT NULL,
    job_id           TEXT NOT NULL REFERENCES job (job_id),
    state            TEXT NOT NULL,
    stage            TEXT,
    abandoning       BIGINT NOT NULL,
    kind             TEXT NOT NULL,
    description      TEXT,
    scheduled_at     BIGINT NOT NULL,
    stage_started_at BIGINT,
    started_at       BIGINT,
    completed_at     BIGINT,
    image_id         TEXT,
    consistency      TEXT,
    point            TEXT,
    point_at         BIGINT,
    notes            TEXT NOT NULL,
    failure_code     TEXT,
    failure_evidence TEXT,
    fence            BIGINT NOT NULL
);
CREATE INDEX run_of_job ON run (job_id, scheduled_at, run_id);
CREATE INDEX run_in_order ON run (scheduled_at, run_id);
CREATE INDEX run_by_state ON run (state);
CREATE UNIQUE INDEX run_one_at_work ON run (job_id) WHERE state IN ('ACTIVE', 'DELETING');
CREATE UNIQUE INDEX run_one_listed_ahead ON run (job_id) WHERE state = 'PENDING' AND kind = 'AUTOMATIC';

CREATE TABLE run_volume (
    run_id         TEXT NOT NULL REFERENCES run (run_id),
    device         TEXT NOT NULL,
    place          BIGINT NOT NULL,
    snapshot_id    TEXT NOT NULL,
    parent_id      TEXT,
    tracked        BIGINT NOT NULL,
    notes          TEXT NOT NULL,
    root_digest    TEXT,
    bytes_total    BIGINT NOT NULL,
    bytes_done     BIGINT NOT NULL,
    bytes_read     BIGINT NOT NULL,
    bytes_sent     BIGINT NOT NULL,
    bytes_stored   BIGINT NOT NULL,
    bytes_resent   BIGINT NOT NULL,
    bytes_verified BIGINT NOT NULL,
    PRIMARY KEY (run_id, device)
);

-- Packs that no registered image accounts for yet. state: BEGUN, DURABLE, or VOID if nothing may use it any more.
CREATE TABLE pack_ledger (
    pack_id TEXT PRIMARY KEY NOT NULL,
    run_id  TEXT NOT NULL REFERENCES run (run_id),
    device  TEXT NOT NULL,
    bytes   BIGINT NOT NULL,
    state   TEXT NOT NULL,
    point   TEXT NOT NULL
);
CREATE INDEX pack_of_run ON pack_ledger (run_id, device);

-- Last committed state of each volume of a live job.
CREATE TABLE baseline (
    job_id      TEXT NOT NULL REFERENCES job (job_id),
    device      TEXT NOT NULL,
    run_id      TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    size        BIGINT NOT NULL,
    PRIMARY KEY (job_id, device)
);

-- number grows with every image: which one is newer does not hang on the clock.
CREATE TABLE image (
    image_id    TEXT PRIMARY KEY NOT NULL,
    number      BIGINT NOT NULL,
    job_id      TEXT NOT NULL,
    run_id      TEXT NOT NULL UNIQUE,
    server_id   TEXT NOT NULL,
    server_name TEXT NOT NULL,
    description TEXT NOT NULL,
    size        BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    deleting    BIGINT NOT NULL
);
CREATE INDEX image_in_order ON image (created_at, image_id);
CREATE INDEX image_of_job ON image (job_id, created_at);

CREATE TABLE image_volume (
    image_id    TEXT NOT NULL REFERENCES image (image_id),
    volume      BIGINT NOT NULL,
    device      TEXT NOT NULL,
    size        BIGINT NOT NULL,
    snapshot_id TEXT NOT NULL,
    root_digest TEXT NOT NULL,
    PRIMARY KEY (image_id, volume)
);

CREATE TABLE image_verification (
    image_id       TEXT PRIMARY KEY NOT NULL REFERENCES image (image_id),
    state          TEXT NOT NULL,
    started_at     BIGINT NOT NULL,
    verified_at    BIGINT,
    bytes_verified BIGINT NOT NULL,
    bytes_total    BIGINT NOT NULL,
    damaged        TEXT NOT NULL,
    message        TEXT,
    fence          BIGINT NOT NULL
);

-- image_id is NULL once the image is deleted and only a job's baseline holds the snapshot.
CREATE TABLE snapshot (
    snapshot_id  TEXT PRIMARY KEY NOT NULL,
    image_id     TEXT,
    run_id       TEXT NOT NULL,
    server_id    TEXT NOT NULL,
    device       TEXT NOT NULL,
    size         BIGINT NOT NULL,
    root_digest  TEXT NOT NULL,
    parent_id    TEXT,
    created_at   BIGINT NOT NULL,
    bytes_stored BIGINT NOT NULL
);
CREATE INDEX snapshot_in_order ON snapshot (created_at, snapshot_id);
CREATE INDEX snapshot_of_image ON snapshot (image_id);

-- secret: wrapped by the server's master key.
CREATE TABLE access_key (
    access_key_id TEXT PRIMARY KEY NOT NULL,
    principal     TEXT NOT NULL,
    secret        TEXT NOT NULL,
    created_at    BIGINT NOT NULL
);
