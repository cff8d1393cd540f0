//! Runs.

use super::{Owed, Record, is_listed};
use crate::sim::journal::{RunRow, Step};
use godwit_model::job::JobState;
use godwit_model::run::{Position, RunState, RunType, Stage};
use godwit_model::schedule::{ON_DEMAND_LIMIT, ON_DEMAND_WINDOW};
use godwit_model::time::Millis;

/// How late a run begins that is due and has a place: the driver is woken for it.
pub(super) const LATE: Millis = Millis::MINUTE;

impl Record {
    pub(super) fn take_run(&mut self, step: Step<RunRow>) {
        match (step.was, step.is) {
            (None, Some(is)) => self.run_is_listed(is),
            (Some(was), Some(is)) => {
                let before = self.known(&is.job_id).runs.insert(is.run_id.clone(), is.clone());
                assert_eq!(before, Some(was.clone()), "a change was not written down");
                if was.position() == is.position() {
                    self.run_moved(&was, &is);
                } else {
                    self.run_became(&was, &is);
                }
            }
            (Some(was), None) => {
                let known = self.known(&was.job_id);
                known.runs.remove(&was.run_id);
                known.scheduled.remove(&(was.scheduled_at, was.run_id.clone()));
                let is_dropped = is_listed(&was) && known.row.state == JobState::PausedOnFailure;
                assert!(is_dropped || known.row.state == JobState::Deleted, "a run vanished: {was:?}");
            }
            (None, None) => unreachable!("a change of nothing"),
        }
    }

    fn run_is_listed(&mut self, is: RunRow) {
        assert_eq!(is.state, RunState::Pending, "{is:?}");
        if is.kind == RunType::Automatic {
            self.is_next_on_grid(&is);
        }
        let known = self.known(&is.job_id);
        assert!(known.row.state.is_running(), "listed for a job that is {:?}: {is:?}", known.row.state);
        if is.kind == RunType::Automatic {
            assert!(!known.runs.values().any(is_listed), "two are listed ahead: {is:?}, {:?}", known.runs);
            known.scheduled.insert((is.scheduled_at, is.run_id.clone()));
            known.new_grid = false;
        } else {
            assert!(!known.is_at_work(), "asked for while a run works: {is:?}, {:?}", known.runs);
            known.demanded.push(is.scheduled_at);
            known.demanded.sort_unstable();
            for window in known.demanded.windows(ON_DEMAND_LIMIT + 1) {
                assert!(window[ON_DEMAND_LIMIT] - window[0] >= ON_DEMAND_WINDOW, "too many on demand: {is:?}");
            }
        }
        known.runs.insert(is.run_id.clone(), is);
    }

    /// Somebody has changed the schedule.
    fn run_moved(&mut self, was: &RunRow, is: &RunRow) {
        assert!(is_listed(was), "moved: {was:?}, {is:?}");
        self.is_on_grid(is);
        let known = self.known(&is.job_id);
        known.scheduled.remove(&(was.scheduled_at, was.run_id.clone()));
        known.scheduled.insert((is.scheduled_at, is.run_id.clone()));
        known.new_grid = false;
    }

    fn run_became(&mut self, was: &RunRow, is: &RunRow) {
        let (from, to) = (was.position(), is.position());
        self.run_went(from, to);
        match (was.state.is_at_work(), is.state.is_at_work()) {
            (false, true) => self.run_begins(is),
            (true, false) => {
                let now = is.completed_at.expect("it has ended");
                if self.at_work == self.options.max_active_runs {
                    self.free_since = now;
                }
                self.at_work -= 1;
                self.known(&is.job_id).idle_since = now;
            }
            _ => {}
        }
        match to {
            Position::At(Stage::Cleaning) => drop(self.owed.insert(Owed::Image(is.run_id.clone()))),
            Position::Missed => self.is_rightly_missed(is),
            _ => {}
        }
        if !matches!(is.state, RunState::Pending | RunState::Active | RunState::Deleting) {
            self.known(&is.job_id).runs.remove(&is.run_id);
            self.run_ended(is);
        }
        match is.state {
            RunState::Completed => self.counts.completed += 1,
            RunState::Failed => self.counts.failed += 1,
            RunState::Missed => self.counts.missed += 1,
            _ => {}
        }
    }

    fn run_begins(&mut self, is: &RunRow) {
        self.at_work += 1;
        assert!(self.at_work <= self.options.max_active_runs, "{} runs are at work", self.at_work);
        let (started, free_since) = (is.started_at.expect("it has begun"), self.free_since);
        let is_excused = self.is_excused(is.scheduled_at, started);
        assert!(started >= is.scheduled_at || is_excused, "begun before its time: {is:?}");
        let known = self.known(&is.job_id);
        let due = is.scheduled_at.max(free_since).max(known.idle_since);
        assert_eq!(known.row.state, JobState::Active, "{is:?}");
        let at_work = known.runs.values().filter(|run| run.state.is_at_work()).count();
        assert_eq!(at_work, 1, "two runs of a job: {:?}", known.runs);
        let is_first = !std::mem::replace(&mut known.has_begun, true);
        let repeats = known.row.interval_minutes.is_some();
        assert!(started <= due + LATE || is_excused, "begun late, with a place since {free_since:?}: {is:?}");
        if repeats && !is_first && is.kind == RunType::Automatic {
            assert!(!self.fell_into_outage(is), "not missed, though {:?} was in an outage: {is:?}", is.scheduled_at);
        }
    }
}
