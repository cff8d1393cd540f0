-- Who is to be told what. Both rows are written in the transaction that changed the state; deliveries go by them.

-- facts: the event with all that a message about it says, as JSON. Job and run may be forgotten before it is.
CREATE TABLE job_event (
    event_id    TEXT PRIMARY KEY NOT NULL,
    happened_at BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    job_id      TEXT NOT NULL,
    run_id      TEXT,
    facts       TEXT NOT NULL
);
CREATE INDEX job_event_in_order ON job_event (happened_at);

-- An event on its way to one recipient. state: PENDING, DELIVERED or GIVEN_UP. since_at: when it was wanted, first or
-- again; attempts count from then. next_at: when it is tried next, NULL unless it is PENDING.
CREATE TABLE notification (
    notification_id  TEXT PRIMARY KEY NOT NULL,
    event_id         TEXT NOT NULL REFERENCES job_event (event_id),
    job_id           TEXT NOT NULL,
    happened_at      BIGINT NOT NULL,
    recipient        TEXT NOT NULL,
    state            TEXT NOT NULL,
    attempts         BIGINT NOT NULL,
    since_at         BIGINT NOT NULL,
    next_at          BIGINT,
    delivered_at     BIGINT,
    failure_code     TEXT,
    failure_evidence TEXT,
    fence            BIGINT NOT NULL
);
CREATE INDEX notification_in_order ON notification (happened_at, notification_id);
CREATE INDEX notification_of_job ON notification (job_id, happened_at, notification_id);
CREATE INDEX notification_of_event ON notification (event_id);
CREATE INDEX notification_to ON notification (recipient, attempts, notification_id) WHERE state = 'PENDING';
CREATE INDEX notification_next ON notification (next_at) WHERE state = 'PENDING';
