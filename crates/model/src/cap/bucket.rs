//! The token bucket: what holds a flow to a rate.
//!
//! In any span of time `t`, no more than `rate × t` and one burst go through. A burst is a quarter of a second's worth, but
//! never less than the longest read, so that every read goes through in the end.
//!
//! Time is what has passed since an origin of the caller's choice, and never runs backwards.

use super::Rate;
use std::time::Duration;

/// Smallest burst: the longest read of a source.
const LEAST_BURST: u64 = 1 << 20;

/// The level counts in bytes × nanoseconds per second, so that nothing is rounded.
const NANOS: i128 = 1_000_000_000;

/// When a flow may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Now.
    No,
    /// At this time, unless something takes of it before.
    Until(Duration),
    /// When the rate is changed.
    Forever,
}

/// How much may go through at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    rate: Rate,
    level: i128,
    at: Duration,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Duration) -> Bucket {
        Bucket { rate, level: burst(rate), at: now }
    }

    /// Its rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// From now on this rate. Who waits asks again: it counts at once.
    pub fn set_rate(&mut self, rate: Rate, now: Duration) {
        if rate != self.rate {
            self.fill(now);
            let was_limited = matches!(self.rate, Rate::BytesPerSecond(_));
            self.level = if was_limited { self.level.min(burst(rate)) } else { burst(rate) };
            self.rate = rate;
        }
    }

    /// When `bytes` may go through. Asking takes nothing.
    pub fn wait(&mut self, now: Duration, bytes: u64) -> Wait {
        self.fill(now);
        let rate = match self.rate {
            Rate::Unlimited => return Wait::No,
            Rate::BytesPerSecond(0) => return Wait::Forever,
            Rate::BytesPerSecond(rate) => i128::from(rate),
        };
        // What is larger than a burst goes when the bucket is full, and leaves a debt.
        let wanted = (i128::from(bytes) * NANOS).min(burst(self.rate));
        let missing = wanted - self.level;
        if missing <= 0 {
            return Wait::No;
        }
        let nanos = u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX);
        Wait::Until(self.at.saturating_add(Duration::from_nanos(nanos)))
    }

    /// `bytes` go through.
    pub fn take(&mut self, now: Duration, bytes: u64) {
        self.fill(now);
        if let Rate::BytesPerSecond(_) = self.rate {
            self.level -= i128::from(bytes) * NANOS;
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.at = self.at.max(now);
        if let Rate::BytesPerSecond(rate) = self.rate {
            let more = i128::try_from(passed).unwrap_or(i128::MAX).saturating_mul(i128::from(rate));
            self.level = self.level.saturating_add(more).min(burst(self.rate));
        }
    }
}

/// What several buckets say together: all must let it through. The first that does not is named by its place.
pub fn wait_of_all(buckets: &mut [&mut Bucket], now: Duration, bytes: u64) -> Result<(), (usize, Wait)> {
    for (place, bucket) in buckets.iter_mut().enumerate() {
        match bucket.wait(now, bytes) {
            Wait::No => {}
            wait => return Err((place, wait)),
        }
    }
    Ok(())
}

fn burst(rate: Rate) -> i128 {
    match rate {
        Rate::Unlimited => 0,
        Rate::BytesPerSecond(rate) => i128::from((rate / 4).max(LEAST_BURST)) * NANOS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MB: u64 = 1_000_000;

    fn capped(rate: u64) -> Rate {
        Rate::BytesPerSecond(rate)
    }

    /// Reads of these sizes, each as soon as it may: when each went through.
    fn flow(bucket: &mut Bucket, sizes: &[u64]) -> Vec<Duration> {
        let mut now = bucket.at;
        let mut times = Vec::new();
        for bytes in sizes {
            loop {
                match bucket.wait(now, *bytes) {
                    Wait::No => break,
                    Wait::Until(at) => {
                        assert!(at > now, "a wait ends later than it begins");
                        now = at;
                    }
                    Wait::Forever => panic!("{bucket:?} lets nothing through"),
                }
            }
            bucket.take(now, *bytes);
            times.push(now);
        }
        times
    }

    #[test]
    fn a_new_rate_counts_at_once_for_whoever_waits() {
        let mut bucket = Bucket::new(capped(MB), Duration::ZERO);
        bucket.take(Duration::ZERO, 1 << 20);
        let slow = bucket.wait(Duration::ZERO, 1 << 20);
        assert!(matches!(slow, Wait::Until(at) if at > Duration::from_secs(1)), "{slow:?}");
        bucket.set_rate(capped(100 * MB), Duration::ZERO);
        let fast = bucket.wait(Duration::ZERO, 1 << 20);
        assert!(matches!(fast, Wait::Until(at) if at < Duration::from_millis(11)), "{fast:?}");
        bucket.set_rate(Rate::HELD, Duration::ZERO);
        assert_eq!(bucket.wait(Duration::from_secs(9), 1), Wait::Forever);
        bucket.set_rate(Rate::Unlimited, Duration::from_secs(9));
        assert_eq!(bucket.wait(Duration::from_secs(9), u64::MAX), Wait::No);
        bucket.set_rate(Rate::HELD, Duration::from_secs(9));
        assert_eq!(bucket.wait(Duration::from_secs(9), 1), Wait::Forever, "held means held, whatever is in it");
    }

    #[test]
    fn all_must_let_it_through() {
        let mut run = Bucket::new(Rate::Unlimited, Duration::ZERO);
        let mut connector = Bucket::new(Rate::HELD, Duration::ZERO);
        let refused = wait_of_all(&mut [&mut run, &mut connector], Duration::ZERO, 1);
        assert_eq!(refused, Err((1, Wait::Forever)));
        connector.set_rate(capped(MB), Duration::ZERO);
        connector.fill(Duration::from_secs(2));
        assert_eq!(wait_of_all(&mut [&mut run, &mut connector], Duration::from_secs(2), 1), Ok(()));
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_its_share_and_a_burst(
            rate in 1_000..(200 * MB),
            sizes in proptest::collection::vec(1_u64..=(1 << 20), 1..60),
            pause in 0_u64..10_000,
        ) {
            let mut bucket = Bucket::new(capped(rate), Duration::ZERO);
            bucket.fill(Duration::from_millis(pause));
            let times = flow(&mut bucket, &sizes);
            for first in 0..times.len() {
                let mut bytes = 0_i128;
                for (size, at) in sizes.iter().zip(&times).skip(first) {
                    bytes += i128::from(*size) * NANOS;
                    let nanos = i128::try_from((*at - times[first]).as_nanos()).unwrap();
                    prop_assert!(bytes <= i128::from(rate) * nanos + burst(capped(rate)));
                }
            }
        }

        #[test]
        fn the_rate_is_used_up(rate in 1_000..(200 * MB), n in 2_usize..60) {
            // Nobody waits longer than the rate asks for: what went through took no longer than its bytes do.
            let mut bucket = Bucket::new(capped(rate), Duration::ZERO);
            let times = flow(&mut bucket, &vec![1 << 20; n]);
            let needed = i128::try_from(n).unwrap() * (1 << 20) * NANOS / i128::from(rate);
            prop_assert!(i128::try_from(times[n - 1].as_nanos()).unwrap() <= needed + i128::try_from(n).unwrap());
        }

        #[test]
        fn no_read_is_too_large(rate in 1_000..(200 * MB), bytes: u32) {
            let mut bucket = Bucket::new(capped(rate), Duration::ZERO);
            bucket.take(Duration::ZERO, 1 << 20);
            prop_assert_eq!(flow(&mut bucket, &[u64::from(bytes)]).len(), 1);
        }

        #[test]
        fn however_often_the_rate_changes_no_change_gives_a_second_burst(
            changes in proptest::collection::vec((1_000..(50 * MB), 0_u64..2_000), 1..30),
        ) {
            // Reads as fast as it goes; between two changes only what the highest rate allows.
            let mut bucket = Bucket::new(capped(MB), Duration::ZERO);
            let (mut now, mut taken, mut fair) = (Duration::ZERO, 0_i128, i128::from(LEAST_BURST.max(50 * MB / 4)) * NANOS);
            for (rate, ms) in changes {
                bucket.set_rate(capped(rate), now);
                let step = Duration::from_millis(ms);
                fair += i128::from(rate) * i128::try_from(step.as_nanos()).unwrap();
                now += step;
                while bucket.wait(now, 64 << 10) == Wait::No {
                    bucket.take(now, 64 << 10);
                    taken += (64 << 10) * NANOS;
                }
                prop_assert!(taken <= fair);
            }
        }
    }
}
