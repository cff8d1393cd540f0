//! Replication jobs.

use serde::{Deserialize, Serialize};

/// State of a job. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Created; its first run has not started.
    Pending,
    /// Replicates on its schedule.
    Active,
    /// Its runs failed too often; being stopped.
    Failing,
    /// Ended by failure.
    Failed,
    /// Being deleted: an active run is stopping.
    Deleting,
    /// Deleted; its images stay.
    Deleted,
    /// A one-time job whose run succeeded.
    Completed,
    /// Its runs failed too often; waits to be resumed.
    PausedOnFailure,
}

/// How often a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Interval {
    /// One run only.
    Once,
    /// A run every so many minutes, 1 and up. The API's hours are sixty of them.
    EveryMinutes(u32),
}

/// Whose licence the guest runs under at the target. Absent means that Godwit chooses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum LicenseType {
    /// Provided by the target.
    #[serde(rename = "AWS")]
    Aws,
    /// The customer's own.
    #[serde(rename = "BYOL")]
    Byol,
}
