//! Jobs and their events.

use super::telling::concerned;
use super::{Known, Owed, Record};
use crate::sim::journal::{EventRow, JobRow, RunRow, Step};
use godwit_model::event::EventKind;
use godwit_model::job::JobState;
use godwit_model::run::{RunState, RunType};
use godwit_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

impl Record {
    pub(super) fn take_job(&mut self, step: Step<JobRow>, latest: Timestamp) {
        match (step.was, step.is) {
            (None, Some(is)) => {
                assert_eq!(is.state, JobState::Pending, "{is:?}");
                self.jobs.insert(is.job_id.clone(), Known::new(is));
            }
            (Some(was), Some(is)) => {
                let known = self.known(&is.job_id);
                assert_eq!(known.row, was, "a change was not written down");
                known.new_grid |= is.start_at != was.start_at;
                known.row = is.clone();
                if was.state != is.state {
                    self.job_became(&was, &is, latest);
                }
            }
            (Some(was), None) => {
                let kept = self.options.retention.deleted_jobs;
                let is_old = kept.is_some_and(|kept| was.state_since + kept <= latest);
                assert!(was.state == JobState::Deleted && is_old, "forgotten: {was:?}");
                self.jobs.remove(&was.job_id);
            }
            (None, None) => unreachable!("a change of nothing"),
        }
    }

    fn job_became(&mut self, was: &JobRow, is: &JobRow, latest: Timestamp) {
        self.job_went(was.state, is.state);
        let kept = self.options.retention.paused_jobs;
        let is_unwanted = self.unwanted_jobs.contains(&is.job_id);
        let pause_after = self.pause_after(is);
        let repeats = is.interval_minutes.is_some();
        let known = self.known(&is.job_id);
        match is.state {
            JobState::PausedOnFailure | JobState::Failing if repeats => {
                assert!(known.failed_in_a_row >= pause_after, "{is:?} after {} failures", known.failed_in_a_row);
                assert_eq!(is.state == JobState::PausedOnFailure, is.pause_on_failure == 1, "{is:?}");
                self.counts.paused += usize::from(is.state == JobState::PausedOnFailure);
                self.owed.remove(&Owed::Pause(is.job_id.clone()));
            }
            JobState::PausedOnFailure => panic!("a one-time job is paused: {is:?}"),
            JobState::Active if was.state == JobState::PausedOnFailure => {
                known.failed_in_a_row = 0;
                known.new_grid = true;
            }
            JobState::Deleting => {
                let was_paused = was.state == JobState::PausedOnFailure;
                let is_overdue = was_paused && kept.is_some_and(|kept| was.state_since + kept <= latest);
                assert!(is_unwanted || is_overdue, "deleted by nobody: {was:?}");
            }
            _ => {}
        }
        if let Some(kind) = EventKind::of_job(is.state)
            && !concerned(is, kind).is_empty()
        {
            self.owed.insert(Owed::Event(is.job_id.clone(), None, kind.as_str(), is.state_since));
        }
    }

    /// What the end of a run means to its job.
    pub(super) fn run_ended(&mut self, run: &RunRow) {
        let job = self.known(&run.job_id).row.clone();
        // A job that ends itself is not told any more.
        if !(job.state.is_running() || job.state == JobState::PausedOnFailure) {
            return;
        }
        let kind = match run.state {
            RunState::Completed => EventKind::RunCompleted,
            RunState::Failed => EventKind::RunFailed,
            _ => return,
        };
        let pause_after = self.pause_after(&job);
        let known = self.known(&run.job_id);
        if kind == EventKind::RunCompleted {
            known.failed_in_a_row = 0;
        } else if run.kind == RunType::Automatic && job.interval_minutes.is_some() {
            known.failed_in_a_row += 1;
            if known.failed_in_a_row >= pause_after && job.state == JobState::Active {
                self.owed.insert(Owed::Pause(job.job_id.clone()));
            }
        }
        if !concerned(&job, kind).is_empty() {
            let at = run.completed_at.expect("it has ended");
            self.owed.insert(Owed::Event(job.job_id, Some(run.run_id.clone()), kind.as_str(), at));
        }
    }

    pub(super) fn take_event(&mut self, event: &EventRow) {
        let kind = EventKind::parse(&event.kind).expect("a kind");
        let run = event.run_id.clone().filter(|_| kind.is_of_run());
        let owed = Owed::Event(event.job_id.clone(), run, kind.as_str(), event.happened_at);
        assert!(self.owed.remove(&owed), "told, but it has not happened: {event:?}");
        self.address(event, kind);
    }

    fn pause_after(&self, job: &JobRow) -> u32 {
        job.pause_after.unwrap_or(self.options.pause_after).max(1)
    }
}

impl Known {
    fn new(row: JobRow) -> Known {
        Known {
            row,
            runs: BTreeMap::new(),
            scheduled: BTreeSet::new(),
            demanded: vec![],
            idle_since: Timestamp(0),
            has_begun: false,
            failed_in_a_row: 0,
            new_grid: true,
        }
    }
}
