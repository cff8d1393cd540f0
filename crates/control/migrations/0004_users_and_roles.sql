-- Users, what they may do, and the roles of jobs. "user" and "role" alone are words of SQL somewhere.

CREATE TABLE service_user (
    user_name  TEXT PRIMARY KEY NOT NULL,
    enabled    BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX user_in_order ON service_user (created_at, user_name);

-- Only those that people wrote: the built-in ones are in the program. document: JSON, as it was written.
CREATE TABLE access_policy (
    policy_name TEXT PRIMARY KEY NOT NULL,
    document    TEXT NOT NULL,
    description TEXT,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL
);
CREATE INDEX policy_in_order ON access_policy (created_at, policy_name);

CREATE TABLE user_policy (
    user_name   TEXT NOT NULL REFERENCES service_user (user_name),
    policy_name TEXT NOT NULL,
    PRIMARY KEY (user_name, policy_name)
);
CREATE INDEX user_of_policy ON user_policy (policy_name);

CREATE TABLE job_role (
    role_name   TEXT PRIMARY KEY NOT NULL,
    document    TEXT NOT NULL,
    description TEXT,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL
);
CREATE INDEX role_in_order ON job_role (created_at, role_name);

-- ends_at: a rotated key is valid until then. last_used_at is coarse.
ALTER TABLE access_key ADD COLUMN enabled BIGINT NOT NULL DEFAULT 1;
ALTER TABLE access_key ADD COLUMN ends_at BIGINT;
ALTER TABLE access_key ADD COLUMN last_used_at BIGINT;
CREATE INDEX key_of_user ON access_key (principal);
CREATE INDEX key_in_order ON access_key (created_at, access_key_id);

-- Who had keys could do everything.
INSERT INTO service_user (user_name, enabled, created_at)
SELECT principal, 1, MIN(created_at) FROM access_key GROUP BY principal;
INSERT INTO user_policy (user_name, policy_name) SELECT user_name, 'administrator' FROM service_user;

-- Names of roles meant nothing: every job could do everything, and goes on.
INSERT INTO job_role (role_name, document, description, created_at, changed_at)
SELECT role_name,
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["godwit:ReadSource", "godwit:WriteStore", "godwit:RegisterImage", "godwit:UseKey"], "Resource": "*"}]}',
    'Of a job that is older than roles', MIN(created_at), MIN(created_at)
FROM job GROUP BY role_name;
