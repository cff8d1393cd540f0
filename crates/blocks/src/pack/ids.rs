//! Sets of pack ids, kept as ranges. Pure.

use godwit_model::id::PackId;
use serde::{Deserialize, Serialize};

/// A set of packs. The ids that one attempt gives to its packs are consecutive, so that the set stays small however
/// many packs there are.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackSet {
    /// Sorted, neither overlapping nor touching.
    ranges: Vec<PackRange>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct PackRange {
    first: PackId,
    count: u64,
}

impl PackRange {
    fn first(&self) -> u128 {
        u128::from_be_bytes(self.first.to_bytes())
    }

    fn end(&self) -> u128 {
        self.first().saturating_add(u128::from(self.count))
    }
}

impl PackSet {
    /// Adds `count` packs whose ids follow each other.
    pub(crate) fn insert(&mut self, first: u128, count: u64) {
        if count == 0 {
            return;
        }
        let mut start = first;
        let mut end = first.saturating_add(u128::from(count));
        let from = self.ranges.partition_point(|r| r.end() < start);
        let to = self.ranges.partition_point(|r| r.first() <= end);
        if from < to {
            start = start.min(self.ranges[from].first());
            end = end.max(self.ranges[to - 1].end());
        }
        let count = u64::try_from(end - start).unwrap_or(u64::MAX);
        self.ranges.splice(from..to, [PackRange { first: PackId::from_bits(start), count }]);
    }

    /// Adds the pack `first` and those that follow it, `count` in all.
    pub fn add(&mut self, first: &PackId, count: u64) {
        self.insert(u128::from_be_bytes(first.to_bytes()), count);
    }

    /// The ranges of ids: the first of each and how many follow each other.
    pub fn ranges(&self) -> impl Iterator<Item = (&PackId, u64)> {
        self.ranges.iter().map(|range| (&range.first, range.count))
    }

    /// Whether the pack is in the set.
    pub fn contains(&self, pack: &PackId) -> bool {
        self.holds(u128::from_be_bytes(pack.to_bytes()))
    }

    pub(crate) fn holds(&self, pack: u128) -> bool {
        let at = self.ranges.partition_point(|r| r.end() <= pack);
        self.ranges.get(at).is_some_and(|r| r.first() <= pack)
    }

    /// Number of packs.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|r| r.count).fold(0, u64::saturating_add)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the ranges are as this type keeps them: a set from outside may be otherwise.
    pub(crate) fn is_proper(&self) -> bool {
        self.ranges.iter().all(|r| r.count > 0) && self.ranges.windows(2).all(|w| w[0].end() < w[1].first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_a_set(inserts in proptest::collection::vec((0u128..60, 0u64..8), 0..20)) {
            let mut set = PackSet::default();
            let mut model = BTreeSet::new();
            for (first, count) in inserts {
                set.insert(first, count);
                model.extend(first..first + u128::from(count));
                prop_assert!(set.is_proper());
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            for pack in 0..80u128 {
                prop_assert_eq!(set.holds(pack), model.contains(&pack));
                prop_assert_eq!(set.contains(&PackId::from_bits(pack)), model.contains(&pack));
            }
        }
    }
}
