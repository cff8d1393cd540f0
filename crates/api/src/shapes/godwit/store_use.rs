//! The use of the store over time.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `DescribeStoreUse`.
    #[derive(Default)]
    DescribeStoreUseRequest {
        /// Not before this.
        from: Option<EpochSeconds>,
        /// Not behind this.
        to: Option<EpochSeconds>,
        /// How many at most; 500 unless something else is said.
        max_points: Option<i32>,
    }

    /// Answer of `DescribeStoreUse`.
    DescribeStoreUseResponse {
        /// What the store held, oldest first. If there is more than was wanted, evenly thinned; the first and the last
        /// are always there.
        points: Vec<StoreUsePoint>,
        /// How many there are of that time in all.
        recorded: u64,
        /// Minutes between two of them at most; absent if none are recorded.
        every_minutes: Option<u64>,
        /// When the next one is due.
        next_on: Option<EpochSeconds>,
    }

    /// What the store held at a moment. The four parts do not overlap: together they are its bytes.
    StoreUsePoint {
        /// When.
        at: EpochSeconds,
        /// Packs.
        packs: u64,
        /// Their bytes.
        bytes: u64,
        /// Of these, what snapshots need.
        live_bytes: u64,
        /// What nothing needs between that.
        dead_bytes: u64,
        /// What no snapshot names and what stays for now.
        staged_bytes: u64,
        /// What the next sweep removes, without repacking.
        to_free_bytes: u64,
    }
}
