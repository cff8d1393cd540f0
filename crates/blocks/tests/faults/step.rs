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
