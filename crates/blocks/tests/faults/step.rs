//! Durable steps: what a process can be killed at.

use object_store::path::Path;

/// Kinds of durable steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    PutPack,
    PutSnapshot,
    PutImage,
    PutKey,
    /// The note that a pack was lent.
    PutLoan,
    /// A repack gives a snapshot new places.
    Replace,
    DeletePack,
    DeleteSnapshot,
    DeleteImage,
    DeleteLoan,
    /// The ledger: a pack is about to be put.
    Begun,
    /// The ledger: a pack is there.
    Durable,
    /// Any other transaction.
    Record,
}

pub const STEPS: [Step; 13] = [
    Step::PutPack,
    Step::PutSnapshot,
    Step::PutImage,
    Step::PutKey,
    Step::PutLoan,
    Step::Replace,
    Step::DeletePack,
    Step::DeleteSnapshot,
    Step::DeleteImage,
    Step::DeleteLoan,
    Step::Begun,
    Step::Durable,
    Step::Record,
];

impl Step {
    /// Whether it is part of removing or moving what is stored.
    pub fn removes(self) -> bool {
        matches!(self, Step::Replace | Step::DeletePack | Step::DeleteSnapshot | Step::DeleteImage | Step::DeleteLoan)
    }

    /// Whether it needs blocks that were lent.
    pub fn lends(self) -> bool {
        matches!(self, Step::PutLoan | Step::DeleteLoan)
    }
}

/// Of so many kills of a history, one comes at whatever step is the next. The others aim at one kind after the other.
const BY_CHANCE: u64 = 4;

/// Kills of a history that aim at a kind, of so many in all.
pub fn n_aimed(kills: u64) -> u64 {
    kills - kills / BY_CHANCE
}

/// The kind that this kill of a history aims at; `None` if it may come at any. `first` is what the history begins with.
pub fn aim_of(first: u64, kill: u64) -> Option<Step> {
    let is_by_chance = kill % BY_CHANCE == BY_CHANCE - 1;
    let number = (first % STEPS.len() as u64 + n_aimed(kill)) % STEPS.len() as u64;
    (!is_by_chance).then_some(STEPS[number as usize])
}

/// Where the process is killed.
#[derive(Clone, Copy, Debug)]
pub enum Trap {
    /// After so many steps.
    Any(usize),
    /// After so many steps of a kind.
    At(Step, usize),
}

/// The step that a put is.
pub fn step_of(path: &Path, replaces: bool) -> Step {
    match path.as_ref().split('/').next() {
        Some("packs") => Step::PutPack,
        Some("snapshots") if replaces => Step::Replace,
        Some("snapshots") => Step::PutSnapshot,
        Some("images") => Step::PutImage,
        Some("keys") => Step::PutKey,
        Some("loans") => Step::PutLoan,
        _ => panic!("nothing is put at {path}"),
    }
}

/// The step that a deletion is.
pub fn deletion_of(path: &Path) -> Step {
    match path.as_ref().split('/').next() {
        Some("packs") => Step::DeletePack,
        Some("snapshots") => Step::DeleteSnapshot,
        Some("images") => Step::DeleteImage,
        Some("loans") => Step::DeleteLoan,
        _ => panic!("nothing is deleted at {path}"),
    }
}
