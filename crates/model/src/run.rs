//! Replication runs: one pass over all volumes of a server, ending in an image.
//!
//! ```text
//!           Start                       StageDone, five times                        StageDone
//!  PENDING ───────► ACTIVE(Validating → Snapshotting → Transferring → Verifying → Registering → Cleaning) ─► COMPLETED
//!    │ │                      ▲  PointLost   │         │ GiveUp, before Cleaning
//!    │ │ Miss                 └──────────────┘         ▼
//!    │ └──────► MISSED                          ACTIVE(abandoning) ── Abandoned ──► FAILED
//!    │ Delete
//!    └────────► DELETED       ACTIVE before Cleaning, abandoning ── Delete ──► DELETING ── Removed ──► DELETED
//!                             ACTIVE(Cleaning) ── Delete ──► COMPLETED: the image is registered already and stays
//! ```
//!
//! Happy path: the first line. A run fails in two ways: a stage gives up, or the point in time is lost and cannot be
//! taken again; both lead through *abandoning*, in which what it created is removed. From Cleaning on it cannot fail.

use crate::id::RunId;
use serde::{Deserialize, Serialize};

/// State of a run. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Scheduled ahead.
    Pending,
    /// Was due while it could not run.
    Missed,
    /// At work.
    Active,
    /// Ended without an image.
    Failed,
    /// Ended with an image.
    Completed,
    /// Its job is being deleted.
    Deleting,
    /// Its job was deleted before it ended.
    Deleted,
}

/// Runs that have things of ours at sources: what a sweep must leave alone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Claims {
    /// Runs at work: all that is theirs.
    pub at_work: Vec<RunId>,
    /// The last committed run of each volume of a live job: its change trackers, and nothing else of it.
    pub baselines: Vec<RunId>,
}

impl Claims {
    /// Whether everything that belongs to `run` must stay.
    pub fn all_of(&self, run: &RunId) -> bool {
        self.at_work.contains(run)
    }

    /// Whether its change trackers must stay.
    pub fn trackers_of(&self, run: &RunId) -> bool {
        self.all_of(run) || self.baselines.contains(run)
    }
}

/// What started a run. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunType {
    /// Somebody asked for it.
    OnDemand,
    /// The schedule.
    Automatic,
}

/// The stages of an active run, in their order. Each is recorded before it begins and can be repeated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// Is the server there, can it be replicated, can the store take it?
    Validating,
    /// Take the point in time.
    Snapshotting,
    /// Read, send, commit the snapshots.
    Transferring,
    /// Re-read what was stored and compare.
    Verifying,
    /// Write the image.
    Registering,
    /// Advance the change tracker, remove what was created on the source.
    Cleaning,
}

/// Where a run stands: its state, and within ACTIVE what it is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Position {
    /// Scheduled ahead.
    Pending,
    /// Was due while it could not run.
    Missed,
    /// At work in a stage.
    At(Stage),
    /// Given up; what it created is being removed. Its state is still ACTIVE.
    Abandoning,
    /// Ended without an image.
    Failed,
    /// Ended with an image.
    Completed,
    /// Its job is being deleted.
    Deleting,
    /// Its job was deleted before it ended.
    Deleted,
}

/// What happens to a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is due and may work.
    Start,
    /// It is due and may not work.
    Miss,
    /// The stage is done.
    StageDone,
    /// The source does not hold the point in time any more.
    PointLost,
    /// The stage failed for good.
    GiveUp,
    /// What a given-up run created is removed.
    Abandoned,
    /// Its job is being deleted.
    Delete,
    /// What a deleted run created is removed.
    Removed,
}

/// What a step of a run brings with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The next thing to do is this stage.
    Perform(Stage),
    /// Volumes get new snapshot ids: those of the lost point in time are void.
    VoidSnapshots,
    /// The image is recorded, and the baselines of the job are those of this run.
    RecordImage,
    /// What it created at the source and staged is to be removed.
    Abandon,
    /// The job is told that a run became active.
    JobRunStarted,
    /// The job is told that a run completed.
    JobRunCompleted,
    /// The job is told that a run failed.
    JobRunFailed,
}

/// An event that a position does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a run at {position:?} does not take the event {event:?}")]
pub struct Denied {
    /// Where it is, and stays.
    pub position: Position,
    /// What was tried.
    pub event: Event,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 8] = [
        Event::Start,
        Event::Miss,
        Event::StageDone,
        Event::PointLost,
        Event::GiveUp,
        Event::Abandoned,
        Event::Delete,
        Event::Removed,
    ];
}

impl RunState {
    /// Every state.
    pub const ALL: [RunState; 7] = [
        RunState::Pending,
        RunState::Missed,
        RunState::Active,
        RunState::Failed,
        RunState::Completed,
        RunState::Deleting,
        RunState::Deleted,
    ];

    /// As in the API model.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunState::Pending => "PENDING",
            RunState::Missed => "MISSED",
            RunState::Active => "ACTIVE",
            RunState::Failed => "FAILED",
            RunState::Completed => "COMPLETED",
            RunState::Deleting => "DELETING",
            RunState::Deleted => "DELETED",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<RunState> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether it occupies its job: no other run of the job may work meanwhile.
    pub const fn is_at_work(self) -> bool {
        matches!(self, RunState::Active | RunState::Deleting)
    }
}

impl RunType {
    /// As in the API model.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunType::OnDemand => "ON_DEMAND",
            RunType::Automatic => "AUTOMATIC",
        }
    }

    /// The type of that name.
    pub fn parse(text: &str) -> Option<RunType> {
        [RunType::OnDemand, RunType::Automatic].into_iter().find(|t| t.as_str() == text)
    }
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 6] = [
        Stage::Validating,
        Stage::Snapshotting,
        Stage::Transferring,
        Stage::Verifying,
        Stage::Registering,
        Stage::Cleaning,
    ];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Validating => "Validating",
            Stage::Snapshotting => "Snapshotting",
            Stage::Transferring => "Transferring",
            Stage::Verifying => "Verifying",
            Stage::Registering => "Registering",
            Stage::Cleaning => "Cleaning",
        }
    }

    /// The stage of that name.
    pub fn parse(text: &str) -> Option<Stage> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// The stage behind this one; `None` behind the last.
    pub const fn next(self) -> Option<Stage> {
        match self {
            Stage::Validating => Some(Stage::Snapshotting),
            Stage::Snapshotting => Some(Stage::Transferring),
            Stage::Transferring => Some(Stage::Verifying),
            Stage::Verifying => Some(Stage::Registering),
            Stage::Registering => Some(Stage::Cleaning),
            Stage::Cleaning => None,
        }
    }
}

impl Position {
    /// The state that the API shows.
    pub const fn state(self) -> RunState {
        match self {
            Position::Pending => RunState::Pending,
            Position::Missed => RunState::Missed,
            Position::At(_) | Position::Abandoning => RunState::Active,
            Position::Failed => RunState::Failed,
            Position::Completed => RunState::Completed,
            Position::Deleting => RunState::Deleting,
            Position::Deleted => RunState::Deleted,
        }
    }

    /// The stage at work.
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Position::At(stage) => Some(stage),
            _ => None,
        }
    }
}

/// What becomes of a run at `position` when `event` happens, and what that brings with it.
pub fn step(position: &Position, event: Event) -> Result<(Position, Vec<Effect>), Denied> {
    use Position::{Abandoning, At, Completed, Deleted, Deleting, Failed, Missed, Pending};
    Ok(match (*position, event) {
        (Pending, Event::Start) => {
            (At(Stage::Validating), vec![Effect::JobRunStarted, Effect::Perform(Stage::Validating)])
        }
        (Pending, Event::Miss) => (Missed, vec![]),
        (Pending, Event::Delete) => (Deleted, vec![]),

        (At(stage), Event::StageDone) => match stage.next() {
            Some(next @ Stage::Cleaning) => (At(next), vec![Effect::RecordImage, Effect::Perform(next)]),
            Some(next) => (At(next), vec![Effect::Perform(next)]),
            None => (Completed, vec![Effect::JobRunCompleted]),
        },
        (At(Stage::Transferring), Event::PointLost) => {
            (At(Stage::Snapshotting), vec![Effect::VoidSnapshots, Effect::Perform(Stage::Snapshotting)])
        }

        (At(Stage::Cleaning), Event::Delete) => (Completed, vec![]),
        (At(stage), Event::GiveUp) if stage < Stage::Cleaning => (Abandoning, vec![Effect::Abandon]),
        (Abandoning, Event::Abandoned) => (Failed, vec![Effect::JobRunFailed]),

        (At(_) | Abandoning, Event::Delete) => (Deleting, vec![Effect::Abandon]),
        (Deleting, Event::Delete) => (Deleting, vec![]),
        (Deleting, Event::Removed) => (Deleted, vec![]),

        (position, event) => return Err(Denied { position, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_model() {
        for state in RunState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{}\"", state.as_str()));
            assert_eq!(RunState::parse(state.as_str()), Some(state));
        }
        for kind in [RunType::OnDemand, RunType::Automatic] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
            assert_eq!(RunType::parse(kind.as_str()), Some(kind));
        }
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
    }

    #[test]
    fn the_happy_path_visits_every_stage_in_order() {
        let (mut at, _) = step(&Position::Pending, Event::Start).unwrap();
        let mut stages = vec![];
        while let Position::At(stage) = at {
            stages.push(stage);
            at = step(&at, Event::StageDone).unwrap().0;
        }
        assert_eq!((stages.as_slice(), at), (Stage::ALL.as_slice(), Position::Completed));
    }

    #[test]
    fn what_is_registered_is_not_given_up() {
        let at = Position::At(Stage::Cleaning);
        assert!(step(&at, Event::GiveUp).is_err());
        assert_eq!(step(&at, Event::Delete).unwrap().0, Position::Completed);
    }

    proptest! {
        #[test]
        fn ends_are_final_and_failures_are_abandoned_first(
            history in proptest::collection::vec(proptest::sample::select(&Event::ALL[..]), 0..60)
        ) {
            let mut at = Position::Pending;
            let mut recorded = false;
            for event in history {
                let Ok((next, effects)) = step(&at, event) else { continue };
                prop_assert!(
                    matches!(at.state(), RunState::Pending | RunState::Active | RunState::Deleting),
                    "{:?} left its end", at
                );
                recorded |= effects.contains(&Effect::RecordImage);
                match next {
                    Position::Completed => prop_assert!(recorded),
                    Position::Failed => prop_assert!(at == Position::Abandoning && !recorded),
                    Position::Deleted => prop_assert!(!recorded),
                    _ => {}
                }
                at = next;
            }
        }
    }
}
