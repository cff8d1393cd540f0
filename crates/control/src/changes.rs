//! What has changed: told to whoever shows it, by the one place where changes are committed.
//!
//! A kind is what people look at together, not a table: `store::writing` says which tables are which kind. A change is
//! told after its commit, so that whoever reads then sees it. Nobody is told *what* it was: who wants to know reads
//! again. So nothing is queued for those who listen, however many and however slow they are.

use std::sync::Arc;
use tokio::sync::watch;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What can change.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every one.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];
        }
    };
}

kinds! {
    /// Jobs.
    Jobs,
    /// Runs: their states, stages and outcomes.
    Runs,
    /// Figures of runs and verifications at work.
    Progress,
    /// Servers.
    Servers,
    /// The catalog and its import.
    Catalog,
    /// Connectors.
    Connectors,
    /// Images and their verification.
    Images,
    /// Snapshots.
    Snapshots,
    /// What the store holds, its sweeps and its scrub.
    Store,
    /// How much the store held, over time. Apart from the store itself: a sample costs a look at the store, and whoever
    /// shows that would look again for each.
    StoreUse,
    /// Notifications.
    Notifications,
    /// Records of changes. Records of reads are none: who looks at the trail would be told of its own look for ever.
    Audit,
    /// Users, their access keys, passwords and policies.
    Users,
    /// Policies.
    Policies,
    /// Roles.
    Roles,
    /// Keys.
    Keys,
    /// What counts for the whole service.
    Limits,
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Kinds(u32);

impl Kinds {
    pub const NONE: Kinds = Kinds(0);

    pub const fn of(kind: Kind) -> Kinds {
        Kinds(1 << kind as u32)
    }

    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    fn has(self, kind: Kind) -> bool {
        self.0 & Kinds::of(kind).0 != 0
    }
}

/// How often what has changed since the process began.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Revisions {
    /// The number of the last change.
    pub last: u64,
    /// The number of each kind's last change; 0 if it has not changed.
    of: [u64; Kind::ALL.len()],
}

impl Revisions {
    /// What has changed behind the change of this number.
    pub fn since(&self, revision: u64) -> Vec<Kind> {
        Kind::ALL.iter().copied().filter(|kind| self.of[*kind as usize] > revision).collect()
    }
}

/// Counts changes and tells that there are some. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Changes {
    revisions: Arc<watch::Sender<Revisions>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { revisions: Arc::new(watch::Sender::new(Revisions::default())) }
    }
}

impl Changes {
    /// These have changed, together.
    pub(crate) fn tell(&self, kinds: Kinds) {
        if kinds == Kinds::NONE {
            return;
        }
        self.revisions.send_modify(|revisions| {
            revisions.last += 1;
            for kind in Kind::ALL.iter().filter(|kind| kinds.has(**kind)) {
                revisions.of[*kind as usize] = revisions.last;
            }
        });
    }

    /// How often what has changed so far.
    pub(crate) fn so_far(&self) -> Revisions {
        self.revisions.borrow().clone()
    }

    /// Hears of changes from now on.
    pub fn listen(&self) -> watch::Receiver<Revisions> {
        self.revisions.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_is_known_by_kind() {
        let changes = Changes::default();
        let heard = changes.listen();
        changes.tell(Kinds::of(Kind::Jobs).and(Kinds::of(Kind::Runs)));
        changes.tell(Kinds::NONE);
        changes.tell(Kinds::of(Kind::Runs));
        let revisions = heard.borrow().clone();
        assert_eq!(revisions.last, 2);
        assert_eq!(revisions.since(0), [Kind::Jobs, Kind::Runs]);
        assert_eq!(revisions.since(1), [Kind::Runs]);
        assert_eq!(revisions.since(2), []);
        assert!(heard.has_changed().unwrap());
    }
}
