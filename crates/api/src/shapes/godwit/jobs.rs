//! Replication jobs with what the seed service's API has no words for.

use super::super::enums::{LicenseType, ReplicationJobState};
use super::super::epoch::EpochSeconds;
use super::{Absent, RunDescription};
use serde::{Deserialize, Serialize};

/// Whose licence a job is to have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LicenseWish {
    /// Provided by the target.
    Aws,
    /// The customer's own.
    Byol,
    /// Godwit chooses by the server's platform: what the seed service's members cannot say.
    Auto,
}

shapes! {
    /// Request of our own `CreateReplicationJob`: the seed service's members and more.
    #[derive(Default)]
    CreateJobRequest {
        /// Which server.
        server_id: String,
        /// When the first run starts; now if absent.
        seed_replication_time: Option<EpochSeconds>,
        /// Hours between runs.
        frequency: Option<i32>,
        /// Minutes between runs, instead of hours.
        interval_minutes: Option<i32>,
        /// One run only.
        run_once: Option<bool>,
        /// Whose licence; Godwit chooses if absent.
        license_type: Option<LicenseWish>,
        /// Role.
        role_name: Option<String>,
        /// For people.
        description: Option<String>,
        /// How many of its newest images to keep; 0 is all.
        number_of_recent_amis_to_keep: Option<i32>,
        /// Whether images are encrypted with a chosen key.
        encrypted: Option<bool>,
        /// Which key.
        kms_key_id: Option<String>,
        /// Who is told what became of it.
        recipients: Option<Vec<String>>,
        /// Whether it is paused when scheduled runs fail in a row, instead of ending.
        pause_on_failure: Option<bool>,
        /// After how many.
        pause_after_failures: Option<i32>,
        /// How fast each of its runs may read, in the language of caps.
        bandwidth_cap: Option<String>,
    }

    /// Answer of our own `CreateReplicationJob`.
    CreateJobResponse {
        /// The new job's id.
        replication_job_id: String,
    }

    /// Request of our own `UpdateReplicationJob`: what is absent stays as it is.
    #[derive(Default)]
    UpdateJobRequest {
        /// Which job.
        replication_job_id: String,
        /// Hours between runs.
        frequency: Option<i32>,
        /// Minutes between runs, instead of hours.
        interval_minutes: Option<i32>,
        /// When the next run starts: moves the schedule, and resumes a paused job.
        next_replication_run_start_time: Option<EpochSeconds>,
        /// Whose licence.
        license_type: Option<LicenseWish>,
        /// Role.
        role_name: Option<String>,
        /// For people; an empty one removes it.
        description: Option<String>,
        /// How many of its newest images to keep; 0 is all.
        number_of_recent_amis_to_keep: Option<i32>,
        /// Whether images are encrypted with a chosen key.
        encrypted: Option<bool>,
        /// Which key.
        kms_key_id: Option<String>,
        /// All of its recipients from now on.
        recipients: Option<Vec<String>>,
        /// Whether it is paused when scheduled runs fail in a row, instead of ending.
        pause_on_failure: Option<bool>,
        /// After how many; 0 is the configured number.
        pause_after_failures: Option<i32>,
        /// How fast each of its runs may read, in the language of caps; also the one at work.
        bandwidth_cap: Option<String>,
    }

    /// Request of `ResumeReplicationJob`.
    #[derive(Default)]
    ResumeJobRequest {
        /// Which job.
        replication_job_id: String,
        /// When the next run starts; if absent, at the next point of the schedule.
        next_replication_run_start_time: Option<EpochSeconds>,
    }

    /// Request of `DescribeReplicationJobs`.
    #[derive(Default)]
    DescribeJobsRequest {
        /// Only these.
        replication_job_ids: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeReplicationJobs`.
    DescribeJobsResponse {
        /// The jobs, newest first.
        jobs: Vec<JobDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A job.
    JobDescription {
        /// Its id.
        replication_job_id: String,
        /// Its server.
        server_id: String,
        /// The server's name.
        server_name: String,
        /// State.
        state: ReplicationJobState,
        /// Since when it is in that state.
        state_since: EpochSeconds,
        /// The state in words, with the last run's failure if that failed.
        status_message: Option<String>,
        /// When its first run was to start.
        seed_replication_time: EpochSeconds,
        /// Minutes between runs; absent for one-time jobs.
        interval_minutes: Option<u32>,
        /// One run only.
        run_once: bool,
        /// When the next run starts, if one is scheduled.
        next_replication_run_start_time: Option<EpochSeconds>,
        /// Whose licence; absent while that is not decided.
        license_type: Option<LicenseType>,
        /// Whether Godwit chose it.
        license_chosen: bool,
        /// Role.
        role_name: String,
        /// For people.
        description: Option<String>,
        /// How many of its newest images to keep; absent or 0 is all.
        number_of_recent_amis_to_keep: Option<u32>,
        /// Whether images are encrypted with a chosen key.
        encrypted: Option<bool>,
        /// Which key.
        kms_key_id: Option<String>,
        /// Who is told what became of it.
        recipients: Vec<String>,
        /// Whether it is paused when scheduled runs fail in a row, instead of ending.
        pause_on_failure: bool,
        /// After how many.
        pause_after_failures: u32,
        /// Scheduled runs that have failed in a row.
        failures: u32,
        /// How fast each of its runs may read; absent if as fast as it goes.
        bandwidth_cap: Option<String>,
        /// Its newest image.
        latest_image_id: Option<String>,
        /// When it was created.
        created_on: EpochSeconds,
        /// The run at work; else the one that ended last; else the one scheduled.
        latest_run: Option<RunDescription>,
    }
}
