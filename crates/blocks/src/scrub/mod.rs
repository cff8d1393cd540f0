//! Looks for rot: below the level of snapshots, so that what many of them share is read once.
//!
//! ```text
//! list packs ─► the next ones by id ─► read each whole ─► which are bad ─► whose snapshots name them, and where
//!               (decided elsewhere)     check_pack                          trace
//!                                       absent: named, and not there ──────►
//! ```
//!
//! A pack is read from its header to its footer; its index and every record in it must open, and every record must have
//! the digest that the index says. What of that is damaged matters only if a snapshot names it: [`trace`] walks the
//! pages, each once however many snapshots share it, and reads again what lies in bad packs. So what it says is true of
//! what is stored where the snapshot is now, whoever moved it meanwhile, and packs that are bad where nobody looks do no
//! harm. Packs that are gone are on no list: a trace for all that is not listed finds them by what snapshots name.
//!
//! # Consistency
//! Reads only.
//! # Retries
//! Everything may be repeated. Damage is a result; only a store that cannot be asked is a failure.
//! # Cancellation
//! By token, between two pieces of a pack or two pages.
//! # Completion
//! Nothing is written.
//! # Crash consistency
//! There is none to lose.
//! # Memory
//! A piece of a pack, four megabytes at most; for a trace some 20 bytes for each page.

mod check;
mod trace;

pub use check::{PackCheck, PackState, check_pack};
pub use trace::{Suspected, Traced, trace};

use crate::store::BlockStore;
use godwit_model::failure::Failure;

/// Number and bytes of every pack in the store, by number.
pub async fn list_packs(store: &BlockStore) -> Result<Vec<(u128, u64)>, Failure> {
    let mut packs: Vec<_> = store.list_packs().await?.into_iter().map(|fact| (fact.pack, fact.bytes)).collect();
    packs.sort_unstable();
    Ok(packs)
}
