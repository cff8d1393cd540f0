//! Replication jobs: their states, and what may happen to them.
//!
//! ```text
//!            RunStarted            RunCompleted (of a one-time job)
//!  PENDING ────────────► ACTIVE ─────────────────────────────────► COMPLETED
//!                        │ ▲  │
//!          FailedTooOften│ │  │ RunFailed (of a one-time job), FailedTooOften (no pause)
//!             (pause)    │ │  └──────────────► FAILING ───────────► FAILED
//!                        ▼ │ Resume                     CleanedUp
//!              PAUSED_ON_FAILURE
//!
//!  every state but DELETED ── Delete ──► DELETING ── CleanedUp ──► DELETED
//! ```
//!
//! Happy path: PENDING → ACTIVE, where a repeating job stays; a one-time job ends in COMPLETED. A repeating job whose
//! run failed stays ACTIVE: the next run is its retry. What a job that ended left at the source and staged is removed
//! while it is FAILING or DELETING; images stay.

use serde::{Deserialize, Serialize};

/// State of a job. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Created; its first run has not started.
    Pending,
    /// Replicates on its schedule.
    Active,
    /// Its runs failed too often; being stopped.
    Failing,
    /// Ended by failure.
    Failed,
    /// Being deleted: an active run is stopping.
    Deleting,
    /// Deleted; its images stay.
    Deleted,
    /// A one-time job whose run succeeded.
    Completed,
    /// Its runs failed too often; waits to be resumed.
    PausedOnFailure,
}

/// How often a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Interval {
    /// One run only.
    Once,
    /// A run every so many minutes, 1 and up. The API's hours are sixty of them.
    EveryMinutes(u32),
}

/// Consecutive failures that a job may be told to bear at most.
pub const MOST_FAILURES: u32 = 100;

/// What a repeating job does about scheduled runs that fail one behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailurePolicy {
    /// Wait to be looked at, instead of ending.
    pub pause: bool,
    /// After how many, 1 and up.
    pub after: u32,
}

/// What happens to a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// One of its runs became active.
    RunStarted,
    /// A run completed; `last` if it is the one that a one-time job exists for.
    RunCompleted {
        /// No further run will come.
        last: bool,
    },
    /// A run failed; `last` as above.
    RunFailed {
        /// No further run will come.
        last: bool,
    },
    /// Too many runs failed in a row.
    FailedTooOften {
        /// The job is to wait for somebody to look at it, instead of ending.
        pause: bool,
    },
    /// Somebody looked at it and wants it to go on.
    Resume,
    /// Somebody wants it gone.
    Delete,
    /// What it left at the source and staged is removed.
    CleanedUp,
}

/// What a step of a job brings with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Its active run is stopped, its scheduled one dropped.
    StopRuns,
    /// What is listed ahead is not to come.
    DropListed,
    /// What it left at the source and staged is to be removed.
    CleanUp,
    /// No change tracker of it is needed any more.
    ForgetBaseline,
}

/// An event that a state does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a job that is {} does not take the event {event:?}", state.as_str())]
pub struct Denied {
    /// The state that it is in, and stays in.
    pub state: JobState,
    /// What was tried.
    pub event: Event,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 10] = [
        Event::RunStarted,
        Event::RunCompleted { last: false },
        Event::RunCompleted { last: true },
        Event::RunFailed { last: false },
        Event::RunFailed { last: true },
        Event::FailedTooOften { pause: false },
        Event::FailedTooOften { pause: true },
        Event::Resume,
        Event::Delete,
        Event::CleanedUp,
    ];
}

impl JobState {
    /// Every state.
    pub const ALL: [JobState; 8] = [
        JobState::Pending,
        JobState::Active,
        JobState::Failing,
        JobState::Failed,
        JobState::Deleting,
        JobState::Deleted,
        JobState::Completed,
        JobState::PausedOnFailure,
    ];

    /// As in the API model.
    pub const fn as_str(self) -> &'static str {
        match self {
            JobState::Pending => "PENDING",
            JobState::Active => "ACTIVE",
            JobState::Failing => "FAILING",
            JobState::Failed => "FAILED",
            JobState::Deleting => "DELETING",
            JobState::Deleted => "DELETED",
            JobState::Completed => "COMPLETED",
            JobState::PausedOnFailure => "PAUSED_ON_FAILURE",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<JobState> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether runs are scheduled and started.
    pub const fn is_running(self) -> bool {
        matches!(self, JobState::Pending | JobState::Active)
    }

    /// Whether the job still holds its server: until it has ended, no second one may be created for it.
    pub const fn is_live(self) -> bool {
        matches!(
            self,
            JobState::Pending | JobState::Active | JobState::PausedOnFailure | JobState::Failing | JobState::Deleting
        )
    }

    /// Whether it ended by deletion or failure, or is about to.
    pub const fn is_terminated(self) -> bool {
        matches!(self, JobState::Failing | JobState::Failed | JobState::Deleting | JobState::Deleted)
    }
}

impl FailurePolicy {
    /// What follows from `failures` failed scheduled runs in a row.
    pub fn decide(self, failures: u32) -> Option<Event> {
        (failures >= self.after.max(1)).then_some(Event::FailedTooOften { pause: self.pause })
    }

    /// How many more may fail before something follows.
    pub fn left(self, failures: u32) -> u32 {
        self.after.max(1).saturating_sub(failures)
    }
}

/// What becomes of a job in `state` when `event` happens, and what that brings with it.
pub fn step(state: &JobState, event: Event) -> Result<(JobState, Vec<Effect>), Denied> {
    use Effect::{CleanUp, DropListed, ForgetBaseline, StopRuns};
    use JobState::{Active, Completed, Deleted, Deleting, Failed, Failing, PausedOnFailure, Pending};
    let stop = || vec![StopRuns, CleanUp, ForgetBaseline];
    Ok(match (*state, event) {
        (Pending | Active, Event::RunStarted) => (Active, vec![]),

        (Active, Event::RunCompleted { last: true }) => (Completed, vec![StopRuns, ForgetBaseline]),
        (Active, Event::RunFailed { last: true }) => (Failing, stop()),
        (Active | PausedOnFailure, Event::RunCompleted { last: false } | Event::RunFailed { last: false }) => {
            (*state, vec![])
        }

        (Active, Event::FailedTooOften { pause: true }) => (PausedOnFailure, vec![DropListed]),
        (Active, Event::FailedTooOften { pause: false }) => (Failing, stop()),
        (PausedOnFailure, Event::Resume) => (Active, vec![]),

        (Deleting, Event::Delete) => (Deleting, vec![]),
        (Pending | Active | PausedOnFailure | Failing | Failed | Completed, Event::Delete) => (Deleting, stop()),

        (Deleting, Event::CleanedUp) => (Deleted, vec![]),
        (Failing, Event::CleanedUp) => (Failed, vec![]),

        (state, event) => return Err(Denied { state, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::RunStarted),
            any::<bool>().prop_map(|last| Event::RunCompleted { last }),
            any::<bool>().prop_map(|last| Event::RunFailed { last }),
            any::<bool>().prop_map(|pause| Event::FailedTooOften { pause }),
            Just(Event::Resume),
            Just(Event::Delete),
            Just(Event::CleanedUp),
        ]
    }

    #[test]
    fn names_are_those_of_the_model() {
        for state in JobState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{}\"", state.as_str()));
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn a_failed_run_ends_one_time_jobs_only() {
        let after = |last| step(&JobState::Active, Event::RunFailed { last }).unwrap().0;
        assert_eq!((after(false), after(true)), (JobState::Active, JobState::Failing));
    }

    #[test]
    fn too_many_failures_pause_or_end() {
        let pausing = FailurePolicy { pause: true, after: 3 };
        assert_eq!((pausing.decide(2), pausing.left(2)), (None, 1));
        assert_eq!(pausing.decide(3), Some(Event::FailedTooOften { pause: true }));
        let ending = FailurePolicy { pause: false, after: 0 };
        assert_eq!((ending.decide(0), ending.decide(1)), (None, Some(Event::FailedTooOften { pause: false })));
    }

    #[test]
    fn deleting_twice_is_deleting_once() {
        let (state, effects) = step(&JobState::Active, Event::Delete).unwrap();
        assert_eq!((state, effects.is_empty()), (JobState::Deleting, false));
        assert_eq!(step(&state, Event::Delete), Ok((JobState::Deleting, vec![])));
    }

    proptest! {
        #[test]
        fn only_documented_arrows(history in proptest::collection::vec(events(), 0..40)) {
            let mut state = JobState::Pending;
            for event in history {
                let Ok((next, effects)) = step(&state, event) else { continue };
                prop_assert!(state != JobState::Deleted, "nothing leaves DELETED");
                if state != next && next.is_terminated() && next.is_live() {
                    prop_assert!(effects.contains(&Effect::StopRuns) && effects.contains(&Effect::CleanUp));
                }
                if matches!(next, JobState::Deleted | JobState::Failed) {
                    prop_assert!(matches!(state, JobState::Deleting | JobState::Failing), "what ends is cleaned up first");
                }
                if state.is_terminated() {
                    prop_assert!(!next.is_running(), "what was terminated never runs again");
                }
                state = next;
            }
        }

        #[test]
        fn every_live_job_can_be_deleted(history in proptest::collection::vec(events(), 0..40)) {
            let mut state = JobState::Pending;
            for event in history {
                state = step(&state, event).map_or(state, |(next, _)| next);
            }
            if state != JobState::Deleted {
                let (deleting, _) = step(&state, Event::Delete).unwrap();
                prop_assert_eq!(step(&deleting, Event::CleanedUp).unwrap().0, JobState::Deleted);
            }
        }
    }
}
