-- Who did what: one record per call, in a chain of hashes. docs/formats.md says what each hash covers.

-- Texts that are not known are empty. parameters: JSON without secrets. hash, previous_hash: 64 hexadecimal digits.
CREATE TABLE audit (
    number BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    access_key_id TEXT NOT NULL,
    action TEXT NOT NULL,
    parameters TEXT NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT NOT NULL,
    request_id TEXT NOT NULL,
    source TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- One row: where the chain begins (the last record that was pruned) and where it ends (the last record).
CREATE TABLE audit_chain (
    chain BIGINT PRIMARY KEY NOT NULL,
    anchor_number BIGINT NOT NULL,
    anchor_hash TEXT NOT NULL,
    last_number BIGINT NOT NULL,
    last_hash TEXT NOT NULL
);
INSERT INTO audit_chain (chain, anchor_number, anchor_hash, last_number, last_hash) VALUES (
    1,
    0, '0000000000000000000000000000000000000000000000000000000000000000',
    0, '0000000000000000000000000000000000000000000000000000000000000000'
);

-- Calls that may change something and whose outcome is not on record yet.
CREATE TABLE audit_intent (
    request_id TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    access_key_id TEXT NOT NULL,
    action TEXT NOT NULL,
    parameters TEXT NOT NULL,
    source TEXT NOT NULL
);
