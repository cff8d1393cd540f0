//! Replication runs: listed, asked for, read.

use super::jobs::{insert_run, interval, locked_job};
use super::keys::{RunKey, run_key};
use super::query::{After, Order, Verbs, of};
use super::row::{Fields, to_sql};
use super::{Store, StoreError};
use crate::control::Draw;
use godwit_model::cap::Cap;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, JobId, RunId, SnapshotId};
use godwit_model::job::JobState;
use godwit_model::run::{Position, RunState, RunType, Stage};
use godwit_model::schedule::{JobFacts, Limits, ON_DEMAND_WINDOW, OnDemandDenied, RunFacts, may_run_on_demand};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

/// A run's row.
#[derive(Clone, Debug)]
pub(crate) struct RunRecord {
    pub id: RunId,
    pub job: JobId,
    pub position: Position,
    /// The stage at work, or the one that a run which ended was in last.
    pub stage: Option<Stage>,
    pub kind: RunType,
    pub description: Option<String>,
    pub scheduled_at: Timestamp,
    pub stage_started_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// Drawn before Registering; the image exists from Cleaning on.
    pub image: Option<ImageId>,
    pub consistency: Option<Consistency>,
    pub point: Option<String>,
    pub point_at: Option<Timestamp>,
    pub notes: Vec<String>,
    pub failure: Option<Failure>,
    /// What it encrypts with: known from Validating on.
    pub key: Option<RunKey>,
    /// Instead of its job's.
    pub cap: Option<Cap>,
    pub fence: i64,
}

/// A row of a run's volume.
#[derive(Clone, Debug)]
pub(crate) struct VolumeRecord {
    pub device: String,
    pub snapshot: SnapshotId,
    pub parent: Option<SnapshotId>,
    pub tracked: bool,
    pub notes: Vec<String>,
    /// Known once the snapshot is committed.
    pub root_digest: Option<String>,
    /// What of the parent proved damaged before the run.
    pub repairs: Vec<Extent>,
    pub figures: VolumeFigures,
}

/// What the plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub jobs: Vec<JobFacts>,
    pub runs: Vec<RunFacts>,
}

/// Why a run on demand is not listed.
#[derive(Debug)]
pub(crate) enum DemandDenied {
    UnknownJob,
    ByRule(OnDemandDenied),
}

/// Jobs that the plan for `$1` can say something of: a run of them is at work or asked for; what was due up to `$2` fell
/// into an outage; or theirs is among the first `$3` of those that are due and could start.
macro_rules! with_something_to_do {
    () => {
        "SELECT job_id FROM run WHERE state IN ('ACTIVE', 'DELETING') \
         UNION SELECT job_id FROM run WHERE state = 'PENDING' AND kind = 'ON_DEMAND' \
         UNION SELECT job_id FROM run WHERE state = 'PENDING' AND kind = 'AUTOMATIC' AND scheduled_at <= $2 \
         UNION SELECT job_id FROM (SELECT run.job_id AS job_id FROM run JOIN job ON job.job_id = run.job_id \
             WHERE run.state = 'PENDING' AND run.kind = 'AUTOMATIC' AND run.scheduled_at > $2 AND run.scheduled_at <= $1 \
             AND job.state IN ('PENDING', 'ACTIVE') AND NOT EXISTS (SELECT 1 FROM run AS other \
                 WHERE other.job_id = run.job_id AND other.state IN ('ACTIVE', 'DELETING')) \
             ORDER BY run.scheduled_at, run.run_id LIMIT $3) AS first"
    };
}

impl Store {
    /// What the plan for `now` is made from. Most jobs only wait, for their time or for a free slot, so what they wait for
    /// is not read. The plan is the one that all jobs and runs would give.
    pub(crate) async fn facts(&self, limits: &Limits, now: Timestamp) -> Result<Facts, StoreError> {
        let what = "read what is due";
        let outage = limits.outage().min(now);
        let jobs = sqlx::query(concat!(
            "SELECT job_id, state, start_at, interval_minutes, (SELECT MAX(run.scheduled_at) FROM run \
             WHERE run.job_id = job.job_id AND run.kind = 'AUTOMATIC') AS last_scheduled \
             FROM job WHERE state IN ('PENDING', 'ACTIVE') AND (job_id IN (",
            with_something_to_do!(),
            ") OR NOT EXISTS (SELECT 1 FROM run WHERE run.job_id = job.job_id AND run.state = 'PENDING' \
             AND run.kind = 'AUTOMATIC'))"
        ))
        .bind(now.0)
        .bind(outage.0)
        .bind(to_sql(limits.max_active))
        .all(self.reader(), what, job_facts)
        .await?;
        let runs = sqlx::query(concat!(
            "SELECT run_id, job_id, state, kind, scheduled_at FROM run \
             WHERE state IN ('PENDING', 'ACTIVE', 'DELETING') AND job_id IN (",
            with_something_to_do!(),
            ")"
        ))
        .bind(now.0)
        .bind(outage.0)
        .bind(to_sql(limits.max_active))
        .all(self.reader(), what, run_facts)
        .await?;
        Ok(Facts { jobs, runs })
    }

    /// Runs that are at work, with their jobs.
    pub(crate) async fn active_runs(&self) -> Result<Vec<(RunId, JobId)>, StoreError> {
        sqlx::query("SELECT run_id, job_id FROM run WHERE state = 'ACTIVE'")
            .all(self.reader(), "read the runs at work", |row| {
                Ok((Fields(row).id("run_id")?, Fields(row).id("job_id")?))
            })
            .await
    }

    /// When the next listed run behind `now` is due.
    pub(crate) async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query(
            "SELECT MIN(scheduled_at) AS next_due FROM run \
             WHERE state = 'PENDING' AND kind = 'AUTOMATIC' AND scheduled_at > $1",
        )
        .bind(now.0)
        .one(self.reader(), "read what is due next", |row| Fields(row).opt_time("next_due"))
        .await
    }

    /// Lists the next run of a job ahead. If one is listed already, or the job does not run any more, nothing changes.
    pub(crate) async fn schedule_run(&self, job: &JobId, at: Timestamp, draw: &Draw) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let running = locked_job(&mut tx, job).await?.is_some_and(|j| j.state.is_running());
        let listed = sqlx::query(
            "SELECT run_id FROM run WHERE job_id = $1 AND kind = 'AUTOMATIC' \
             AND (state = 'PENDING' OR scheduled_at = $2)",
        )
        .bind(job.to_string())
        .bind(at.0)
        .exists(&mut *tx, "look for a listed run")
        .await?;
        if running && !listed {
            insert_run(&mut tx, job, RunType::Automatic, None, at, draw).await?;
        }
        tx.commit().await
    }

    /// Lists a run that somebody asked for, if the rule allows it.
    pub(crate) async fn demand_run(
        &self,
        job: &JobId,
        description: Option<String>,
        now: Timestamp,
        draw: &Draw,
    ) -> Result<Result<RunId, DemandDenied>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(record) = locked_job(&mut tx, job).await? else { return Ok(Err(DemandDenied::UnknownJob)) };
        let runs = sqlx::query(
            "SELECT * FROM run WHERE job_id = $1 AND (state IN ('PENDING', 'ACTIVE', 'DELETING') \
             OR (kind = 'ON_DEMAND' AND scheduled_at > $2))",
        )
        .bind(job.to_string())
        .bind((now - ON_DEMAND_WINDOW).0)
        .all(&mut *tx, "read the runs of a job", run_facts)
        .await?;
        if let Err(denied) = may_run_on_demand(record.state, &runs, now) {
            return Ok(Err(DemandDenied::ByRule(denied)));
        }
        let id = insert_run(&mut tx, job, RunType::OnDemand, description, now, draw).await?;
        tx.commit().await?;
        Ok(Ok(id))
    }

    pub(crate) async fn run(&self, id: &RunId) -> Result<Option<RunRecord>, StoreError> {
        sqlx::query("SELECT * FROM run WHERE run_id = $1")
            .bind(id.to_string())
            .find(self.reader(), "read a run", run_record)
            .await
    }

    /// Up to `limit` runs behind `after`, newest first; of one job if it is given.
    pub(crate) async fn runs(
        &self,
        job: Option<&JobId>,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<RunRecord>, StoreError> {
        let (whose, job) = of("job_id", job);
        let sql = format!(
            "SELECT * FROM run WHERE {whose} AND scheduled_at <= $2 AND (scheduled_at < $2 OR run_id < $3) \
             ORDER BY scheduled_at DESC, run_id DESC LIMIT $4"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(job)
            .page(after, Order::NewestFirst, limit)
            .all(self.reader(), "list runs", run_record)
            .await
    }

    /// When the run that is listed ahead is due.
    pub(crate) async fn next_start(&self, job: &JobId) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query("SELECT scheduled_at FROM run WHERE job_id = $1 AND state = 'PENDING' AND kind = 'AUTOMATIC'")
            .bind(job.to_string())
            .find(self.reader(), "read the next run", |row| Fields(row).time("scheduled_at"))
            .await
    }

    /// The volumes of a run, boot disk first.
    pub(crate) async fn run_volumes(&self, run: &RunId) -> Result<Vec<VolumeRecord>, StoreError> {
        sqlx::query("SELECT * FROM run_volume WHERE run_id = $1 ORDER BY place")
            .bind(run.to_string())
            .all(self.reader(), "read the volumes of a run", volume_record)
            .await
    }
}

fn job_facts(row: &AnyRow) -> Result<JobFacts, StoreError> {
    let fields = Fields(row);
    Ok(JobFacts {
        job: fields.id("job_id")?,
        state: fields.name("state", JobState::parse)?,
        start: fields.time("start_at")?,
        interval: interval(&fields)?,
        last_scheduled: fields.opt_time("last_scheduled")?,
    })
}

fn run_facts(row: &AnyRow) -> Result<RunFacts, StoreError> {
    let fields = Fields(row);
    Ok(RunFacts {
        run: fields.id("run_id")?,
        job: fields.id("job_id")?,
        state: fields.name("state", RunState::parse)?,
        kind: fields.name("kind", RunType::parse)?,
        scheduled: fields.time("scheduled_at")?,
    })
}

pub(super) fn run_record(row: &AnyRow) -> Result<RunRecord, StoreError> {
    let fields = Fields(row);
    let state = fields.name("state", RunState::parse)?;
    let stage = fields.opt_name("stage", Stage::parse)?;
    let abandoning = fields.truth("abandoning")?;
    let position = match (state, stage) {
        (RunState::Pending, _) => Position::Pending,
        (RunState::Missed, _) => Position::Missed,
        (RunState::Active, _) if abandoning => Position::Abandoning,
        (RunState::Active, Some(stage)) => Position::At(stage),
        (RunState::Active, None) => return Err(StoreError::unreadable("the stage of an active run", "nothing")),
        (RunState::Failed, _) => Position::Failed,
        (RunState::Completed, _) => Position::Completed,
        (RunState::Deleting, _) => Position::Deleting,
        (RunState::Deleted, _) => Position::Deleted,
    };
    let failure = match fields.opt_name("failure_code", parse_code)? {
        None => None,
        Some(code) => Some(Failure::new(code, fields.opt_text("failure_evidence")?.unwrap_or_default())),
    };
    Ok(RunRecord {
        id: fields.id("run_id")?,
        job: fields.id("job_id")?,
        position,
        stage,
        kind: fields.name("kind", RunType::parse)?,
        description: fields.opt_text("description")?,
        scheduled_at: fields.time("scheduled_at")?,
        stage_started_at: fields.opt_time("stage_started_at")?,
        started_at: fields.opt_time("started_at")?,
        completed_at: fields.opt_time("completed_at")?,
        image: fields.opt_id("image_id")?,
        consistency: fields.opt_name("consistency", parse_consistency)?,
        point: fields.opt_text("point")?,
        point_at: fields.opt_time("point_at")?,
        notes: fields.json("notes")?,
        failure,
        key: run_key(&fields)?,
        cap: fields.opt_id("cap")?,
        fence: fields.int("fence")?,
    })
}

pub(super) fn volume_record(row: &AnyRow) -> Result<VolumeRecord, StoreError> {
    let fields = Fields(row);
    Ok(VolumeRecord {
        device: fields.text("device")?,
        snapshot: fields.id("snapshot_id")?,
        parent: fields.opt_id("parent_id")?,
        tracked: fields.truth("tracked")?,
        notes: fields.json("notes")?,
        root_digest: fields.opt_text("root_digest")?,
        repairs: fields.json("repairs")?,
        figures: VolumeFigures {
            bytes_total: fields.number("bytes_total")?,
            bytes_done: fields.number("bytes_done")?,
            bytes_read: fields.number("bytes_read")?,
            bytes_sent: fields.number("bytes_sent")?,
            bytes_stored: fields.number("bytes_stored")?,
            bytes_resent: fields.number("bytes_resent")?,
            bytes_verified: fields.number("bytes_verified")?,
        },
    })
}

pub(super) fn parse_code(text: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|c| c.as_str() == text)
}

fn parse_consistency(text: &str) -> Option<Consistency> {
    [Consistency::Crash, Consistency::FileSystem].into_iter().find(|c| c.as_str() == text)
}
