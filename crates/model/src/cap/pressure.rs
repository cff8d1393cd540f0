//! How many reads of a source may be in flight, by how fast it answers.
//!
//! ```text
//!  answers as fast as ever          ──► one more each second, up to the most
//!  four times slower for 2 seconds  ──► half as many, down to one
//!  between                          ──► as it is
//! ```
//!
//! "As ever" is the shortest time that a read of this size took with as many reads in flight or more: so neither a long read
//! nor our own queue at the source counts as slowness. What was seen long ago is forgotten: a source that is
//! slower for good gets its reads back.

use std::time::Duration;

/// Slower than ever by this factor is too slow.
const SLOW: f64 = 4.0;

/// Below this factor it is as fast as ever.
const CALM: f64 = 2.0;

/// What answers within this is not under pressure, whatever it did before: a local disk varies by more than a factor.
const PROMPT: Duration = Duration::from_millis(10);

/// How long it must be too slow before anything follows: one slow read is no pressure.
const SLOW_FOR: Duration = Duration::from_secs(2);

/// Pause between two steps up.
const STEP_UP: Duration = Duration::from_secs(1);

/// What "ever" is: at least this long, at most twice as long.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How much of the average the newest read is.
const NEWEST: f64 = 0.125;

/// Size classes: up to 64 KiB, and each twice as much as the one before.
const CLASSES: usize = 6;

/// A read that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// How many bytes.
    pub bytes: u64,
    /// Reads in flight at the source when it began, itself included.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
}

/// What is known of a source.
#[derive(Clone, Debug)]
pub struct Pressure {
    most: usize,
    allowed: usize,
    /// How much slower than ever, on average of late.
    slowness: f64,
    slow_since: Option<Duration>,
    changed_at: Duration,
    shortest: [Vec<[Option<Duration>; CLASSES]>; 2],
    remembered_since: Duration,
}

impl Pressure {
    /// Of a source of which nothing is known: up to `most` reads.
    pub fn new(most: usize, now: Duration) -> Pressure {
        let most = most.max(1);
        Pressure {
            most,
            allowed: most,
            slowness: 1.0,
            slow_since: None,
            changed_at: now,
            shortest: [vec![[None; CLASSES]; most], vec![[None; CLASSES]; most]],
            remembered_since: now,
        }
    }

    /// How many reads may be in flight: 1 to the most.
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// Whether fewer than the most are allowed.
    pub fn is_reduced(&self) -> bool {
        self.allowed < self.most
    }

    /// A read was answered at `now`.
    pub fn observe(&mut self, now: Duration, read: Answered) {
        self.forget(now);
        let (depth, class) = (read.depth.clamp(1, self.most), class_of(read.bytes));
        let seen = &mut self.shortest[0][depth - 1][class];
        *seen = Some(seen.map_or(read.took, |shortest| shortest.min(read.took)));
        let deeper = self.shortest.iter().flat_map(|of| &of[depth - 1..]).filter_map(|classes| classes[class]);
        let ever = deeper.min().unwrap_or(read.took).max(Duration::from_nanos(1));
        let slowness = if read.took <= PROMPT { 1.0 } else { read.took.as_secs_f64() / ever.as_secs_f64() };
        self.slowness += (slowness - self.slowness) * NEWEST;
        if self.slowness > SLOW {
            let since = *self.slow_since.get_or_insert(now);
            if now.saturating_sub(since) >= SLOW_FOR {
                self.allowed = (self.allowed / 2).max(1);
                self.changed_at = now;
                self.slow_since = Some(now);
            }
            return;
        }
        self.slow_since = None;
        if self.slowness < CALM && now.saturating_sub(self.changed_at) >= STEP_UP {
            self.allowed = (self.allowed + 1).min(self.most);
            self.changed_at = now;
        }
    }

    fn forget(&mut self, now: Duration) {
        let age = now.saturating_sub(self.remembered_since);
        if age >= REMEMBERED {
            let nothing = vec![[None; CLASSES]; self.most];
            let last = std::mem::replace(&mut self.shortest[0], nothing.clone());
            self.shortest[1] = if age < REMEMBERED * 2 { last } else { nothing };
            self.remembered_since = now;
        }
    }
}

fn class_of(bytes: u64) -> usize {
    let units = bytes.div_ceil(64 << 10).max(1);
    (units.next_power_of_two().trailing_zeros() as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 8;
    const MIB: u64 = 1 << 20;

    /// A source with so many reads at work at once, each of which takes `base`; what is more waits its turn.
    struct Simulated {
        parallel: usize,
        base: Duration,
        now: Duration,
        pressure: Pressure,
    }

    impl Simulated {
        fn new(parallel: usize, base: Duration) -> Simulated {
            Simulated { parallel, base, now: Duration::ZERO, pressure: Pressure::new(MOST, Duration::ZERO) }
        }

        /// Reads as many at once as allowed for `span`, `load` times slower than without load.
        fn read_for(&mut self, span: Duration, load: u32) {
            let end = self.now + span;
            while self.now < end {
                let depth = self.pressure.allowed();
                let rounds = u32::try_from(depth.div_ceil(self.parallel)).unwrap();
                let took = self.base * load * rounds;
                self.now += took;
                for _ in 0..depth {
                    self.pressure.observe(self.now, Answered { bytes: MIB, depth, took });
                }
            }
        }
    }

    #[test]
    fn a_source_under_load_is_asked_less_and_gets_its_reads_back_slowly() {
        for parallel in [1, 4, 16] {
            let mut source = Simulated::new(parallel, Duration::from_millis(12));
            source.read_for(Duration::from_secs(20), 1);
            assert_eq!(source.pressure.allowed(), MOST, "our own queue is no pressure");
            source.read_for(Duration::from_secs(60), 20);
            assert_eq!(source.pressure.allowed(), 1, "{parallel} at once");
            source.read_for(Duration::from_secs(3), 1);
            assert!(source.pressure.allowed() < MOST, "slowly");
            source.read_for(Duration::from_secs(30), 1);
            assert_eq!(source.pressure.allowed(), MOST);
        }
    }

    #[test]
    fn a_moment_of_slowness_is_no_pressure() {
        let mut source = Simulated::new(8, Duration::from_millis(20));
        source.read_for(Duration::from_secs(5), 1);
        source.read_for(Duration::from_secs(1), 20);
        assert_eq!(source.pressure.allowed(), MOST);
    }

    #[test]
    fn a_source_that_is_slower_for_good_gets_its_reads_back() {
        let mut source = Simulated::new(8, Duration::from_millis(20));
        source.read_for(Duration::from_secs(5), 1);
        source.read_for(Duration::from_secs(60), 10);
        assert_eq!(source.pressure.allowed(), 1);
        source.read_for(REMEMBERED * 3, 10);
        assert_eq!(source.pressure.allowed(), MOST);
    }

    #[test]
    fn long_reads_are_not_slow_reads() {
        let mut pressure = Pressure::new(MOST, Duration::ZERO);
        for n in 1..2_000_u32 {
            let (bytes, took) = if n % 2 == 0 { (64 << 10, 11) } else { (MIB, 176) };
            let took = Duration::from_millis(took);
            pressure.observe(Duration::from_millis(20) * n, Answered { bytes, depth: MOST, took });
            assert!(!pressure.is_reduced());
        }
    }

    #[test]
    fn what_is_prompt_is_never_slow() {
        let mut pressure = Pressure::new(MOST, Duration::ZERO);
        for n in 0..5_000_u32 {
            let took = if n < 10 { Duration::from_micros(100) } else { PROMPT };
            pressure.observe(Duration::from_millis(10) * n, Answered { bytes: MIB, depth: 1, took });
            assert!(!pressure.is_reduced());
        }
    }

    proptest! {
        #[test]
        fn whatever_is_seen_there_is_one_read_and_never_too_many(
            reads in proptest::collection::vec((0_u64..20_000_000_000, 0_u64..u64::MAX, 0_usize..100, 0_u64..u64::MAX), 0..200),
            most in 0_usize..20,
        ) {
            let mut pressure = Pressure::new(most, Duration::ZERO);
            let (mut now, mut was) = (Duration::ZERO, pressure.allowed());
            for (after, bytes, depth, took) in reads {
                now += Duration::from_nanos(after);
                pressure.observe(now, Answered { bytes, depth, took: Duration::from_nanos(took) });
                let allowed = pressure.allowed();
                prop_assert!((1..=most.max(1)).contains(&allowed));
                prop_assert!(allowed <= was + 1 && allowed >= was / 2, "one step at a time");
                was = allowed;
            }
        }
    }
}
