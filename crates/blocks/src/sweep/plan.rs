//! Which packs go, which wait, which are worth being repacked. Pure.

use super::{Claims, Marks};
use crate::crypt::TAG;
use crate::pack::{ENTRY, FOOTER, HEADER};
use godwit_model::id::{PackId, SnapshotId};
use godwit_model::time::{Millis, Timestamp};

/// A pack that is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackFact {
    /// The digits of its id.
    pub pack: u128,
    /// Its length.
    pub bytes: u64,
    /// When it was made durable, as the store tells.
    pub made_at: Timestamp,
}

/// What a sweep goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long what nobody names is kept.
    pub staging: Millis,
    /// A pack is repacked if at least so many percent of it are dead; 0 never.
    pub repack_percent: u8,
    /// And at least so many bytes: a repack leaves the pages that it writes anew dead in their old packs, and must not
    /// take those for worth another repack, for ever.
    pub repack_floor: u64,
    /// Live bytes that one sweep moves at most.
    pub repack_bytes: u64,
}

/// How much of something there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Number of packs.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was made.
    pub oldest: Option<Timestamp>,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: u64, made_at: Timestamp) {
        self.packs += 1;
        self.bytes += bytes;
        self.oldest = Some(self.oldest.map_or(made_at, |oldest| oldest.min(made_at)));
    }
}

/// Why a pack goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Only deleted snapshots named it.
    Released,
    /// No snapshot names it, and its time is over.
    Expired,
}

/// A pack that goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doomed {
    /// Which.
    pub pack: u128,
    /// Its length.
    pub bytes: u64,
    /// Why.
    pub reason: Reason,
}

/// What a sweep does, and what it found.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// All packs.
    pub all: Tally,
    /// Packs that snapshots name.
    pub named: Tally,
    /// Bytes of them that nothing names any more.
    pub dead_bytes: u64,
    /// Packs of the ledger that no snapshot names.
    pub staged: Tally,
    /// Packs that nobody names or claims and whose time is not over.
    pub waiting: Tally,
    /// When the first of them goes.
    pub waiting_until: Option<Timestamp>,
    /// Packs that only deleted snapshots named: they go.
    pub released: Tally,
    /// Packs whose time is over: they go.
    pub expired: Tally,
    /// Packs that may be unneeded, kept because a snapshot cannot be read.
    pub doubtful: Tally,
    /// The packs that go.
    pub delete: Vec<Doomed>,
    /// The packs to empty.
    pub repack: Vec<u128>,
    /// What repacking them frees.
    pub repack_frees: u64,
    /// What repacking all that are worth it would free, also in later sweeps.
    pub repackable: Tally,
    /// Snapshots that nobody knows: they go.
    pub strays: Vec<SnapshotId>,
    /// Snapshots whose pages cannot be read, and why.
    pub unreadable: Vec<(SnapshotId, String)>,
}

impl Plan {
    /// Bytes that deleting frees, without repacking.
    pub fn frees(&self) -> u64 {
        self.released.bytes + self.expired.bytes
    }

    /// Ids of the packs to delete.
    pub fn deletes(&self, pack: &PackId) -> bool {
        let bits = u128::from_be_bytes(pack.to_bytes());
        self.delete.iter().any(|doomed| doomed.pack == bits)
    }
}

/// Decides about every pack. While a snapshot cannot be read, nothing that it may name goes.
pub fn plan(packs: &[PackFact], marks: &Marks, claims: &Claims, limits: &Limits, now: Timestamp) -> Plan {
    let mut plan = Plan { unreadable: marks.unreadable.clone(), ..Plan::default() };
    let mut worth: Vec<(u64, u64, u128)> = Vec::new();
    for fact in packs {
        plan.all.add(fact.bytes, fact.made_at);
        if let Some(live) = marks.live(fact.pack) {
            plan.named.add(fact.bytes, fact.made_at);
            let dead = dead_bytes(fact.bytes, live);
            plan.dead_bytes += dead;
            let is_free = !live.pinned && !claims.packs.holds(fact.pack) && marks.unreadable.is_empty();
            if is_free && is_worth_it(fact.bytes, dead, limits) {
                plan.repackable.add(dead, fact.made_at);
                worth.push((dead, live.bytes, fact.pack));
            }
        } else if claims.packs.holds(fact.pack) {
            plan.staged.add(fact.bytes, fact.made_at);
        } else {
            decide(&mut plan, fact, claims, limits, now);
        }
    }
    choose(&mut plan, worth, limits.repack_bytes);
    plan
}

/// What becomes of a pack that nobody names or claims.
fn decide(plan: &mut Plan, fact: &PackFact, claims: &Claims, limits: &Limits, now: Timestamp) {
    let until = fact.made_at + limits.staging;
    let reason = match claims.released.holds(fact.pack) {
        true => Some(Reason::Released),
        false => (until <= now).then_some(Reason::Expired),
    };
    let Some(reason) = reason else {
        plan.waiting.add(fact.bytes, fact.made_at);
        plan.waiting_until = Some(plan.waiting_until.map_or(until, |first| first.min(until)));
        return;
    };
    if !plan.unreadable.is_empty() {
        plan.doubtful.add(fact.bytes, fact.made_at);
        return;
    }
    match reason {
        Reason::Released => plan.released.add(fact.bytes, fact.made_at),
        Reason::Expired => plan.expired.add(fact.bytes, fact.made_at),
    }
    plan.delete.push(Doomed { pack: fact.pack, bytes: fact.bytes, reason });
}

/// The packs that free most for what must be moved, as many as `bound` live bytes allow, but at least one.
fn choose(plan: &mut Plan, mut worth: Vec<(u64, u64, u128)>, bound: u64) {
    worth.sort_by_key(|(dead, live, pack)| (live.saturating_mul(1000) / (*dead).max(1), *pack));
    let mut moved = 0u64;
    for (dead, live, pack) in worth {
        moved = moved.saturating_add(live);
        if moved > bound && !plan.repack.is_empty() {
            break;
        }
        plan.repack.push(pack);
        plan.repack_frees += dead;
    }
}

/// What of a pack nothing needs: its length without the live records and what frames them.
fn dead_bytes(bytes: u64, live: super::Live) -> u64 {
    let frame = (HEADER + FOOTER + TAG) as u64 + ENTRY as u64 * u64::from(live.records);
    bytes.saturating_sub(live.bytes + frame)
}

fn is_worth_it(bytes: u64, dead: u64, limits: &Limits) -> bool {
    let percent = u64::from(limits.repack_percent);
    percent > 0 && dead >= limits.repack_floor.max(1) && dead.saturating_mul(100) >= bytes.saturating_mul(percent)
}

#[cfg(test)]
mod tests {
    use super::super::Live;
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const LIMITS: Limits =
        Limits { staging: Millis(500_000), repack_percent: 50, repack_floor: 2_000, repack_bytes: 30_000 };

    #[derive(Clone, Debug)]
    struct Case {
        fact: PackFact,
        live: Option<Live>,
        claimed: bool,
        released: bool,
    }

    fn case() -> impl Strategy<Value = Case> {
        let live = proptest::option::of((1u64..9_000, 1u32..20, any::<bool>()));
        (0i64..1_200_000, 10_000u64..20_000, live, any::<bool>(), any::<bool>()).prop_map(
            |(at, bytes, live, claimed, released)| Case {
                fact: PackFact { pack: 0, bytes, made_at: Timestamp(at) },
                live: live.map(|(bytes, records, pinned)| Live { bytes, records, pinned }),
                claimed,
                released,
            },
        )
    }

    fn planned(cases: &mut [Case], unreadable: bool) -> Plan {
        let (mut marks, mut claims) = (Marks::default(), Claims::default());
        for (pack, case) in (7u128..).step_by(2).zip(cases.iter_mut()) {
            case.fact.pack = pack;
            if let Some(live) = case.live {
                marks.set(pack, live);
            }
            if case.claimed {
                claims.packs.insert(pack, 1);
            }
            if case.released {
                claims.released.insert(pack, 1);
            }
        }
        if unreadable {
            marks.unreadable.push((SnapshotId::from_bits(1), "damaged".to_owned()));
        }
        let facts: Vec<PackFact> = cases.iter().map(|case| case.fact).collect();
        plan(&facts, &marks, &claims, &LIMITS, NOW)
    }

    proptest! {
        #[test]
        fn what_is_named_or_claimed_stays_and_everything_else_goes_in_its_time(
            mut cases in proptest::collection::vec(case(), 0..40),
        ) {
            let plan = planned(&mut cases, false);
            let mut gone = 0;
            for case in &cases {
                let is_old = case.fact.made_at + LIMITS.staging <= NOW;
                let goes = case.live.is_none() && !case.claimed && (case.released || is_old);
                prop_assert_eq!(plan.deletes(&PackId::from_bits(case.fact.pack)), goes, "{:?}", case);
                gone += if goes { case.fact.bytes } else { 0 };
            }
            prop_assert_eq!(plan.frees(), gone);
            prop_assert_eq!(plan.doubtful.packs, 0);
            let parts = [plan.named, plan.staged, plan.waiting, plan.released, plan.expired];
            prop_assert_eq!(parts.iter().map(|p| p.packs).sum::<u64>(), plan.all.packs);
            prop_assert_eq!(parts.iter().map(|p| p.bytes).sum::<u64>(), plan.all.bytes);
        }

        #[test]
        fn only_packs_that_are_named_unpinned_unclaimed_and_mostly_dead_are_emptied(
            mut cases in proptest::collection::vec(case(), 0..40),
        ) {
            let plan = planned(&mut cases, false);
            let of = |pack: u128| cases.iter().find(|c| c.fact.pack == pack).unwrap();
            for pack in &plan.repack {
                let case = of(*pack);
                let live = case.live.unwrap();
                prop_assert!(!live.pinned && !case.claimed);
                let dead = dead_bytes(case.fact.bytes, live);
            prop_assert!(dead * 2 >= case.fact.bytes && dead >= LIMITS.repack_floor);
            }
            let moved: u64 = plan.repack.iter().map(|p| of(*p).live.unwrap().bytes).sum();
            prop_assert!(moved <= LIMITS.repack_bytes || plan.repack.len() == 1);
            prop_assert!(plan.repack_frees <= plan.repackable.bytes);
            prop_assert_eq!(plan.repack.is_empty(), plan.repackable.packs == 0);
        }

        #[test]
        fn while_a_snapshot_cannot_be_read_nothing_goes(mut cases in proptest::collection::vec(case(), 0..40)) {
            let plan = planned(&mut cases, true);
            prop_assert!(plan.delete.is_empty() && plan.repack.is_empty());
            prop_assert_eq!(plan.frees(), 0);
        }
    }

    #[test]
    fn a_pack_of_tiny_records_that_all_live_is_not_dead() {
        let records = 8192u32;
        let bytes = u64::from(records) * (30 + 52) + 136;
        assert_eq!(dead_bytes(bytes, Live { bytes: u64::from(records) * 30, records, pinned: false }), 0);
    }
}
