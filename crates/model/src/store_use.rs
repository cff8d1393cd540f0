//! How the use of the store is recorded over time: when a sample is due, which ones are kept, which ones are shown. Pure.
//!
//! Samples are taken once in a while, and behind every sweep, so that what a sweep freed is seen as a step. All of them
//! are kept for a week; after that the first one of each day, for somewhat more than a year.

use crate::time::{Millis, Timestamp};

/// So long all samples are kept: of younger ones none is superfluous.
pub const ALL: Millis = Millis::DAY.times(7);

/// Of so many days one sample each is kept: a year and a month, so that a month can be seen beside that of the last year.
const DAYS: i64 = 400;

/// How often samples are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Time between two samples at most; `None`: none is taken.
    pub every: Option<Millis>,
    /// Time between two samples at least, however often the store is swept: each costs a look at it.
    pub soonest: Millis,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Some(Millis::HOUR), soonest: Millis::SECOND.times(10) }
    }
}

/// What the store held at a moment, in parts that do not overlap: every byte is in exactly one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Packs.
    pub packs: u64,
    /// Bytes that snapshots need.
    pub live: u64,
    /// Bytes between them that nothing needs any more.
    pub dead: u64,
    /// Bytes that no snapshot names and that stay for now: of runs, of nobody known, or because a snapshot cannot be read.
    pub staged: u64,
    /// Bytes of packs that the next sweep removes.
    pub to_free: u64,
}

impl Sample {
    /// Bytes of all packs.
    pub fn bytes(&self) -> u64 {
        [self.dead, self.staged, self.to_free].into_iter().fold(self.live, u64::saturating_add)
    }
}

/// When the next sample is due; `None`: never. `last` is when one was taken or tried last, `swept` when a sweep ended
/// last. Times that lie ahead are of a clock that was set back since, and say nothing.
pub fn due(pace: Pace, last: Option<Timestamp>, swept: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let every = pace.every?;
    let Some(last) = last.filter(|last| *last <= now) else { return Some(now) };
    let regular = last + every;
    let is_swept = swept.is_some_and(|swept| swept > last && swept <= now);
    Some(if is_swept { regular.min(last + pace.soonest) } else { regular })
}

/// Which samples go; `samples` are in order. What lies ahead of `now` was taken by a clock that was wrong.
pub fn superfluous(samples: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    let mut last_day = None;
    let goes = |at: &&Timestamp| {
        let is_first = last_day.replace(day(**at)) != Some(day(**at));
        **at > now || day(now) - day(**at) >= DAYS || (now - **at >= ALL && !is_first)
    };
    samples.iter().filter(goes).copied().collect()
}

/// Number of a day. Days are those of UTC: whole ones go, so that what is kept of a day does not depend on when one looks.
fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(Millis::DAY.0)
}

/// Which of `count` samples are shown where there is room for `most`: the first, the last, and between them every so
/// manieth. `most` is 2 at least.
pub fn evenly(count: usize, most: usize) -> Vec<usize> {
    if count <= most || most < 2 {
        return (0..count).collect();
    }
    (0..most).map(|n| n * (count - 1) / (most - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn pace() -> impl Strategy<Value = Pace> {
        (1i64..100_000_000, 0i64..1_000_000)
            .prop_map(|(every, soonest)| Pace { every: Some(Millis(every + soonest)), soonest: Millis(soonest) })
    }

    /// Moments of some 500 days up to now, in order.
    fn moments() -> impl Strategy<Value = Vec<Timestamp>> {
        proptest::collection::btree_set(0i64..500 * 86_400, 0..300)
            .prop_map(|ago| ago.into_iter().rev().map(|ago| NOW - Millis::SECOND.times(ago)).collect())
    }

    fn kept(samples: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
        let gone: BTreeSet<_> = superfluous(samples, now).into_iter().collect();
        samples.iter().filter(|at| !gone.contains(at)).copied().collect()
    }

    proptest! {
        #[test]
        fn a_sample_is_due_neither_too_soon_nor_too_late(
            pace in pace(), ago in 0i64..200_000_000, swept in proptest::option::of(-9_999_999i64..200_000_000),
        ) {
            let (last, swept) = (NOW - Millis(ago), swept.map(|ago| NOW - Millis(ago)));
            let at = due(pace, Some(last), swept, NOW).unwrap();
            let every = pace.every.unwrap();
            prop_assert!(at >= last + pace.soonest && at <= last + every);
            let is_behind_a_sweep = swept.is_some_and(|swept| swept > last && swept <= NOW);
            prop_assert_eq!(at, if is_behind_a_sweep { last + pace.soonest } else { last + every });
        }

        /// A service that looks every second, with sweeps and a clock that is set: there is never a longer gap than there
        /// may be, never a shorter one, and every sweep has a sample behind it.
        #[test]
        fn samples_come_in_time_whatever_happens(
            pace in pace(), steps in proptest::collection::vec((1i64..50_000_000, 0u8..10), 1..200),
        ) {
            let every = pace.every.unwrap();
            let (mut now, mut last, mut swept) = (NOW, None, None);
            for (span, what) in steps {
                match what {
                    0..=2 => swept = Some(now),
                    3 => now = now - Millis(span),
                    _ => now = now + Millis(span),
                }
                let at = due(pace, last, swept, now).unwrap();
                if at <= now {
                    if let Some(last) = last.filter(|last| *last <= now) {
                        prop_assert!(now - last >= pace.soonest);
                    }
                    last = Some(now);
                } else {
                    let last = last.unwrap();
                    prop_assert!(now >= last && now - last < every);
                    let is_open = swept.is_some_and(|swept| swept > last && swept <= now);
                    prop_assert!(!is_open || now - last < pace.soonest);
                }
            }
        }

        #[test]
        fn a_week_is_kept_whole_and_then_one_sample_of_each_day(samples in moments()) {
            let kept = kept(&samples, NOW);
            let week: Vec<_> = samples.iter().filter(|at| NOW - **at < ALL).collect();
            prop_assert!(week.iter().all(|at| kept.contains(at)));
            prop_assert!(kept.iter().all(|at| day(NOW) - day(*at) < DAYS));
            let mut days: BTreeMap<i64, usize> = BTreeMap::new();
            for at in kept.iter().filter(|at| NOW - **at >= ALL) {
                *days.entry(day(*at)).or_default() += 1;
            }
            prop_assert!(days.values().all(|n| *n == 1));
            prop_assert!(days.len() <= 394);
            for at in samples.iter().filter(|at| day(NOW) - day(**at) < DAYS) {
                prop_assert!(kept.iter().any(|kept| day(*kept) == day(*at)), "a day is lost");
            }
        }

        /// Thinned day by day, nothing else is left than thinned once: so it does not matter when the service was down.
        #[test]
        fn it_does_not_matter_how_often_samples_are_thinned(
            samples in moments(), at in proptest::collection::btree_set(0i64..500, 0..20),
        ) {
            let mut left = samples.clone();
            for days in at.into_iter().rev() {
                let then = NOW - Millis::DAY.times(days);
                let (known, ahead): (Vec<_>, Vec<_>) = left.into_iter().partition(|at| *at <= then);
                left = kept(&known, then).into_iter().chain(ahead).collect();
            }
            prop_assert_eq!(kept(&left, NOW), kept(&samples, NOW));
            prop_assert_eq!(superfluous(&kept(&samples, NOW), NOW), vec![]);
            // Whoever thins need not look at what is young.
            let old: Vec<_> = samples.iter().filter(|at| NOW - **at >= ALL).copied().collect();
            prop_assert_eq!(superfluous(&old, NOW), superfluous(&samples, NOW));
        }

        #[test]
        fn what_is_shown_has_both_ends_and_even_steps(count in 0usize..5_000, most in 2usize..600) {
            let shown = evenly(count, most);
            prop_assert_eq!(shown.len(), count.min(most));
            if count > 0 {
                prop_assert_eq!((shown[0], shown[shown.len() - 1]), (0, count - 1));
            }
            let steps: BTreeSet<usize> = shown.windows(2).map(|pair| pair[1] - pair[0]).collect();
            prop_assert!(!steps.contains(&0) && steps.len() <= 2);
            prop_assert!(steps.iter().max().unwrap_or(&1) - steps.iter().min().unwrap_or(&1) <= 1);
        }
    }

    #[test]
    fn the_first_sample_is_due_at_once_and_none_if_so_told() {
        assert_eq!(due(Pace::default(), None, None, NOW), Some(NOW));
        assert_eq!(due(Pace::default(), Some(NOW), None, NOW), Some(NOW + Millis::HOUR));
        assert_eq!(due(Pace::default(), Some(NOW + Millis(1)), None, NOW), Some(NOW), "the clock was set back");
        assert_eq!(due(Pace { every: None, ..Pace::default() }, None, Some(NOW), NOW), None);
    }

    #[test]
    fn what_a_wrong_clock_took_goes() {
        assert_eq!(superfluous(&[NOW - Millis(1), NOW, NOW + Millis(1)], NOW), [NOW + Millis(1)]);
    }

    #[test]
    fn the_parts_add_up() {
        let sample = Sample { at: NOW, packs: 1, live: 1, dead: 2, staged: 4, to_free: 8 };
        assert_eq!(sample.bytes(), 15);
        assert_eq!(Sample { live: u64::MAX, ..sample }.bytes(), u64::MAX);
    }
}
