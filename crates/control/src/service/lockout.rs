//! Who fails to sign in too often has to wait: longer each time. Pure.
//!
//! Failures count by what is tried (a user, an access key) and by the address that they come from: the one stops many
//! machines that guess one password, the other one machine that guesses many. An attempt counts before its outcome is
//! known, so that many at once do not slip through together; success takes it back.
//!
//! Only in memory: a restart forgets it, and whoever can restart the service needs no password. So many are remembered
//! at most; the one that has been quiet for longest makes room.

use godwit_model::time::{Millis, Timestamp};
use std::collections::HashMap;

/// What is remembered at most, of each sort: of some hundred bytes each.
const REMEMBERED: usize = 4_096;

/// Failures of one user or key before it has to wait. Typing errors are no attack.
const FREE_OF_NAME: u32 = 5;

/// Failures from one address: several people may share it.
const FREE_OF_ADDRESS: u32 = 20;

/// The first wait; it doubles with each failure.
const FIRST: Millis = Millis::SECOND;

/// The longest wait.
const LONGEST: Millis = Millis::MINUTE.times(15);

/// Who has been quiet for so long begins anew.
const FORGOTTEN: Millis = Millis::HOUR;

/// What failed so far.
#[derive(Default)]
pub(crate) struct Lockouts {
    names: HashMap<String, Failures>,
    addresses: HashMap<String, Failures>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
    wait_until: Timestamp,
}

/// Who tries, as far as it counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attempt {
    /// What is tried; `None` if it cannot be guessed anyway.
    pub name: Option<String>,
    /// From where.
    pub address: String,
}

impl Lockouts {
    /// Counts an attempt. Refused with the time that is still to be waited; that does not count.
    pub fn begin(&mut self, attempt: &Attempt, now: Timestamp) -> Result<(), Millis> {
        let waits = |of: Option<&Failures>| of.map_or(Millis(0), |f| f.wait_until - now);
        let wait = waits(attempt.name.as_ref().and_then(|name| self.names.get(name)))
            .max(waits(self.addresses.get(&attempt.address)));
        if wait.0 > 0 {
            return Err(wait);
        }
        if let Some(name) = &attempt.name {
            count(&mut self.names, name, FREE_OF_NAME, now);
        }
        count(&mut self.addresses, &attempt.address, FREE_OF_ADDRESS, now);
        Ok(())
    }

    /// An attempt that was begun has succeeded. Failures from its address stay: otherwise whoever has a password of its
    /// own could guess others for ever.
    pub fn succeeded(&mut self, attempt: &Attempt) {
        if let Some(name) = &attempt.name {
            self.names.remove(name);
        }
        forgive(&mut self.addresses, &attempt.address);
    }

    /// An attempt that was begun is none: what it would have shown could not be found out.
    pub fn taken_back(&mut self, attempt: &Attempt) {
        if let Some(name) = &attempt.name {
            forgive(&mut self.names, name);
        }
        forgive(&mut self.addresses, &attempt.address);
    }
}

/// One failure less.
fn forgive(all: &mut HashMap<String, Failures>, of: &str) {
    if let Some(failures) = all.get_mut(of) {
        failures.count = failures.count.saturating_sub(1);
        failures.wait_until = failures.last;
    }
}

fn count(all: &mut HashMap<String, Failures>, of: &str, free: u32, now: Timestamp) {
    if !all.contains_key(of) && all.len() >= REMEMBERED {
        let quietest = all.iter().min_by_key(|(_, failures)| failures.last).map(|(name, _)| name.clone());
        quietest.and_then(|name| all.remove(&name));
    }
    let fresh = Failures { count: 0, last: now, wait_until: now };
    let failures = all.entry(of.to_owned()).or_insert(fresh);
    if now >= failures.last + FORGOTTEN {
        *failures = fresh;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last = now;
    failures.wait_until = now + wait_behind(failures.count, free);
}

/// The wait behind so many failures.
fn wait_behind(count: u32, free: u32) -> Millis {
    let Some(beyond) = count.checked_sub(free) else { return Millis(0) };
    Millis(FIRST.0.saturating_mul(1 << beyond.min(20)).min(LONGEST.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attempt(name: &str, address: &str) -> Attempt {
        Attempt { name: Some(name.to_owned()), address: address.to_owned() }
    }

    /// Seconds.
    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn a_user_has_to_wait_longer_with_each_failure() {
        let (mut lockouts, ann) = (Lockouts::default(), attempt("ann", "a"));
        for _ in 0..FREE_OF_NAME {
            assert_eq!(lockouts.begin(&ann, at(0)), Ok(()));
        }
        assert_eq!(lockouts.begin(&ann, at(0)), Err(Millis(1_000)));
        assert_eq!(lockouts.begin(&attempt("ann", "b"), at(0)), Err(Millis(1_000)), "from another address, too");
        assert_eq!(lockouts.begin(&attempt("bob", "a"), at(0)), Ok(()), "others do not wait for her");
        assert_eq!(lockouts.begin(&ann, at(1)), Ok(()));
        assert_eq!(lockouts.begin(&ann, at(1)), Err(Millis(2_000)));
        assert_eq!(lockouts.begin(&ann, at(3)), Ok(()));
        assert_eq!(lockouts.begin(&ann, at(3)), Err(Millis(4_000)));
        lockouts.begin(&ann, at(7)).unwrap();
        lockouts.succeeded(&ann);
        assert_eq!(lockouts.begin(&ann, at(7)), Ok(()), "success begins anew");
    }

    #[test]
    fn an_address_that_tries_many_users_has_to_wait_and_own_success_does_not_help() {
        let mut lockouts = Lockouts::default();
        for n in 0..FREE_OF_ADDRESS {
            assert_eq!(lockouts.begin(&attempt(&format!("user{n}"), "a"), at(0)), Ok(()), "{n}");
            let own = attempt("own", "a");
            if n < FREE_OF_ADDRESS - 1 {
                lockouts.begin(&own, at(0)).unwrap();
                lockouts.succeeded(&own);
            }
        }
        assert_eq!(lockouts.begin(&attempt("other", "a"), at(0)), Err(Millis(1_000)));
        assert_eq!(lockouts.begin(&Attempt { name: None, address: "a".to_owned() }, at(0)), Err(Millis(1_000)));
        assert_eq!(lockouts.begin(&attempt("other", "b"), at(0)), Ok(()));
    }

    #[test]
    fn who_was_quiet_for_long_begins_anew() {
        let (mut lockouts, ann) = (Lockouts::default(), attempt("ann", "a"));
        for _ in 0..FREE_OF_NAME {
            lockouts.begin(&ann, at(0)).unwrap();
        }
        for _ in 0..FREE_OF_NAME {
            assert_eq!(lockouts.begin(&ann, at(3_600)), Ok(()));
        }
        assert!(lockouts.begin(&ann, at(3_600)).is_err());
    }

    #[test]
    fn what_could_not_be_found_out_counts_neither_way() {
        let (mut lockouts, ann) = (Lockouts::default(), attempt("ann", "a"));
        for _ in 0..FREE_OF_NAME - 1 {
            lockouts.begin(&ann, at(0)).unwrap();
        }
        for _ in 0..10 {
            lockouts.begin(&ann, at(0)).unwrap();
            lockouts.taken_back(&ann);
        }
        lockouts.begin(&ann, at(0)).unwrap();
        assert!(lockouts.begin(&ann, at(0)).is_err(), "what was there before still counts");
    }

    proptest! {
        // Each case fills the memory first.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn memory_and_waits_are_bounded(tries in proptest::collection::vec((0u32..10_000, 0u32..10_000, 0i64..100), 0..200)) {
            let (mut lockouts, mut now) = (Lockouts::default(), 0);
            for n in 0..REMEMBERED {
                let _ = lockouts.begin(&attempt(&format!("x{n}"), &format!("x{n}")), at(0));
            }
            for (name, address, later) in tries {
                now += later;
                if let Err(wait) = lockouts.begin(&attempt(&name.to_string(), &address.to_string()), at(now)) {
                    prop_assert!(wait <= LONGEST);
                }
                prop_assert!(lockouts.names.len() <= REMEMBERED && lockouts.addresses.len() <= REMEMBERED);
            }
        }

        #[test]
        fn waits_never_shrink(count in 0u32..100) {
            prop_assert!(wait_behind(count + 1, FREE_OF_NAME) >= wait_behind(count, FREE_OF_NAME));
            prop_assert!(wait_behind(count, FREE_OF_NAME) <= LONGEST);
        }
    }
}
