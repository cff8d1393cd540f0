//! The scrub of the store.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `StartScrub`.
    #[derive(Default)]
    StartScrubRequest {}

    /// Answer of `StartScrub`.
    StartScrubResponse {
        /// The round that reads the whole store: the one that is at work, if somebody asked for it already.
        round: u64,
    }

    /// Request of `DescribeScrub`.
    #[derive(Default)]
    DescribeScrubRequest {}

    /// How far the scrub is, and what it found.
    ScrubDescription {
        /// The round that is open, or the last one; 0 before the first.
        round: u64,
        /// Whether it is open.
        open: bool,
        /// Whether somebody asked for it: then it goes on without pause.
        on_demand: bool,
        /// When it began.
        began_on: Option<EpochSeconds>,
        /// When the last whole round ended.
        ended_on: Option<EpochSeconds>,
        /// When the next part is due.
        next_on: Option<EpochSeconds>,
        /// Packs that were checked in the round.
        packs_checked: u64,
        /// Their bytes.
        bytes_checked: u64,
        /// Bytes of all packs.
        bytes_total: u64,
        /// Packs of the round that could not be looked at, because their key is disabled or lost.
        packs_skipped: u64,
        /// Packs in the store that are damaged. Images that need them are DAMAGED.
        damaged_packs: u64,
        /// What is wrong with one of them.
        problem: Option<String>,
        /// Why it does not go on at the moment.
        message: Option<String>,
    }
}
