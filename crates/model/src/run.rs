//! Replication runs: one pass over all volumes of a server, ending in an image.

use serde::{Deserialize, Serialize};

/// State of a run. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Scheduled ahead.
    Pending,
    /// Was due while it could not run.
    Missed,
    /// At work.
    Active,
    /// Ended without an image.
    Failed,
    /// Ended with an image.
    Completed,
    /// Its job is being deleted.
    Deleting,
    /// Its job was deleted before it ended.
    Deleted,
}

/// What started a run. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunType {
    /// Somebody asked for it.
    OnDemand,
    /// The schedule.
    Automatic,
}

/// The stages of an active run, in their order. Each is recorded before it begins and can be repeated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// Is the server there, can it be replicated, can the store take it?
    Validating,
    /// Take the point in time.
    Snapshotting,
    /// Read, send, commit the snapshots.
    Transferring,
    /// Re-read what was stored and compare.
    Verifying,
    /// Write the image.
    Registering,
    /// Advance the change tracker, remove what was created on the source.
    Cleaning,
}
