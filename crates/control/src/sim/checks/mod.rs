//! What must be true whatever happens, looked at after every turn.
//!
//! The journal gives every change in the order of the commits; from it the record knows what was so at each of them:
//!
//! - States go along the arrows of the documentation only, one by one (`arrows`).
//! - Jobs are paused, ended and deleted when their rules say so, and whoever is to be told is told with it (`jobs`).
//! - A job has one run at work at most, one listed ahead while it runs, and two on demand in any 24 hours; runs begin when
//!   they are due and there is a place for them (`runs`).
//! - Scheduled runs are on the grid of that moment, and no point of it is passed over but in an outage or a pause, and
//!   none is missed but in an outage or while another run works (`schedule`).
//! - An image vanishes only by hand, or because its job keeps fewer: the oldest first, and never one too many (`images`).
//! - Staged packs are kept for seven days (`images`).
//! - The catalog is imported, cleared, and expires at its age (`catalog`).
//! - Whoever is to be told has a notification; it counts as delivered only if it arrived, is given up only when patience
//!   is at its end, and is forgotten only when it is old (`telling`).
//!
//! Besides, at each look: whatever is not final ends within a bound of the service's own time, and what nothing needs is
//! not left at the source (`stuck`); every image on record is whole; nothing is kept for longer than it is to be; in good
//! weather nothing is left in the store that nothing needs (`rest`).

pub(super) mod arrows;
mod catalog;
mod images;
mod jobs;
mod rest;
mod runs;
mod schedule;
mod stuck;
mod telling;

use super::is_broken;
use super::journal::{Change, JobRow, Journal, RunRow};
use super::life::Clock;
use super::storm::Storm;
use crate::options::Options;
use crate::service::Service;
use crate::testing::at_once;
use godwit_model::id::{EventId, ImageId, JobId, NotificationId, RunId};
use godwit_model::time::Timestamp;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// A disk under the database that took nothing more.
pub(super) const FULL: &str = "a full disk";

/// What is known of everything that was committed.
pub(super) struct Record {
    options: Options,
    journal: Journal,
    jobs: BTreeMap<JobId, Known>,
    /// Images on the lists, by the job that made them, oldest first. Jobs may be forgotten before.
    images: BTreeMap<JobId, Vec<ImageId>>,
    /// The job that has a new image, and so may lose its oldest ones, in the transaction at hand.
    counted: Option<JobId>,
    /// What the transaction at hand has to bring yet.
    owed: BTreeSet<Owed>,
    /// What somebody has asked to delete.
    unwanted_images: BTreeSet<ImageId>,
    unwanted_jobs: BTreeSet<JobId>,
    /// Spans of the clock in which nobody may be relied on.
    excuses: Vec<(Timestamp, Timestamp)>,
    /// When the life at hand began.
    born: Timestamp,
    /// Runs at work, over all jobs.
    at_work: usize,
    /// Since when there is a place for another one.
    free_since: Timestamp,
    busy: stuck::Busy,
    unclaimed: stuck::Unclaimed,
    letters: BTreeMap<NotificationId, telling::Letter>,
    /// How often somebody wants a notification again.
    wanted_again: BTreeMap<NotificationId, usize>,
    counts: Counts,
    /// Arrows that were gone along, and rare weather.
    seen: BTreeSet<String>,
}

/// What a transaction has to bring, once a part of it is seen.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Owed {
    Event(JobId, Option<RunId>, &'static str, Timestamp),
    Image(RunId),
    /// This recipient is to be told.
    Letter(EventId, String),
    /// The job is paused, or ends.
    Pause(JobId),
}

/// A job as of the last change.
struct Known {
    row: JobRow,
    /// Those that have not ended.
    runs: BTreeMap<RunId, RunRow>,
    /// When its automatic runs were due, or are.
    scheduled: BTreeSet<(Timestamp, RunId)>,
    /// When runs on demand were asked for, in order.
    demanded: Vec<Timestamp>,
    /// Since when none of its runs is at work.
    idle_since: Timestamp,
    /// Whether one of its runs has ever begun.
    has_begun: bool,
    /// Scheduled runs that have failed one behind the other.
    failed_in_a_row: u32,
    /// The grid began anew: its next point follows from the moment alone.
    new_grid: bool,
}

/// What a history was made of: a simulator in which nothing happens proves nothing.
#[derive(Default, Debug)]
struct Counts {
    looks: usize,
    rests: usize,
    changes: usize,
    completed: usize,
    failed: usize,
    missed: usize,
    paused: usize,
    refused: usize,
    told: usize,
    told_again: usize,
    given_up: usize,
    /// The longest times that something was not final, in hours.
    longest: BTreeMap<&'static str, i64>,
}

impl Record {
    pub fn new(options: Options) -> Record {
        Record {
            options,
            journal: Journal::default(),
            jobs: BTreeMap::new(),
            images: BTreeMap::new(),
            counted: None,
            owed: BTreeSet::new(),
            unwanted_images: BTreeSet::new(),
            unwanted_jobs: BTreeSet::new(),
            excuses: vec![],
            born: Timestamp(0),
            at_work: 0,
            free_since: Timestamp(0),
            busy: stuck::Busy::default(),
            unclaimed: stuck::Unclaimed::default(),
            letters: BTreeMap::new(),
            wanted_again: BTreeMap::new(),
            counts: Counts::default(),
            seen: BTreeSet::new(),
        }
    }

    /// The service was down, or its clock was set, or its disk was full.
    pub fn excuse(&mut self, from: Timestamp, to: Timestamp) {
        self.excuses.push((from, to));
    }

    /// So many transactions were refused by a full disk.
    pub fn disk_was_full(&mut self, refused: usize) {
        if refused > 0 {
            self.seen.insert(FULL.to_owned());
        }
        self.counts.refused += refused;
    }

    /// Somebody is about to delete this: a call may be cut off behind its effect. False if somebody was before.
    pub fn unwanted_job(&mut self, job: &JobId) -> bool {
        self.unwanted_jobs.insert(job.clone())
    }

    /// It was refused.
    pub fn wanted_job(&mut self, job: &JobId) {
        self.unwanted_jobs.remove(job);
    }

    /// The same of an image.
    pub fn unwanted_image(&mut self, image: &ImageId) -> bool {
        self.unwanted_images.insert(image.clone())
    }

    /// The same of an image.
    pub fn wanted_image(&mut self, image: &ImageId) {
        self.unwanted_images.remove(image);
    }

    /// Looks at everything that was committed since the last look.
    pub async fn look(&mut self, service: &Service, storm: &Storm, clock: &Clock) {
        self.counts.looks += 1;
        assert!(!is_broken(), "a task broke: see above");
        let changes = self.journal.read(service.store()).await;
        self.counts.changes += changes.iter().filter(|change| !matches!(change, Change::Committed)).count();
        for change in changes {
            self.take(change, storm, clock.latest());
        }
        for (id, known) in &self.jobs {
            known.look(id);
        }
        self.no_run_waits(clock.now());
        self.nothing_is_stuck(service, clock.up()).await;
        self.nothing_is_left_at_the_source(service, storm).await;
        self.look_at_letters(clock.now());
        self.nothing_is_kept_too_long(service, clock.now(), false).await;
        catalog::look(service).await;
        images::look(service, storm.world()).await;
    }

    /// `latest`: what the clock has shown at most.
    fn take(&mut self, change: Change, storm: &Storm, latest: Timestamp) {
        match change {
            Change::Life(born) => self.born = born,
            Change::Job(step) => self.take_job(step, latest),
            Change::Run(step) => self.take_run(step),
            Change::Image(step) => self.take_image(step),
            Change::Event(event) => self.take_event(&event),
            Change::Notification(step) => self.take_notification(step, storm, latest),
            Change::Void(pack) => self.take_void(&pack, latest),
            Change::Catalog(step) => self.take_catalog(step, latest),
            Change::Committed => {
                self.end_of_images();
                assert!(self.owed.is_empty(), "a transaction has not brought {:?}", self.owed);
            }
        }
    }

    fn known(&mut self, job: &JobId) -> &mut Known {
        self.jobs.get_mut(job).unwrap_or_else(|| panic!("{job} is not there"))
    }

    fn is_excused(&self, from: Timestamp, to: Timestamp) -> bool {
        self.excuses.iter().any(|(a, b)| *a <= to && *b >= from)
    }

    /// Says what the history was made of; gives the arrows that were gone along.
    pub fn sum_up(&self) -> BTreeSet<String> {
        let counts = &self.counts;
        println!("{counts:?}; {} jobs at the end", self.jobs.len());
        assert!(counts.completed > counts.looks / 20, "hardly a run completed: {counts:?}");
        self.seen.clone()
    }
}

impl Known {
    /// What is true between transactions.
    fn look(&self, id: &JobId) {
        let ahead = self.runs.values().filter(|run| is_listed(run)).count();
        if self.row.state.is_running() && self.row.interval_minutes.is_some() {
            assert_eq!(ahead, 1, "{id} is {:?}, and runs are listed ahead", self.row.state);
        }
        if !self.row.state.is_live() {
            assert!(self.runs.is_empty(), "{id} has ended, its runs have not: {:?}", self.runs);
        }
        assert_eq!(self.row.failures, self.failed_in_a_row, "{id}: failures in a row");
    }

    fn is_at_work(&self) -> bool {
        self.runs.values().any(|run| run.state.is_at_work())
    }
}

/// Whether it is listed ahead by the schedule.
fn is_listed(run: &RunRow) -> bool {
    use godwit_model::run::{RunState, RunType};
    run.state == RunState::Pending && run.kind == RunType::Automatic
}

async fn rows(service: &Service, sql: impl Into<String>) -> Vec<sqlx::any::AnyRow> {
    at_once(sqlx::query(sqlx::AssertSqlSafe(sql.into())).fetch_all(service.store().reader())).await.unwrap()
}

pub(super) async fn ids<I: FromStr + Ord>(service: &Service, sql: impl Into<String>) -> BTreeSet<I> {
    rows(service, sql).await.iter().map(|row| id(row, 0)).collect()
}

fn id<I: FromStr>(row: &sqlx::any::AnyRow, column: usize) -> I {
    let text: String = row.get(column);
    text.parse().unwrap_or_else(|_| panic!("'{text}' is no id"))
}
