//! When a delivery that failed is tried again, and when it is given up.

use crate::time::{Millis, Timestamp};

/// State of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryState {
    /// Still to be delivered.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It is not tried any more.
    GivenUp,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::GivenUp];

    /// As in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "PENDING",
            DeliveryState::Delivered => "DELIVERED",
            DeliveryState::GivenUp => "GIVEN_UP",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<DeliveryState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How long and how often a delivery is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Pause behind the first failure; it doubles from there.
    pub first: Millis,
    /// Longest pause.
    pub longest: Millis,
    /// Attempts at most.
    pub attempts: u32,
    /// How long after the event a delivery is still begun.
    pub age: Millis,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is tried again then.
    Again(Timestamp),
    /// It is given up.
    GiveUp,
}

impl Patience {
    /// Pause behind failure number `n`, counted from 1.
    pub fn pause(&self, n: u32) -> Millis {
        let doubled = 1i64.checked_shl(n.saturating_sub(1)).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
        Millis(self.first.times(doubled).0.min(self.longest.0))
    }

    /// What follows attempt number `made` (from 1) of a delivery that has been wanted `since` then, if it failed `now`;
    /// `passing` if the same attempt can succeed later.
    pub fn after_failure(&self, made: u32, since: Timestamp, now: Timestamp, passing: bool) -> Next {
        let again = now + self.pause(made);
        match passing && made < self.attempts && again <= since + self.age {
            true => Next::Again(again),
            false => Next::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patience() -> impl Strategy<Value = Patience> {
        (1i64..100_000, 1i64..5_000_000, 1u32..200, 0i64..400_000_000).prop_map(|(first, longest, attempts, age)| {
            Patience { first: Millis(first), longest: Millis(longest.max(first)), attempts, age: Millis(age) }
        })
    }

    #[test]
    fn states_are_named_as_in_the_api() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn what_will_not_pass_is_given_up_at_once() {
        let patience = Patience { first: Millis(1), longest: Millis(1), attempts: 9, age: Millis::DAY };
        assert_eq!(patience.after_failure(1, Timestamp(0), Timestamp(0), false), Next::GiveUp);
        assert_eq!(patience.after_failure(1, Timestamp(0), Timestamp(0), true), Next::Again(Timestamp(1)));
    }

    proptest! {
        #[test]
        fn pauses_never_shrink_and_are_bounded(patience in patience(), n in 1u32..1_000) {
            let (this, next) = (patience.pause(n), patience.pause(n + 1));
            prop_assert!(this >= patience.first && this <= next && next <= patience.longest);
            prop_assert!(next == patience.longest || next.0 == 2 * this.0);
        }

        #[test]
        fn every_delivery_comes_to_an_end(patience in patience(), since in 0i64..1 << 45) {
            let (mut now, mut made) = (Timestamp(since), 0);
            loop {
                made += 1;
                prop_assert!(made <= patience.attempts);
                prop_assert!(now <= Timestamp(since) + patience.age || made == 1);
                match patience.after_failure(made, Timestamp(since), now, true) {
                    Next::Again(at) => {
                        prop_assert!(at > now);
                        now = at;
                    }
                    Next::GiveUp => break,
                }
            }
        }
    }
}
