//! Whatever is not final ends, whatever can begin begins, and what nothing needs goes: within bounds of the service's own
//! time.

use super::runs::LATE;
use super::{Record, ids};
use crate::service::Service;
use crate::sim::storm::Storm;
use godwit_model::catalog::CatalogStatus;
use godwit_model::id::{ConnectorId, ImageId, SweepId};
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Bounds in hours: the longest transfer and verification of the weather for each volume, and a turn of bad weather.
const LONGEST_RUN: i64 = 48;
/// Both volumes are read to their ends, and anew whenever the service was killed.
const LONGEST_VERIFICATION: i64 = 48;
/// These have only short calls, within one turn.
const LONGEST_ENDING: i64 = 12;
const LONGEST_IMPORT: i64 = 12;
const LONGEST_SWEEP: i64 = 12;
/// What fails is tried again every hour, and in the worst weather two of three fail.
const LONGEST_REMOVAL: i64 = 24;

/// How much later a source is swept than it is due: a full disk keeps the driver for minutes, and the sweep is a call.
const SLACK: Millis = Millis(15 * Millis::MINUTE.0);

/// Since when, in the service's own time, something is not final.
pub(super) type Busy = BTreeMap<String, i64>;

/// Since when something at the source is needed by nothing, in the time in which the source could be asked, by what is
/// there. Counted from the look that saw it first.
#[derive(Default)]
pub(super) struct Unclaimed {
    /// Whose source it is. Another one counts from its beginning.
    connectors: BTreeSet<ConnectorId>,
    since: BTreeMap<String, i64>,
}

impl Record {
    /// A run that is due and has a place begins, unless there is an excuse now, or just was.
    pub(super) fn no_run_waits(&self, now: Timestamp) {
        if self.at_work >= self.options.max_active_runs || self.is_excused(now, now) {
            return;
        }
        let excused = self.excuses.iter().map(|(_, to)| *to).filter(|to| *to < now).max().unwrap_or(Timestamp(0));
        for known in self.jobs.values().filter(|known| known.row.state.is_running() && !known.is_at_work()) {
            let since = self.free_since.max(known.idle_since).max(excused);
            for run in known.runs.values().filter(|run| run.state == RunState::Pending) {
                let due = run.scheduled_at.max(since);
                assert!(now <= due + LATE, "due since {due:?}, there is a place, and it is {now:?}: {run:?}");
            }
        }
    }

    pub(super) async fn nothing_is_stuck(&mut self, service: &Service, up: i64) {
        let mut busy: BTreeMap<String, (&'static str, i64)> = BTreeMap::new();
        for (id, known) in &self.jobs {
            let at_work = known.runs.values().filter(|run| run.state.is_at_work());
            busy.extend(at_work.map(|run| (run.run_id.to_string(), ("a run", LONGEST_RUN))));
            if matches!(known.row.state, JobState::Failing | JobState::Deleting) {
                busy.insert(id.to_string(), ("the end of a job", LONGEST_ENDING));
            }
        }
        if service.store().catalog().await.unwrap().status == CatalogStatus::Importing {
            busy.insert("the import".to_owned(), ("an import", LONGEST_IMPORT));
        }
        // The others wait for these.
        let verifications = service.store().running_verifications().await.unwrap();
        let at_work = verifications.into_iter().take(self.options.max_verifications);
        busy.extend(at_work.map(|image| (format!("verifying {image}"), ("a verification", LONGEST_VERIFICATION))));
        let going: BTreeSet<ImageId> = ids(service, "SELECT image_id FROM image WHERE deleting = 1").await;
        busy.extend(going.iter().map(|image| (image.to_string(), ("the end of an image", LONGEST_REMOVAL))));
        let sweeps: BTreeSet<SweepId> = ids(service, "SELECT sweep_id FROM store_sweep WHERE state = 'RUNNING'").await;
        busy.extend(sweeps.iter().map(|sweep| (sweep.to_string(), ("a sweep", LONGEST_SWEEP))));
        self.busy.retain(|what, _| busy.contains_key(what));
        for (what, (kind, hours)) in busy {
            let since = *self.busy.entry(what.clone()).or_insert(up);
            let longest = self.counts.longest.entry(kind).or_default();
            *longest = (*longest).max((up - since) / Millis::HOUR.0);
            assert!(up - since <= Millis::HOUR.times(hours).0, "{what} is not done after {hours} hours");
        }
    }

    /// What nothing needs goes with the next sweep of the source at the latest. That one is due once in `sweep_sources`,
    /// which the driver sees a tick later; one that was refused waits for fair weather. So only fair weather counts, and
    /// only while the same connector is associated.
    pub(super) async fn nothing_is_left_at_the_source(&mut self, service: &Service, storm: &Storm) {
        let connectors: BTreeSet<ConnectorId> = ids(service, "SELECT connector_id FROM connector").await;
        if connectors != self.unclaimed.connectors {
            self.unclaimed = Unclaimed { connectors, since: BTreeMap::new() };
        }
        if self.unclaimed.connectors.is_empty() {
            return;
        }
        let claims = service.store().claims().await.unwrap();
        let left: BTreeSet<String> = {
            let state = storm.world().look();
            let points = state.points.keys().filter(|run| !claims.all_of(run));
            let trackers = state.trackers.iter().filter(|(_, run)| !claims.trackers_of(run));
            let trackers = trackers.map(|(vm, run)| format!("the tracker of {vm} at {run}"));
            points.map(|run| format!("the point of {run}")).chain(trackers).collect()
        };
        let within = (self.options.sweep_sources + self.options.tick).as_millis() as i64 + SLACK.0;
        let askable = storm.askable();
        self.unclaimed.since.retain(|what, _| left.contains(what));
        for what in left {
            let waited = askable - *self.unclaimed.since.entry(what.clone()).or_insert(askable);
            let longest = self.counts.longest.entry("something unclaimed at the source").or_default();
            *longest = (*longest).max(waited / Millis::HOUR.0);
            assert!(waited <= within, "{what} is left at the source since {waited} ms of fair weather");
        }
    }
}
