//! The scrub of the store: how far it is, one on demand.

use super::{Answer, Service};
use godwit_model::scrub::{Course, due};
use godwit_model::time::Timestamp;

/// How far the scrub of the store is, and what it found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scrub {
    /// Which round is open, or was the last one, counted from 1; 0 before the first.
    pub round: u64,
    /// How far it is.
    pub course: Course,
    /// Packs that were checked in the round.
    pub packs: u64,
    /// Bytes of all packs, as they were listed last.
    pub bytes_total: u64,
    /// Packs of the round that could not be looked at because their key may not be used.
    pub skipped: u64,
    /// When the last whole round ended.
    pub ended_at: Option<Timestamp>,
    /// Packs in the store that are damaged.
    pub damaged_packs: u64,
    /// What is wrong with one of them.
    pub problem: Option<String>,
    /// Why the scrub does not go on at the moment.
    pub message: Option<String>,
}

/// The scrub and what comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrubDescription {
    /// How far it is.
    pub scrub: Scrub,
    /// When the next slice is due; `None` if it is at work, or only on demand.
    pub next: Option<Timestamp>,
}

impl Service {
    /// `StartScrub`: reads the whole store once, now. While one that was asked for is at work, that one is meant. Gives
    /// the number of its round.
    pub async fn start_scrub(&self) -> Answer<u64> {
        let was = self.line.store.demand_scrub().await?;
        self.line.wake.notify_one();
        Ok(if was.course.is_open { was.round } else { was.round + 1 })
    }

    /// `DescribeScrub`: how far it is, and what it found.
    pub async fn describe_scrub(&self) -> Answer<ScrubDescription> {
        let scrub = self.line.store.scrub().await?;
        let at = due(&scrub.course, self.line.options.scrub_every);
        Ok(ScrubDescription { next: at.filter(|at| at.0 > 0), scrub })
    }
}
