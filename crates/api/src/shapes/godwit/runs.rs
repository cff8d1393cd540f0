//! Replication runs with their figures.

use super::super::enums::{ReplicationRunState, ReplicationRunType};
use super::super::epoch::EpochSeconds;
use super::{Absent, ForecastDescription};
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `DescribeReplicationRuns`.
    #[derive(Default)]
    DescribeReplicationRunsRequest {
        /// Only these.
        replication_run_ids: Option<Vec<String>>,
        /// Only those of this job.
        replication_job_id: Option<String>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeReplicationRuns`.
    DescribeReplicationRunsResponse {
        /// The runs, newest first.
        runs: Vec<RunDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// Request of `UpdateReplicationRun`.
    UpdateRunRequest {
        /// Which.
        replication_run_id: String,
        /// How fast it may read, in the language of caps; an empty one is what its job says.
        bandwidth_cap: String,
    }

    /// A run with its figures.
    RunDescription {
        /// Its id.
        replication_run_id: String,
        /// Its job.
        replication_job_id: String,
        /// State.
        state: ReplicationRunState,
        /// What started it.
        r#type: ReplicationRunType,
        /// For people.
        description: Option<String>,
        /// The stage at work, or the one that a failed run ended in.
        stage: Option<String>,
        /// When that stage began.
        stage_started_on: Option<EpochSeconds>,
        /// How far the stage has come, 0 to 100.
        percent: f64,
        /// Pace over the last seconds.
        bytes_per_second: Option<f64>,
        /// How long the stage still takes at that pace.
        seconds_left: Option<f64>,
        /// When it is or was due.
        scheduled_start_time: EpochSeconds,
        /// When it began.
        started_on: Option<EpochSeconds>,
        /// When it ended.
        completed_time: Option<EpochSeconds>,
        /// The image it made.
        image_id: Option<String>,
        /// `CRASH` or `FILE_SYSTEM`.
        consistency: Option<String>,
        /// When the point in time was taken.
        point_in_time: Option<EpochSeconds>,
        /// The key that it encrypts with, once chosen.
        key_id: Option<String>,
        /// The latest version of the key that a part of what it stored is under.
        key_version: Option<u32>,
        /// What the operator should know.
        notes: Vec<String>,
        /// The failure that is being waited out before the stage is tried again.
        retrying_after: Option<String>,
        /// Why it failed.
        failure: Option<FailureDescription>,
        /// How fast it may read: its own cap, or else its job's; absent if as fast as it goes.
        bandwidth_cap: Option<String>,
        /// What holds its reads back at the moment: `RUN_CAP`, `CONNECTOR_CAP`, `TOTAL_CAP` or `SLOW_SOURCE`.
        held_back_by: Option<String>,
        /// What was forecast of it when it began, and how far off that was.
        forecast: Option<ForecastDescription>,
        /// Its volumes, boot disk first.
        volumes: Vec<RunVolumeDescription>,
    }

    /// Why something failed, and what to do.
    FailureDescription {
        /// Stable code.
        code: String,
        /// What such a code means, in a sentence.
        cause: String,
        /// What was seen.
        evidence: String,
        /// What to do.
        next_step: String,
    }

    /// A volume in a run.
    RunVolumeDescription {
        /// Stable name within the server.
        device: String,
        /// Its snapshot, once committed.
        snapshot_id: Option<String>,
        /// Virtual size.
        bytes_total: u64,
        /// How far the walk over the volume has come.
        bytes_done: u64,
        /// Bytes asked from the source.
        bytes_read: u64,
        /// Bytes handed to the store.
        bytes_sent: u64,
        /// Bytes of those that are durable and belong to the snapshot.
        bytes_stored: u64,
        /// Bytes that had been on their way before and were sent again.
        bytes_resent: u64,
        /// Bytes re-read and compared.
        bytes_verified: u64,
        /// Digest over the whole volume, once committed.
        root_digest: Option<String>,
        /// The run's: all volumes show the same moment.
        consistency: Option<String>,
        /// Whether only tracked changes were read.
        tracked: bool,
        /// What the operator should know.
        notes: Vec<String>,
    }
}
