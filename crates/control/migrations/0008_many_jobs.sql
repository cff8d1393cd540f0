-- Indexes for thousands of jobs and servers: what lists and the driver look for is found without reading whole tables.

-- A server's present job, or else its last one.
CREATE INDEX job_of_server ON job (server_id, created_at, job_id);

-- What is due, and what is due next.
DROP INDEX run_by_state;
CREATE INDEX run_by_state ON run (state, kind, scheduled_at);

-- A job's run that ended last, and the point of its schedule that was listed last.
CREATE INDEX run_by_end ON run (job_id, completed_at, scheduled_at);
CREATE INDEX run_last_listed ON run (job_id, scheduled_at) WHERE kind = 'AUTOMATIC';

-- A job's newest image; images and snapshots that are to go; verifications at work.
CREATE INDEX image_by_number ON image (job_id, number);
CREATE INDEX image_to_delete ON image (image_id) WHERE deleting = 1;
CREATE INDEX pack_by_state ON pack_ledger (state);
CREATE INDEX baseline_by_snapshot ON baseline (snapshot_id);
CREATE INDEX image_verification_by_state ON image_verification (state, started_at);

-- A machine that another connector offers too; servers by address.
CREATE INDEX server_by_vm ON server (vm_id);
