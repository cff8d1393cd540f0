//! The store: what is in it, sweeps.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

/// State of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SweepState {
    /// At work.
    Running,
    /// It came to its end.
    Completed,
    /// It was given up.
    Failed,
}

impl SweepState {
    /// As it is on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            SweepState::Running => "RUNNING",
            SweepState::Completed => "COMPLETED",
            SweepState::Failed => "FAILED",
        }
    }
}

shapes! {
    /// Request of `PreviewSweep`.
    #[derive(Default)]
    PreviewSweepRequest {}

    /// Answer of `PreviewSweep`: what the store holds, what a sweep would free. Each pack counts once.
    PreviewSweepResponse {
        /// All packs.
        all: PackCount,
        /// Packs that snapshots need.
        named: PackCount,
        /// Bytes of them that nothing needs any more.
        dead_bytes: u64,
        /// Packs that runs are sending or can be resumed from.
        staged: PackCount,
        /// How long those of failed runs are kept.
        staging_hours: u64,
        /// Of the staged ones those that are older: they go.
        expired_staged: PackCount,
        /// Packs that nobody knows and that are not old enough to go.
        waiting: PackCount,
        /// When the first of them goes.
        waiting_until: Option<EpochSeconds>,
        /// Packs of deleted snapshots: they go.
        released: PackCount,
        /// Packs that nobody knows and that are old: they go.
        expired: PackCount,
        /// Packs that stay because a snapshot cannot be read.
        doubtful: PackCount,
        /// Packs of which so much is dead that repacking them is worth it. The bytes are what that frees.
        repackable: PackCount,
        /// How many of them one sweep repacks.
        repack_packs: u64,
        /// What that frees.
        repack_frees: u64,
        /// Snapshots that nobody knows: they go.
        stray_snapshots: u64,
        /// Bytes that a sweep would free in all.
        bytes_to_free: u64,
        /// Snapshots that cannot be read.
        unreadable: Vec<UnreadableSnapshot>,
    }

    /// Some packs.
    PackCount {
        /// How many.
        packs: u64,
        /// Their bytes.
        bytes: u64,
        /// When the oldest was made, if that is known.
        oldest: Option<EpochSeconds>,
    }

    /// A snapshot that cannot be read.
    UnreadableSnapshot {
        /// Which.
        snapshot_id: String,
        /// Why.
        message: String,
    }

    /// Request of `StartSweep`.
    #[derive(Default)]
    StartSweepRequest {}

    /// Answer of `StartSweep`.
    StartSweepResponse {
        /// The sweep: the one that is at work, if there is one.
        sweep_id: String,
    }

    /// Request of `DescribeSweeps`.
    #[derive(Default)]
    DescribeSweepsRequest {
        /// Only these.
        sweep_ids: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeSweeps`.
    DescribeSweepsResponse {
        /// The sweeps, newest first.
        sweeps: Vec<SweepDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A sweep.
    SweepDescription {
        /// Its id.
        sweep_id: String,
        /// Whether somebody asked for it.
        on_demand: bool,
        /// State.
        state: SweepState,
        /// When it began.
        started_on: EpochSeconds,
        /// When it ended.
        ended_on: Option<EpochSeconds>,
        /// Packs deleted.
        packs_freed: u64,
        /// Their bytes.
        bytes_freed: u64,
        /// Bytes moved by repacking.
        bytes_moved: u64,
        /// What could not be deleted or moved; the next sweep tries again.
        left: u64,
        /// What went wrong.
        message: Option<String>,
        /// How far it has come, while it is at work.
        progress: Option<SweepProgress>,
    }

    /// How far a sweep has come.
    SweepProgress {
        /// Snapshots whose pages were read.
        snapshots_read: u64,
        /// Snapshots there are; 0 once they are all read.
        snapshots: u64,
        /// Packs to delete.
        packs_to_free: u64,
        /// Packs deleted.
        packs_freed: u64,
        /// Their bytes.
        bytes_freed: u64,
        /// Bytes moved by repacking.
        bytes_moved: u64,
    }

    /// Request of `DescribeStore`.
    #[derive(Default)]
    DescribeStoreRequest {}

    /// Answer of `DescribeStore`.
    DescribeStoreResponse {
        /// What it holds, and what a sweep would free now.
        content: PreviewSweepResponse,
        /// The last sweep, or the one at work.
        last_sweep: Option<SweepDescription>,
        /// When the next one is due.
        next_sweep_on: Option<EpochSeconds>,
    }
}
