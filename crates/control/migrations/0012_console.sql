-- Passwords, sign-in links and sessions: how people come into the console. Of links and sessions only a digest of the
-- secret is here.

-- hash: of Argon2, as a PHC string.
CREATE TABLE user_password (
    user_name  TEXT PRIMARY KEY NOT NULL REFERENCES service_user (user_name),
    hash       TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE sign_in_link (
    link_hash  TEXT PRIMARY KEY NOT NULL,
    user_name  TEXT NOT NULL REFERENCES service_user (user_name),
    expires_at BIGINT NOT NULL
);
CREATE INDEX link_of_user ON sign_in_link (user_name);

-- session_id: what the audit trail calls it. access_key_id: the key that it was begun with, and ends with.
-- last_used_at is coarse.
CREATE TABLE console_session (
    session_hash   TEXT PRIMARY KEY NOT NULL,
    session_id     TEXT NOT NULL,
    user_name      TEXT NOT NULL REFERENCES service_user (user_name),
    signed_in_with TEXT NOT NULL,
    access_key_id  TEXT,
    created_at     BIGINT NOT NULL,
    last_used_at   BIGINT NOT NULL,
    ends_at        BIGINT NOT NULL
);
CREATE INDEX session_of_user ON console_session (user_name, created_at);
