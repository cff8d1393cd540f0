//! Everything that the decision line has committed, change by change.
//!
//! Triggers of the database write it, in the transaction of the change itself. So what was so for a moment between two
//! looks is seen too, in the order of the commits, and nothing of a transaction that a kill cut off. Each transaction
//! ends with a row of its own.

use crate::store::Store;
use crate::testing::at_once;
use godwit_model::catalog::CatalogStatus;
use godwit_model::id::{EventId, ImageId, JobId, NotificationId, PackId, RunId};
use godwit_model::job::{Interval, JobState};
use godwit_model::run::{Position, RunState, RunType, Stage};
use godwit_model::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

/// A row before and behind a change.
#[derive(Debug)]
pub(super) struct Step<T> {
    pub was: Option<T>,
    pub is: Option<T>,
}

/// One change of one row.
#[derive(Debug)]
pub(super) enum Change {
    /// A life of the service began at this time of its clock.
    Life(Timestamp),
    Job(Step<JobRow>),
    Run(Step<RunRow>),
    Image(Step<ImageRow>),
    Event(EventRow),
    Notification(Step<NotificationRow>),
    /// A pack of the ledger may not be used any more.
    Void(PackRow),
    Catalog(Step<CatalogRow>),
    /// A transaction ends here.
    Committed,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct JobRow {
    pub job_id: JobId,
    pub state: JobState,
    pub state_since: Timestamp,
    pub start_at: Timestamp,
    pub interval_minutes: Option<u32>,
    pub keep_images: Option<u32>,
    pub recipients: String,
    pub failures: u32,
    pub pause_on_failure: u8,
    pub pause_after: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct RunRow {
    pub run_id: RunId,
    pub job_id: JobId,
    pub state: RunState,
    pub stage: Option<Stage>,
    pub abandoning: u8,
    pub kind: RunType,
    pub scheduled_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageRow {
    pub image_id: ImageId,
    pub job_id: JobId,
    pub run_id: RunId,
    pub deleting: u8,
}

#[derive(Debug, Deserialize)]
pub(super) struct EventRow {
    pub event_id: EventId,
    pub job_id: JobId,
    pub run_id: Option<RunId>,
    pub kind: String,
    pub happened_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct NotificationRow {
    pub notification_id: NotificationId,
    pub event_id: EventId,
    pub happened_at: Timestamp,
    pub recipient: String,
    pub state: String,
    pub attempts: u32,
    pub since_at: Timestamp,
    pub next_at: Option<Timestamp>,
    pub failure_code: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PackRow {
    #[expect(dead_code, reason = "told by a check that fails")]
    pub pack_id: PackId,
    pub job_id: JobId,
    /// The state of its run.
    pub run: RunState,
    /// Why that failed.
    pub failure: Option<String>,
    pub durable_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct CatalogRow {
    pub status: CatalogStatus,
    pub status_before: CatalogStatus,
    pub import_number: i64,
    pub modified_at: Timestamp,
}

impl JobRow {
    pub fn interval(&self) -> Interval {
        self.interval_minutes.map_or(Interval::Once, Interval::EveryMinutes)
    }
}

impl RunRow {
    pub fn position(&self) -> Position {
        match (self.state, self.stage) {
            (RunState::Pending, _) => Position::Pending,
            (RunState::Missed, _) => Position::Missed,
            (RunState::Active, _) if self.abandoning == 1 => Position::Abandoning,
            (RunState::Active, stage) => Position::At(stage.expect("who is at work is at a stage")),
            (RunState::Failed, _) => Position::Failed,
            (RunState::Completed, _) => Position::Completed,
            (RunState::Deleting, _) => Position::Deleting,
            (RunState::Deleted, _) => Position::Deleted,
        }
    }
}

/// What is written down: a table, its columns, and which of its changes.
const WRITTEN: [(&str, &[&str], &[&str]); 6] = [
    (
        "job",
        &[
            "job_id",
            "state",
            "state_since",
            "start_at",
            "interval_minutes",
            "keep_images",
            "recipients",
            "failures",
            "pause_on_failure",
            "pause_after",
        ],
        &["INSERT", "UPDATE", "DELETE"],
    ),
    (
        "run",
        &["run_id", "job_id", "state", "stage", "abandoning", "kind", "scheduled_at", "started_at", "completed_at"],
        &["INSERT", "UPDATE OF state, stage, abandoning, scheduled_at", "DELETE"],
    ),
    ("image", &["image_id", "job_id", "run_id", "deleting"], &["INSERT", "UPDATE", "DELETE"]),
    ("catalog", &["status", "status_before", "import_number", "modified_at"], &["UPDATE"]),
    ("job_event", &["event_id", "job_id", "run_id", "kind", "happened_at"], &["INSERT"]),
    (
        "notification",
        &[
            "notification_id",
            "event_id",
            "happened_at",
            "recipient",
            "state",
            "attempts",
            "since_at",
            "next_at",
            "failure_code",
        ],
        &["INSERT", "UPDATE", "DELETE"],
    ),
];

/// How far the journal was read.
#[derive(Default)]
pub(super) struct Journal {
    read: i64,
}

impl Journal {
    /// Begins to write, or goes on: a life begins.
    pub async fn begin_life(store: &mut Store, now: Timestamp) {
        let mut sql =
            "CREATE TABLE IF NOT EXISTS sim_journal (n INTEGER PRIMARY KEY, what TEXT, was TEXT, became TEXT);"
                .to_owned();
        for (table, columns, changes) in WRITTEN {
            for change in changes {
                let verb = change.split(' ').next().expect("it has a word");
                let row = |of: &str, unless: &str| {
                    let all: Vec<_> = columns.iter().map(|column| format!("'{column}', {of}.{column}")).collect();
                    if verb == unless { "NULL".to_owned() } else { format!("json_object({})", all.join(", ")) }
                };
                sql += &format!(
                    "CREATE TRIGGER IF NOT EXISTS sim_{table}_{verb} AFTER {change} ON {table} BEGIN INSERT INTO \
                     sim_journal (what, was, became) VALUES ('{table}', {}, {}); END;",
                    row("OLD", "INSERT"),
                    row("NEW", "DELETE")
                );
            }
        }
        sql += "CREATE TRIGGER IF NOT EXISTS sim_pack_void AFTER UPDATE OF state ON pack_ledger \
                WHEN NEW.state = 'VOID' AND OLD.state <> 'VOID' BEGIN INSERT INTO sim_journal (what, became) VALUES \
                ('pack_ledger', (SELECT json_object('pack_id', OLD.pack_id, 'job_id', job_id, 'run', state, \
                'failure', failure_code, 'durable_at', OLD.durable_at) FROM run WHERE run_id = OLD.run_id)); END;";
        sql += &format!("INSERT INTO sim_journal (what, became) VALUES ('life', '{}');", now.0);
        let mut tx = store.begin().await.unwrap();
        at_once(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx)).await.unwrap();
        tx.commit().await.unwrap();
        store.probe.last_word = Some("INSERT INTO sim_journal (what) VALUES ('committed')");
    }

    /// What was committed since this was asked last, oldest first.
    pub async fn read(&mut self, store: &Store) -> Vec<Change> {
        let new = sqlx::query("SELECT n, what, was, became FROM sim_journal WHERE n > $1 ORDER BY n").bind(self.read);
        let rows = at_once(new.fetch_all(store.reader())).await.unwrap();
        self.read = rows.last().map_or(self.read, |row| row.get(0));
        rows.iter().map(|row| change(row.get(1), row.get(2), row.get(3))).collect()
    }
}

fn change(what: &str, was: Option<&str>, is: Option<&str>) -> Change {
    match what {
        "life" => Change::Life(only(is)),
        "job" => Change::Job(step(was, is)),
        "run" => Change::Run(step(was, is)),
        "image" => Change::Image(step(was, is)),
        "job_event" => Change::Event(only(is)),
        "notification" => Change::Notification(step(was, is)),
        "pack_ledger" => Change::Void(only(is)),
        "catalog" => Change::Catalog(step(was, is)),
        "committed" => Change::Committed,
        other => panic!("nobody writes down {other}"),
    }
}

fn step<T: DeserializeOwned>(was: Option<&str>, is: Option<&str>) -> Step<T> {
    Step { was: was.map(row), is: is.map(row) }
}

fn only<T: DeserializeOwned>(is: Option<&str>) -> T {
    row(is.expect("what is new"))
}

fn row<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
