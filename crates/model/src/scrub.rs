//! When the store is looked through for rot, and how much of it at a time. Pure.
//!
//! A *round* reads every pack once, in the order of ids, a slice at a time, so that the whole is spread over a span of
//! time. Packs that are new are wherever their random ids are: before the position they wait for the next round, and
//! they were verified by their run just now.

use crate::time::{Millis, Timestamp};

/// Longest time between two slices.
const LONGEST_PAUSE: Millis = Millis::HOUR;

/// Slices of a round at least, so that each is a small part also where rounds are short.
const FEWEST_SLICES: i64 = 720;

/// A slice is at most so many times what is due between two slices: what an outage left behind is made up for slowly.
const CATCH_UP: u64 = 4;

/// How far the scrub is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Course {
    /// Somebody waits for the end of the round: it goes on without pause.
    pub on_demand: bool,
    /// When the round that is open, or else the last one, began.
    pub began_at: Option<Timestamp>,
    /// Whether a round is open.
    pub is_open: bool,
    /// Number of the pack that was checked last in the round.
    pub position: Option<u128>,
    /// Bytes of the packs that were checked in it.
    pub bytes: u64,
    /// When its last slice ended.
    pub looked_at: Option<Timestamp>,
}

/// When the next slice is due; `None`: never. `every` is how long a round is to take; `None`: only on demand.
pub fn due(course: &Course, every: Option<Millis>) -> Option<Timestamp> {
    const AT_ONCE: Timestamp = Timestamp(i64::MIN);
    if course.on_demand {
        return Some(AT_ONCE);
    }
    let every = every?;
    let since = if course.is_open { course.looked_at.map(|at| at + pause(every)) } else { None };
    let next = if course.is_open { since } else { course.began_at.map(|at| at + every) };
    Some(next.unwrap_or(AT_ONCE))
}

/// Whether a slice is due now. A clock that was set back delays none.
pub fn is_due(course: &Course, every: Option<Millis>, now: Timestamp) -> bool {
    let last = if course.is_open { course.looked_at } else { course.began_at };
    due(course, every).is_some_and(|at| at <= now) || (every.is_some() && last.is_some_and(|last| now < last))
}

/// Bytes of the slice that is due now, in a store of `total` bytes.
pub fn share(course: &Course, every: Option<Millis>, total: u64, now: Timestamp) -> u64 {
    let Some(every) = every.filter(|every| every.0 > 0 && !course.on_demand) else { return u64::MAX };
    let began = course.began_at.filter(|_| course.is_open).unwrap_or(now);
    let part = |span: Millis| {
        let span = u128::from(span.0.clamp(0, every.0).unsigned_abs());
        (u128::from(total) * span).div_ceil(u128::from(every.0.unsigned_abs())) as u64
    };
    // To the end of the pause that follows.
    let behind = part(now - began + pause(every)).saturating_sub(course.bytes);
    behind.min(part(pause(every)).saturating_mul(CATCH_UP))
}

/// The packs of a slice: those behind the position, until they are `share` bytes. `packs` are numbers and bytes, by
/// number. At least one, unless nothing is due.
pub fn slice(packs: &[(u128, u64)], position: Option<u128>, share: u64) -> &[(u128, u64)] {
    let from = position.map_or(0, |position| packs.partition_point(|(pack, _)| *pack <= position));
    let left = &packs[from..];
    let mut bytes = 0u64;
    let n = left.iter().take_while(|(_, length)| {
        let is_short = bytes < share;
        bytes = bytes.saturating_add(*length);
        is_short
    });
    &left[..n.count()]
}

fn pause(every: Millis) -> Millis {
    Millis((every.0 / FEWEST_SLICES).clamp(1, LONGEST_PAUSE.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    proptest! {
        /// Packs come and go; whatever is there all the time is checked once in each round, none twice, and a round of a
        /// service that is awake takes as long as it is to take.
        #[test]
        fn a_round_reads_every_pack_once_and_takes_its_time(
            packs in proptest::collection::btree_map(0u128..10_000, 1u64..20_000_000, 0..300),
            comings in proptest::collection::vec((0u128..10_000, 1u64..20_000_000), 0..40),
            hours in 1i64..2_000,
        ) {
            let span = Millis::HOUR.times(hours);
            let every = Some(span);
            let mut store: BTreeMap<u128, u64> = packs.clone();
            let mut comings = comings.into_iter().filter(|(pack, _)| !packs.contains_key(pack)).collect::<Vec<_>>();
            let mut course = Course { began_at: Some(NOW), is_open: true, ..Course::default() };
            let mut checked: Vec<u128> = Vec::new();
            let mut now = NOW;
            loop {
                prop_assert!(is_due(&course, every, now));
                let listed: Vec<_> = store.iter().map(|(pack, bytes)| (*pack, *bytes)).collect();
                let total = store.values().sum();
                let share = share(&course, every, total, now);
                let found = slice(&listed, course.position, share);
                let bytes: u64 = found.iter().map(|(_, bytes)| bytes).sum();
                prop_assert!(bytes < share.saturating_add(20_000_000), "no more than a pack beyond what is due");
                checked.extend(found.iter().map(|(pack, _)| *pack));
                course.position = checked.last().copied().or(course.position);
                course.bytes += bytes;
                course.looked_at = Some(now);
                if slice(&listed, course.position, u64::MAX).is_empty() {
                    break;
                }
                store.extend(comings.pop());
                let next = due(&course, every).unwrap();
                prop_assert!(next > now);
                now = next;
            }
            prop_assert!(checked.windows(2).all(|pair| pair[0] < pair[1]), "in order, so none twice");
            prop_assert!(packs.keys().all(|pack| checked.contains(pack)));
            // What came meanwhile makes it no longer than the pauses that it takes to catch up.
            let took = now - NOW;
            prop_assert!(took <= Millis(span.0 + 50 * pause(span).0), "{took:?} of {every:?}");
        }

        #[test]
        fn a_slice_begins_behind_the_position_and_is_no_longer_than_needed(
            packs in proptest::collection::btree_map(0u128..100, 1u64..50, 0..40),
            position in proptest::option::of(0u128..100), share in 0u64..2_000,
        ) {
            let packs: Vec<_> = packs.into_iter().collect();
            let found = slice(&packs, position, share);
            let left: Vec<_> = packs.iter().filter(|(pack, _)| position.is_none_or(|at| *pack > at)).copied().collect();
            prop_assert!(left.starts_with(found));
            let bytes = |packs: &[(u128, u64)]| packs.iter().map(|(_, bytes)| bytes).sum::<u64>();
            prop_assert!(found.len() == left.len() || bytes(found) >= share);
            prop_assert!(found.is_empty() || bytes(&found[..found.len() - 1]) < share);
        }

        #[test]
        fn what_an_outage_left_behind_is_made_up_for_slowly(days in 0i64..400, total in 1u64..1 << 50, done: u64) {
            let every = Some(Millis::DAY.times(30));
            let course = Course { began_at: Some(NOW), is_open: true, bytes: done, ..Course::default() };
            let share = share(&course, every, total, NOW + Millis::DAY.times(days));
            prop_assert!(share <= total.div_ceil(720) * CATCH_UP);
        }
    }

    #[test]
    fn rounds_begin_when_they_are_due_and_on_demand_at_once() {
        let every = Some(Millis::DAY.times(30));
        let new = Course::default();
        assert!(is_due(&new, every, NOW) && !is_due(&new, None, NOW));
        assert!(is_due(&Course { on_demand: true, ..new.clone() }, None, NOW));
        assert_eq!(share(&Course { on_demand: true, ..new }, every, 5, NOW), u64::MAX);
        let closed = Course { began_at: Some(NOW), looked_at: Some(NOW), ..Course::default() };
        assert!(!is_due(&closed, every, NOW + Millis::DAY) && is_due(&closed, every, NOW + Millis::DAY.times(30)));
        let open = Course { is_open: true, ..closed };
        assert!(!is_due(&open, every, NOW + Millis::MINUTE) && is_due(&open, every, NOW + Millis::HOUR));
        assert!(is_due(&open, every, NOW - Millis::DAY), "the clock was set back");
    }
}
