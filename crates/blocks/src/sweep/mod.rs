//! What may go from the store, and how it goes: survey → plan → repack and delete.
//!
//! ```text
//! list packs ─► ask for claims ─► walk the pages of all snapshots ─► plan (pure) ─► repack ─► delete
//!  Listed        Claims            Marks                              Plan           execute
//! ```
//!
//! The order of the first three is what makes a sweep safe beside everything else, and [`Listed`] enforces it. A pack
//! that was listed was put before; its row in the ledger was written before that, and goes only when a snapshot that was
//! committed before accounts for it. So whoever asks for claims *after* listing packs, and lists snapshots *after*
//! that, sees each pack that anybody may still name in one of the two. And what neither names stays unneeded: a new
//! snapshot names new packs, packs of its run's ledger, what its parent names, and what it has on loan (`dedup`).
//!
//! # What makes each pair safe
//!
//! | beside | a sweep deletes packs and stray snapshots | a repack moves records |
//! |---|---|---|
//! | first copy | its packs are in the ledger before they are put | only packs that snapshots name and no ledger has are emptied |
//! | incremental | its parent is a snapshot, so what it names is marked | the parent of a run at work is pinned; a run that began meanwhile finds at its commit that its parent was rewritten, withdraws its snapshot and goes on from what it staged |
//! | commit | the ledger claims the packs until the snapshot is there, see above | as above |
//! | resume | packs handed on stay in the ledger; old ones leave it in one transaction, before they are removed | has nothing of the ledger |
//! | verify, export, read | what they read is named | they find a place empty, read the manifest again and go on at the new place |
//! | delete an image | its packs are unneeded from the next look on; a reader of it ends with "missing" | the manifest is replaced only if it is still there, under the lock that deletions take |
//! | delete a job | its ledger becomes void, its snapshots stay with their images | as above |
//! | rotate a key | nothing is encrypted | what is moved from then on is under the new version, and the manifest says so before anybody reads it |
//! | disable a key | what cannot be read may name anything: nothing is doomed | its snapshots stay as they are, and so do their packs; no other domain names these |
//! | a run that borrows | what is on loan is not deleted, also if it came back since the sweep began; what is being deleted is not lent | what was borrowed stays where it is, and the snapshot that names it is seen by the next sweep |
//! | sweep, repack | one at a time: `control` has one task for both | the same |
//! | kill | deleted is deleted; the next sweep looks anew | new packs that nothing names are swept when their time comes; each manifest is the old or the new one |
//!
//! # Consistency
//! Content first, pointer last: a repack's packs are durable before the manifest that names them replaces the old one.
//!
//! # Retries
//! Everything may be repeated. What could not be deleted is counted and left to the next sweep.
//!
//! # Cancellation
//! By token, between two objects.
//!
//! # Completion
//! What [`execute`] counts as deleted is durably gone.
//!
//! # Crash consistency
//! No step depends on a record of an earlier one: the next sweep looks at the store again.
//!
//! # Memory
//! Some 100 bytes for each pack and a bit for each record: about 10 MB for each TiB in the store, and up to three times
//! 32 pages of 80 KiB. A repack holds some 70 bytes for each page besides, and one pack.

mod execute;
mod mark;
mod plan;
mod repack;
mod survey;

pub use execute::{Swept, execute};
pub use mark::{Live, Marks};
pub use plan::{Doomed, Limits, PackFact, Plan, Reason, Tally, plan};
pub use repack::Repacked;
pub use survey::{Listed, Survey, survey};

use crate::pack::PackSet;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{KeyId, SnapshotId};
use godwit_model::key::{KeyUse, NoteKeyUse, Purpose};
use std::collections::HashSet;
use tokio_util::sync::CancellationToken;

/// What is claimed of the store, whatever snapshots name. Asked for after packs were listed.
#[derive(Clone, Default, Debug)]
pub struct Claims {
    /// Packs in the ledger: somebody may still use them, or removes them himself.
    pub packs: PackSet,
    /// Packs of snapshots that were deleted: if nothing else names them, they need not wait.
    pub released: PackSet,
    /// Snapshots that are known, or about to be made. Others are strays.
    pub snapshots: HashSet<SnapshotId>,
    /// Parents of runs at work, and what these make: their records are not moved.
    pub in_use: HashSet<SnapshotId>,
}

/// What goes with all of a sweep, or of a scrub.
#[derive(Clone, Copy)]
pub struct Course<'a> {
    /// Ends it early.
    pub cancel: &'a CancellationToken,
    /// Told of each use of a key before anything comes of it, so that what a sweep did that failed is known too.
    pub used: NoteKeyUse<'a>,
}

impl Course<'_> {
    pub(crate) fn stop_if_cancelled(&self) -> Result<(), Failure> {
        match self.cancel.is_cancelled() {
            true => Err(Failure::new(Code::Cancelled, "the work on the store was stopped")),
            false => Ok(()),
        }
    }

    /// Something was done with a key.
    pub(crate) fn note(&self, key: &KeyId, version: u32, purpose: Purpose) {
        (self.used)(KeyUse::of(key, version, purpose));
    }

    /// Something was to be done with a key; if it is the key that was refused, that is a use too.
    pub(crate) fn note_refusal(&self, key: &KeyId, purpose: Purpose, why: &Failure) {
        if matches!(why.code, Code::KeyDisabled | Code::KeyUnavailable) {
            (self.used)(KeyUse { key: key.clone(), version: None, purpose, failure: Some(why.code) });
        }
    }
}
