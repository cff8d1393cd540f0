//! The grid of a job's runs.

use super::Record;
use crate::sim::journal::RunRow;
use godwit_model::job::{Interval, JobState};
use godwit_model::run::RunType;
use godwit_model::time::{Millis, Timestamp};

impl Record {
    /// A run that is listed is on the grid, and the next one behind the last.
    pub(super) fn is_next_on_grid(&mut self, run: &RunRow) {
        self.is_on_grid(run);
        let known = &self.jobs[&run.job_id];
        let Some((last, _)) = known.scheduled.last() else { return };
        let Interval::EveryMinutes(minutes) = known.row.interval() else {
            panic!("the second run of a one-time job: {run:?}");
        };
        if known.new_grid {
            return;
        }
        assert!(run.scheduled_at > *last, "behind {last:?} comes {run:?}");
        // A run that waited for its place is followed by the point behind its beginning.
        let begun = known.runs.values().filter_map(|run| run.started_at).max();
        let next = behind(known.row.start_at, minutes, begun.map_or(*last, |begun| begun.max(*last)));
        let is_excused = self.is_excused(*last, run.scheduled_at.max(next));
        assert!(run.scheduled_at == next || is_excused, "behind {last:?} comes not {next:?} but {run:?}");
    }

    /// Of this moment: what the grid was before or will be does not count.
    pub(super) fn is_on_grid(&self, run: &RunRow) {
        let job = &self.jobs[&run.job_id].row;
        let is_on_grid = match job.interval() {
            Interval::Once => run.scheduled_at == job.start_at,
            Interval::EveryMinutes(minutes) => {
                run.scheduled_at >= job.start_at && (run.scheduled_at - job.start_at).0 % minutes_of(minutes).0 == 0
            }
        };
        assert!(is_on_grid, "off the grid: {run:?} of {job:?}");
    }

    /// Waiting for a place is no reason.
    pub(super) fn is_rightly_missed(&self, run: &RunRow) {
        let known = &self.jobs[&run.job_id];
        if run.kind == RunType::OnDemand {
            assert_eq!(known.row.state, JobState::PausedOnFailure, "missed though it was asked for: {run:?}");
            return;
        }
        let was_due_in_vain = known.is_at_work() || self.fell_into_outage(run);
        // Also if it waited for its place when the outage came.
        let is_excused = || self.excuses.iter().any(|(_, to)| run.scheduled_at <= *to);
        assert!(was_due_in_vain || is_excused(), "missed for no reason: {run:?}, born {:?}", self.born);
    }

    /// Whether it was due when the service was down, for longer than is made up for.
    pub(super) fn fell_into_outage(&self, run: &RunRow) -> bool {
        run.scheduled_at + Millis(self.options.late_start.as_millis() as i64) < self.born
    }
}

/// The first of start + k × interval behind `moment`. Found by going there, not by the formula of the code that decides.
fn behind(start: Timestamp, minutes: u32, moment: Timestamp) -> Timestamp {
    let mut point = start;
    while point <= moment {
        point = point + minutes_of(minutes);
    }
    point
}

fn minutes_of(minutes: u32) -> Millis {
    Millis(i64::from(minutes) * 60_000)
}
