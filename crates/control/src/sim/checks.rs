//! What must be true whatever happens, looked at after every turn.
//!
//! - States go along the arrows of `model` only, seen from look to look.
//! - A job has one run at work at most, one listed ahead while it runs, and two on demand in any 24 hours.
//! - Scheduled runs are on the grid, and no point of the grid is passed over but in an outage, a pause, a change of the
//!   schedule, or while a run waited for its turn.
//! - An image vanishes only by hand or because its job keeps fewer.
//! - Whatever is not final ends within a bound of the service's own time.
//! - Every image is under the key that it says, one key is the default, and no disabled one is in use.
//! - In good weather nothing is left at the source or in the store that nothing needs.

use super::life::Clock;
use crate::service::Service;
use crate::store::{JobRecord, RunRecord};
use crate::testing::{World, at_once};
use godwit_model::id::{ImageId, JobId, PackId, RunId, SnapshotId};
use godwit_model::job::{self, Interval, JobState};
use godwit_model::key::KeyState;
use godwit_model::run::{self, Position, RunState, RunType};
use godwit_model::schedule::{ON_DEMAND_LIMIT, ON_DEMAND_WINDOW, next_on_grid};
use godwit_model::time::{Millis, Timestamp};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Runs of a job that are looked at: more than a day's worth.
const RUNS: usize = 100;

/// Bounds of what is not final, in hours of the service's own time. The longest call of the weather times all attempts.
const LONGEST_RUN: i64 = 96;
const LONGEST_ENDING: i64 = 48;
const LONGEST_IMPORT: i64 = 12;

/// What nobody knows is swept behind seven days; sweeps come once a day, and fail on bad ones.
const LONGEST_STRAY: Millis = Millis(12 * Millis::DAY.0);

/// What is remembered from look to look.
pub(super) struct Record {
    pause_after: u32,
    jobs: BTreeMap<JobId, Seen>,
    /// Every grid that a job has had: start and minutes.
    grids: BTreeMap<JobId, BTreeSet<(Timestamp, u32)>>,
    images: BTreeMap<ImageId, JobId>,
    deleted_images: BTreeSet<ImageId>,
    deleted_jobs: BTreeSet<JobId>,
    /// Spans of the clock in which nobody may be relied on.
    excuses: Vec<(Timestamp, Timestamp)>,
    /// Since when, in the service's own time, something is not final.
    busy: BTreeMap<String, i64>,
    counts: Counts,
}

/// What a history was made of: a simulator in which nothing happens proves nothing.
#[derive(Default, Debug)]
struct Counts {
    looks: usize,
    rests: usize,
    completed: BTreeSet<RunId>,
    failed: BTreeSet<RunId>,
    missed: BTreeSet<RunId>,
    paused: usize,
    /// States of jobs and runs that were seen.
    states: BTreeSet<String>,
}

struct Seen {
    state: JobState,
    keep: Option<u32>,
    changes: Vec<Timestamp>,
    runs: BTreeMap<RunId, Position>,
}

impl Record {
    pub fn new(pause_after: u32) -> Record {
        Record {
            pause_after,
            jobs: BTreeMap::new(),
            grids: BTreeMap::new(),
            images: BTreeMap::new(),
            deleted_images: BTreeSet::new(),
            deleted_jobs: BTreeSet::new(),
            excuses: vec![],
            busy: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// The service was down, or the clock was set.
    pub fn excuse(&mut self, from: Timestamp, to: Timestamp) {
        self.excuses.push((from, to));
    }

    /// Somebody changes a job's schedule.
    pub fn schedule_changes(&mut self, job: &JobId, now: Timestamp) {
        if let Some(seen) = self.jobs.get_mut(job) {
            seen.changes.push(now);
        }
    }

    pub fn deleted_by_hand(&mut self, job: &JobId) {
        self.deleted_jobs.insert(job.clone());
    }

    pub fn image_deleted_by_hand(&mut self, image: &ImageId) {
        self.deleted_images.insert(image.clone());
    }

    /// Looks at everything that is on record.
    pub async fn look(&mut self, service: &Service, clock: &Clock) {
        self.counts.looks += 1;
        self.note_grids(service).await;
        let store = service.store();
        let (now, up) = (clock.now(), clock.up());
        let mut busy = BTreeSet::new();
        let jobs = store.jobs(None, 10_000).await.unwrap();
        for job in &jobs {
            let runs = store.runs(Some(&job.id), None, RUNS).await.unwrap();
            self.look_at_job(job, now);
            self.look_at_runs(job, &runs);
            self.look_at_schedule(job, &runs);
            for run in runs.iter().filter(|r| r.position.state().is_at_work()) {
                busy.insert((run.id.to_string(), LONGEST_RUN));
            }
            if matches!(job.state, JobState::Failing | JobState::Deleting) {
                busy.insert((job.id.to_string(), LONGEST_ENDING));
            }
        }
        self.jobs.retain(|id, seen| seen.state != JobState::Deleted || jobs.iter().any(|j| j.id == *id));
        assert!(self.jobs.keys().all(|id| jobs.iter().any(|j| j.id == *id)), "a job that was not deleted is gone");
        if store.catalog().await.unwrap().status == godwit_model::catalog::CatalogStatus::Importing {
            busy.insert(("the import".to_owned(), LONGEST_IMPORT));
        }
        self.nothing_is_stuck(&busy, up);
        self.look_at_images(service, &jobs).await;
    }

    fn look_at_job(&mut self, job: &JobRecord, now: Timestamp) {
        let fresh = || Seen {
            state: JobState::Pending,
            keep: job.settings.keep_images,
            changes: vec![job.created_at],
            runs: BTreeMap::new(),
        };
        let seen = self.jobs.entry(job.id.clone()).or_insert_with(fresh);
        assert!(job_can_become(seen.state, job.state), "{}: {:?} became {:?}", job.id, seen.state, job.state);
        if job.state == JobState::PausedOnFailure {
            let after = job.settings.failure_policy(self.pause_after).after;
            assert!(seen.state == job.state || job.failures >= after.min(1), "{} paused without a failure", job.id);
            self.counts.paused += usize::from(seen.state != job.state);
            seen.changes.push(now);
        }
        if job.state == JobState::Deleting || job.state == JobState::Deleted {
            let was_deleting = matches!(seen.state, JobState::Deleting | JobState::Deleted);
            let by_somebody = self.deleted_jobs.contains(&job.id) || was_paused(seen);
            assert!(was_deleting || by_somebody, "{}: {:?}, deleted by nobody", job.id, seen.state);
        }
        seen.state = job.state;
        self.counts.states.insert(format!("a job {}", job.state.as_str()));
        if job.state == JobState::Failed {
            // There is no other way to it, and it is too short to be met by chance.
            self.counts.states.insert(format!("a job {}", JobState::Failing.as_str()));
        }
    }

    /// Remembers the grids that jobs have now: a change may be changed again before anybody looks.
    pub async fn note_grids(&mut self, service: &Service) {
        for job in service.store().jobs(None, 10_000).await.unwrap() {
            self.grids.entry(job.id.clone()).or_default().insert(grid(&job));
        }
    }

    fn look_at_runs(&mut self, job: &JobRecord, runs: &[RunRecord]) {
        let at_work: Vec<_> = runs.iter().filter(|r| r.position.state().is_at_work()).collect();
        assert!(at_work.len() <= 1, "{}: two runs at work", job.id);
        let ahead = runs.iter().filter(|r| r.position == Position::Pending && r.kind == RunType::Automatic).count();
        assert!(ahead <= 1, "{}: {ahead} runs listed ahead", job.id);
        if job.state.is_running() && job.settings.interval != Interval::Once {
            assert_eq!(ahead, 1, "{} is {:?} and no run is listed ahead", job.id, job.state);
        }
        if !job.state.is_live() {
            assert!(at_work.is_empty() && ahead == 0, "{} has ended, its runs have not", job.id);
        }
        let mut demanded: Vec<_> =
            runs.iter().filter(|r| r.kind == RunType::OnDemand).map(|r| r.scheduled_at).collect();
        demanded.sort_unstable();
        for window in demanded.windows(ON_DEMAND_LIMIT + 1) {
            assert!(window[ON_DEMAND_LIMIT] - window[0] >= ON_DEMAND_WINDOW, "{}: too many on demand", job.id);
        }
        let seen = self.jobs.get_mut(&job.id).expect("looked at");
        for run in runs {
            self.counts.states.insert(format!("a run {}", run.position.state().as_str()));
            let was = seen.runs.insert(run.id.clone(), run.position).unwrap_or(Position::Pending);
            if was == run.position {
                continue;
            }
            assert!(run_can_become(was, run.position), "{}: {was:?} became {:?}", run.id, run.position);
            match run.position.state() {
                RunState::Completed => drop(self.counts.completed.insert(run.id.clone())),
                RunState::Missed => drop(self.counts.missed.insert(run.id.clone())),
                RunState::Failed => {
                    assert!(run.failure.is_some(), "{} failed without a cause", run.id);
                    self.counts.failed.insert(run.id.clone());
                }
                _ => {}
            }
        }
    }

    fn look_at_schedule(&self, job: &JobRecord, runs: &[RunRecord]) {
        let seen = &self.jobs[&job.id];
        let grids = &self.grids[&job.id];
        let mut automatic: Vec<_> = runs.iter().filter(|r| r.kind == RunType::Automatic).collect();
        automatic.sort_by_key(|r| r.scheduled_at);
        for run in &automatic {
            let on_grid = grids.iter().any(|(start, minutes)| {
                run.scheduled_at == *start
                    || (job.settings.interval != Interval::Once
                        && next_on_grid(*start, *minutes, run.scheduled_at - Millis(1)) == run.scheduled_at)
            });
            assert!(on_grid, "{} is off the grid: {:?} of {:?}", run.id, run.scheduled_at, grids);
        }
        let Interval::EveryMinutes(minutes) = job.settings.interval else { return };
        for pair in automatic.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            let busy_until = first.started_at.map_or(first.scheduled_at, |at| at.max(first.scheduled_at));
            let wanted = next_on_grid(job.settings.start, minutes, busy_until);
            let excused = self.is_excused(seen, first.scheduled_at, second.scheduled_at.max(wanted));
            assert!(
                second.scheduled_at == wanted || excused,
                "{}: behind {:?} comes {:?} and not {wanted:?}",
                job.id,
                first.scheduled_at,
                second.scheduled_at
            );
        }
    }

    fn is_excused(&self, seen: &Seen, from: Timestamp, to: Timestamp) -> bool {
        // What came before a change was on another grid.
        self.excuses.iter().any(|(a, b)| *a <= to && *b >= from) || seen.changes.iter().any(|at| from <= *at)
    }

    fn nothing_is_stuck(&mut self, busy: &BTreeSet<(String, i64)>, up: i64) {
        self.busy.retain(|what, _| busy.iter().any(|(busy, _)| busy == what));
        for (what, hours) in busy {
            let since = *self.busy.entry(what.clone()).or_insert(up);
            assert!(up - since <= Millis::HOUR.times(*hours).0, "{what} is not done after {hours} hours");
        }
    }

    async fn look_at_images(&mut self, service: &Service, jobs: &[JobRecord]) {
        let rows = rows(service, "SELECT image_id, job_id FROM image WHERE deleting = 0").await;
        let images: BTreeMap<ImageId, JobId> = rows.iter().map(|row| (id(row, 0), id(row, 1))).collect();
        for (image, of) in &self.images {
            if images.contains_key(image) || self.deleted_images.contains(image) {
                continue;
            }
            // The number before or after a change: the run that counted may have seen either.
            let job = jobs.iter().find(|j| j.id == *of);
            let keeps = [job.and_then(|j| j.settings.keep_images), self.jobs.get(of).and_then(|s| s.keep)];
            let keep = keeps.into_iter().flatten().filter(|keep| *keep > 0).min();
            let by_hand = self.images.iter().filter(|(i, j)| *j == of && self.deleted_images.contains(i)).count();
            let left = images.values().filter(|j| *j == of).count() + by_hand;
            assert!(
                keep.is_some_and(|keep| left >= keep as usize),
                "{image} of {of} vanished; {left} left of {keep:?}"
            );
        }
        for job in jobs {
            self.jobs.get_mut(&job.id).expect("looked at").keep = job.settings.keep_images;
        }
        self.images = images;
    }

    /// The weather has been good for hours: everything that is anywhere is needed by something on record.
    pub async fn look_at_rest(&mut self, service: &Service, world: &World, now: Timestamp) {
        self.counts.rests += 1;
        let store = service.store();
        let claims = store.claims().await.unwrap();
        let at_work: BTreeSet<SnapshotId> = ids(
            service,
            "SELECT snapshot_id FROM run_volume WHERE run_id IN (SELECT run_id FROM run WHERE state IN ('ACTIVE', 'DELETING'))",
        )
        .await;
        let known: BTreeSet<SnapshotId> = ids(service, "SELECT snapshot_id FROM snapshot").await;
        let images: BTreeSet<ImageId> = ids(service, "SELECT image_id FROM image").await;
        let drawn: BTreeSet<ImageId> =
            ids(service, "SELECT image_id FROM run WHERE state = 'ACTIVE' AND image_id IS NOT NULL").await;
        let packs: BTreeSet<PackId> = ids(service, "SELECT pack_id FROM pack_ledger").await;
        let connected = !rows(service, "SELECT connector_id FROM connector").await.is_empty();
        {
            let state = world.look();
            if connected {
                assert!(
                    state.points.keys().all(|run| claims.all_of(run)),
                    "left at the source: {:?}, {claims:?}",
                    state.points
                );
                assert!(
                    state.trackers.values().all(|run| claims.trackers_of(run)),
                    "trackers left: {:?}, {claims:?}",
                    state.trackers
                );
            }
            let unneeded: Vec<_> =
                state.snapshots.keys().filter(|s| !known.contains(s) && !at_work.contains(s)).collect();
            assert!(unneeded.is_empty(), "snapshots that nothing needs: {unneeded:?}");
            assert!(known.iter().all(|s| state.snapshots.contains_key(s)), "a snapshot on record is not in the store");
            let unneeded: Vec<_> = state.images.keys().filter(|i| !images.contains(i) && !drawn.contains(i)).collect();
            assert!(unneeded.is_empty(), "images that nothing needs: {unneeded:?}");
            assert!(images.iter().all(|i| state.images.contains_key(i)), "an image on record is not in the store");
        }
        let old = now - LONGEST_STRAY;
        let stray: Vec<_> = world.stray_packs(old).into_iter().filter(|pack| !packs.contains(pack)).collect();
        assert!(stray.is_empty(), "packs that nobody knows are not swept: {stray:?}");
        let ending = rows(service, "SELECT job_id FROM job WHERE state IN ('FAILING', 'DELETING')").await;
        assert!(ending.is_empty(), "a job does not come to its end in good weather");
        look_at_keys(service, world).await;
    }

    /// Says what the history was made of; gives the states that were seen.
    pub fn sum_up(&self) -> BTreeSet<String> {
        let counts = &self.counts;
        println!(
            "{} looks, {} at rest; runs: {} completed, {} failed, {} missed; {} pauses; {} jobs, {} images at the end",
            counts.looks,
            counts.rests,
            counts.completed.len(),
            counts.failed.len(),
            counts.missed.len(),
            counts.paused,
            self.jobs.len(),
            self.images.len()
        );
        assert!(counts.completed.len() > counts.looks / 20, "hardly a run completed: {counts:?}");
        counts.states.clone()
    }
}

/// Where a job's grid begins, and its step in minutes; of a one-time job the beginning alone matters.
fn grid(job: &JobRecord) -> (Timestamp, u32) {
    match job.settings.interval {
        Interval::EveryMinutes(minutes) => (job.settings.start, minutes),
        Interval::Once => (job.settings.start, 1),
    }
}

/// A job that was paused between two looks.
fn was_paused(seen: &Seen) -> bool {
    matches!(seen.state, JobState::Active | JobState::Pending | JobState::PausedOnFailure)
}

fn job_can_become(from: JobState, to: JobState) -> bool {
    reachable(from, &job::Event::ALL, |state, event| job::step(state, event).ok().map(|(next, _)| next)).contains(&to)
}

fn run_can_become(from: Position, to: Position) -> bool {
    reachable(from, &run::Event::ALL, |at, event| run::step(at, event).ok().map(|(next, _)| next)).contains(&to)
}

/// Everything that steps lead to.
fn reachable<S: PartialEq + Copy, E: Copy>(from: S, events: &[E], step: impl Fn(&S, E) -> Option<S>) -> Vec<S> {
    let mut all = vec![from];
    let mut next = 0;
    while next < all.len() {
        for event in events {
            if let Some(state) = step(&all[next], *event)
                && !all.contains(&state)
            {
                all.push(state);
            }
        }
        next += 1;
    }
    all
}

/// One key is the default, and may be used; names and material agree; every image is under the key that it says.
async fn look_at_keys(service: &Service, world: &World) {
    let keys = service.store().keys(None, 10_000).await.unwrap();
    let images = service.store().images(None, None, 10_000).await.unwrap();
    let state = world.look();
    let defaults: Vec<_> = keys.iter().filter(|key| key.is_default).collect();
    assert!(defaults.len() == 1 && defaults[0].state == KeyState::Enabled, "{defaults:?}");
    for key in &keys {
        assert!(state.keys.get(&key.id).is_some_and(|made| *made >= key.version), "{key:?} has no material");
        assert_eq!(state.disabled_keys.contains(&key.id), key.state == KeyState::Disabled, "{key:?}");
    }
    for image in &images {
        assert_eq!(state.images[&image.id].key, image.key, "{}", image.id);
        let snapshots = image.volumes.iter().map(|volume| &state.snapshots[&volume.snapshot]);
        assert!(snapshots.into_iter().all(|snapshot| snapshot.key == image.key), "{}", image.id);
        assert!(keys.iter().any(|key| key.id == image.key && key.version >= image.key_version), "{}", image.id);
    }
}

async fn rows(service: &Service, sql: &'static str) -> Vec<sqlx::any::AnyRow> {
    at_once(sqlx::query(sql).fetch_all(service.store().reader())).await.unwrap()
}

async fn ids<I: FromStr + Ord>(service: &Service, sql: &'static str) -> BTreeSet<I> {
    rows(service, sql).await.iter().map(|row| id(row, 0)).collect()
}

fn id<I: FromStr>(row: &sqlx::any::AnyRow, column: usize) -> I {
    let text: String = row.get(column);
    text.parse().unwrap_or_else(|_| panic!("'{text}' is no id"))
}
