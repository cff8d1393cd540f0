//! Replication jobs: created, changed, deleted.

use super::events::tell_of_job;
use super::policies::role_for_job;
use super::query::{After, Order, Statement, Verbs};
use super::row::{Fields, to_json};
use super::run_steps::step_run;
use super::runs::run_record;
use super::{Store, StoreError, Tx};
use crate::audit::NewAuditRecord;
use crate::control::Draw;
use godwit_model::cap::Cap;
use godwit_model::id::{JobId, RunId, ServerId};
use godwit_model::job::{self, FailurePolicy, Interval, JobState};
use godwit_model::licence::{self, LicenseType, NotAllowed};
use godwit_model::role::{self, Insufficient};
use godwit_model::run::{self, RunType};
use godwit_model::server::{DiscoveredVolume, Platform};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

/// A job to write.
#[derive(Clone, Debug)]
pub(crate) struct NewJobRecord {
    pub server: ServerId,
    pub start: Timestamp,
    pub interval: Interval,
    pub license: Option<LicenseType>,
    pub role_name: String,
    pub description: Option<String>,
    pub keep_images: Option<u32>,
    pub encrypted: Option<bool>,
    pub kms_key_id: Option<String>,
    /// As text: what was checked once may be kept.
    pub recipients: Vec<String>,
    pub pause_on_failure: bool,
    /// `None` is the configured number.
    pub pause_after: Option<u32>,
    pub cap: Option<Cap>,
}

/// A job's row.
#[derive(Clone, Debug)]
pub(crate) struct JobRecord {
    pub id: JobId,
    pub state: JobState,
    pub status_message: Option<String>,
    pub created_at: Timestamp,
    /// When the first run was to start. The grid of the schedule is [`NewJobRecord::start`], which moves.
    pub seed: Timestamp,
    pub fence: i64,
    /// Failed scheduled runs in a row.
    pub failures: u32,
    /// Since when it is in its state.
    pub state_since: Timestamp,
    pub settings: NewJobRecord,
}

/// What a change does to a job's schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NextStart {
    /// What is listed ahead stays.
    Stay,
    /// The run that is listed ahead moves there.
    Move(Timestamp),
    /// The job is paused and goes on: at this time, or at the next point of its grid.
    Resume(Option<Timestamp>),
}

impl NewJobRecord {
    /// What the job does about failures, if `configured` is the number for jobs that name none.
    pub fn failure_policy(&self, configured: u32) -> FailurePolicy {
        FailurePolicy { pause: self.pause_on_failure, after: self.pause_after.unwrap_or(configured) }
    }
}

/// Why a job is not created.
#[derive(Debug)]
pub(crate) enum CreateDenied {
    UnknownServer,
    NoConnector,
    NoVolumes,
    AlreadyReplicated(JobId),
    Licence(NotAllowed),
    /// There is no such role.
    UnknownRole,
    Role(Insufficient),
}

/// Why a job is not deleted.
#[derive(Debug)]
pub(crate) enum DeleteDenied {
    Unknown,
    Deleted,
}

impl Store {
    /// Creates a job and its first run, listed ahead.
    pub(crate) async fn create_job(
        &self,
        new: &NewJobRecord,
        draw: &Draw,
        now: Timestamp,
    ) -> Result<Result<JobId, CreateDenied>, StoreError> {
        let mut tx = self.begin().await?;
        if let Some(denied) = denied(&mut tx, new).await? {
            return Ok(Err(denied));
        }
        match role_for_job(&mut tx, &new.role_name, now).await? {
            None => return Ok(Err(CreateDenied::UnknownRole)),
            Some(policy) => {
                if let Err(denied) = role::suffices(&policy, new.kms_key_id.is_some()) {
                    return Ok(Err(CreateDenied::Role(denied)));
                }
            }
        }
        let id = tx.fresh("SELECT job_id FROM job WHERE job_id = $1", draw, JobId::from_bits).await?;
        let insert = sqlx::query(
            "INSERT INTO job (job_id, server_id, state, start_at, interval_minutes, license, role_name, description, \
             keep_images, encrypted, kms_key_id, recipients, pause_on_failure, pause_after, cap, status_message, created_at, \
             state_since, seed_at, failures, fence) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, NULL, $16, $16, $4, 0, 0)",
        )
        .bind(id.to_string())
        .bind(new.server.to_string())
        .bind(JobState::Pending.as_str());
        with_settings(insert, new).bind(now.0).run(&mut *tx, "create a job").await?;
        insert_run(&mut tx, &id, RunType::Automatic, None, new.start, draw).await?;
        tx.commit().await?;
        Ok(Ok(id))
    }

    /// Writes a job's settings as `changed` has them, if its fence is still the one of the record.
    pub(crate) async fn update_job(
        &self,
        changed: &JobRecord,
        next: NextStart,
        draw: &Draw,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let what = "change a job";
        // A role that was deleted since it was looked at: whoever asked looks again.
        if role_for_job(&mut tx, &changed.settings.role_name, now).await?.is_none() {
            return Err(StoreError::Stale);
        }
        let update = sqlx::query(
            "UPDATE job SET start_at = $1, interval_minutes = $2, license = $3, role_name = $4, description = $5, \
             keep_images = $6, encrypted = $7, kms_key_id = $8, recipients = $9, pause_on_failure = $10, \
             pause_after = $11, cap = $12, fence = fence + 1 WHERE job_id = $13 AND fence = $14",
        );
        with_settings(update, &changed.settings)
            .bind(changed.id.to_string())
            .bind(changed.fence)
            .run_fenced(&mut *tx, what)
            .await?;
        if matches!(next, NextStart::Resume(_)) {
            let was = locked_job(&mut tx, &changed.id).await?.ok_or(StoreError::Stale)?;
            step_job(&mut tx, &was, job::Event::Resume, Some(None), now).await?;
            count_failures(&mut tx, &changed.id, 0).await?;
        }
        if let NextStart::Move(at) | NextStart::Resume(Some(at)) = next {
            let moved = sqlx::query(
                "UPDATE run SET scheduled_at = $1 WHERE job_id = $2 AND state = 'PENDING' AND kind = 'AUTOMATIC'",
            )
            .bind(at.0)
            .bind(changed.id.to_string())
            .run(&mut *tx, what)
            .await?;
            if moved == 0 {
                insert_run(&mut tx, &changed.id, RunType::Automatic, None, at, draw).await?;
            }
        }
        tx.commit().await
    }

    /// Marks a job as being deleted, and stops its runs. Already so: nothing changes.
    pub(crate) async fn delete_job(&self, id: &JobId, now: Timestamp) -> Result<Result<(), DeleteDenied>, StoreError> {
        self.delete_job_by(id, None, now).await
    }

    /// The service deletes a job by itself: that is on record with it.
    pub(crate) async fn delete_overdue_job(
        &self,
        id: &JobId,
        now: Timestamp,
    ) -> Result<Result<(), DeleteDenied>, StoreError> {
        let why = "it was paused on failure for longer than such jobs are kept";
        let parameters = serde_json::json!({ "replicationJobId": id.to_string(), "reason": why });
        let record = NewAuditRecord::of_the_service("sms:DeleteReplicationJob", &parameters, now);
        self.delete_job_by(id, Some(record), now).await
    }

    /// With a `record` of the service, only a job that is paused: it may have been resumed since it was looked for.
    async fn delete_job_by(
        &self,
        id: &JobId,
        record: Option<NewAuditRecord>,
        now: Timestamp,
    ) -> Result<Result<(), DeleteDenied>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(was) = locked_job(&mut tx, id).await? else { return Ok(Err(DeleteDenied::Unknown)) };
        if was.state == JobState::Deleted {
            return Ok(Err(DeleteDenied::Deleted));
        }
        if was.state == JobState::Deleting || (record.is_some() && was.state != JobState::PausedOnFailure) {
            return Ok(Ok(()));
        }
        step_job(&mut tx, &was, job::Event::Delete, None, now).await?;
        if let Some(record) = record {
            Store::append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    pub(crate) async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        sqlx::query("SELECT * FROM job WHERE job_id = $1")
            .bind(id.to_string())
            .find(self.reader(), "read a job", job_record)
            .await
    }

    /// Up to `limit` jobs behind `after`, newest first.
    pub(crate) async fn jobs(&self, after: Option<After>, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
        sqlx::query(
            "SELECT * FROM job WHERE created_at <= $1 AND (created_at < $1 OR job_id < $2) \
             ORDER BY created_at DESC, job_id DESC LIMIT $3",
        )
        .page(after, Order::NewestFirst, limit)
        .all(self.reader(), "list jobs", job_record)
        .await
    }
}

/// Takes a job one step, with everything that the step brings with it. `message` replaces the job's status message.
pub(super) async fn step_job(
    tx: &mut Tx,
    was: &JobRecord,
    event: job::Event,
    message: Option<Option<String>>,
    now: Timestamp,
) -> Result<JobState, StoreError> {
    let (state, effects) = job::step(&was.state, event)?;
    let since = if state == was.state { was.state_since } else { now };
    sqlx::query(
        "UPDATE job SET state = $1, status_message = $2, state_since = $3, fence = fence + 1 \
         WHERE job_id = $4 AND fence = $5",
    )
    .bind(state.as_str())
    .bind(message.unwrap_or_else(|| was.status_message.clone()))
    .bind(since.0)
    .bind(was.id.to_string())
    .bind(was.fence)
    .run_fenced(&mut **tx, "take a job one step")
    .await?;
    for effect in effects {
        match effect {
            job::Effect::StopRuns => stop_runs(tx, &was.id, now).await?,
            job::Effect::DropListed => drop_listed(tx, &was.id, now).await?,
            job::Effect::ForgetBaseline => forget_baseline(tx, &was.id).await?,
            // The driver sees the state and does it.
            job::Effect::CleanUp => {}
        }
    }
    tell_of_job(tx, was, state, now).await?;
    Ok(state)
}

/// The job's next run reads everything and builds on nothing that is stored.
pub(super) async fn forget_baseline(tx: &mut Tx, job: &JobId) -> Result<(), StoreError> {
    for sql in ["DELETE FROM baseline WHERE job_id = $1", "DELETE FROM suspect WHERE job_id = $1"] {
        sqlx::query(sql).bind(job.to_string()).run(&mut **tx, "forget a baseline").await?;
    }
    Ok(())
}

pub(super) async fn locked_job(tx: &mut Tx, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
    sqlx::query("SELECT * FROM job WHERE job_id = $1")
        .bind(id.to_string())
        .find(&mut **tx, "read a job", job_record)
        .await
}

/// Inserts a pending run.
pub(super) async fn insert_run(
    tx: &mut Tx,
    job: &JobId,
    kind: RunType,
    description: Option<String>,
    at: Timestamp,
    draw: &Draw,
) -> Result<RunId, StoreError> {
    let id = tx.fresh("SELECT run_id FROM run WHERE run_id = $1", draw, RunId::from_bits).await?;
    sqlx::query(
        "INSERT INTO run (run_id, job_id, state, abandoning, kind, description, scheduled_at, notes, fence) \
         VALUES ($1, $2, 'PENDING', 0, $3, $4, $5, '[]', 0)",
    )
    .bind(id.to_string())
    .bind(job.to_string())
    .bind(kind.as_str())
    .bind(description)
    .bind(at.0)
    .run(&mut **tx, "list a run")
    .await?;
    Ok(id)
}

async fn stop_runs(tx: &mut Tx, job: &JobId, now: Timestamp) -> Result<(), StoreError> {
    let runs = sqlx::query("SELECT * FROM run WHERE job_id = $1 AND state IN ('PENDING', 'ACTIVE')")
        .bind(job.to_string())
        .all(&mut **tx, "read the runs of a job", run_record)
        .await?;
    for was in runs {
        step_run(tx, &was, run::Event::Delete, now).await?;
    }
    Ok(())
}

/// Nothing that is listed ahead comes: what the schedule had listed is forgotten, so that the grid point is free again;
/// what somebody asked for is missed.
async fn drop_listed(tx: &mut Tx, job: &JobId, now: Timestamp) -> Result<(), StoreError> {
    let what = "drop what is listed ahead";
    sqlx::query("DELETE FROM run WHERE job_id = $1 AND state = 'PENDING' AND kind = 'AUTOMATIC'")
        .bind(job.to_string())
        .run(&mut **tx, what)
        .await?;
    let demanded = sqlx::query("SELECT * FROM run WHERE job_id = $1 AND state = 'PENDING'")
        .bind(job.to_string())
        .all(&mut **tx, what, run_record)
        .await?;
    for was in demanded {
        step_run(tx, &was, run::Event::Miss, now).await?;
    }
    Ok(())
}

/// Writes how many scheduled runs have failed in a row.
pub(super) async fn count_failures(tx: &mut Tx, job: &JobId, failures: u32) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET failures = $1 WHERE job_id = $2")
        .bind(i64::from(failures))
        .bind(job.to_string())
        .run(&mut **tx, "count failures")
        .await?;
    Ok(())
}

async fn denied(tx: &mut Tx, new: &NewJobRecord) -> Result<Option<CreateDenied>, StoreError> {
    let what = "look whether a server can be replicated";
    let server = &new.server;
    let listed = sqlx::query("SELECT connector_id, volumes, platform FROM server WHERE server_id = $1 AND listed = 1")
        .bind(server.to_string())
        .find(&mut **tx, what, |row| {
            let fields = Fields(row);
            let volumes: Vec<DiscoveredVolume> = fields.json("volumes")?;
            Ok((fields.opt_text("connector_id")?, volumes, fields.opt_name("platform", Platform::parse)?))
        })
        .await?;
    let Some((connector, volumes, platform)) = listed else { return Ok(Some(CreateDenied::UnknownServer)) };
    let live = sqlx::query(
        "SELECT job_id FROM job WHERE server_id = $1 \
         AND state IN ('PENDING', 'ACTIVE', 'PAUSED_ON_FAILURE', 'FAILING', 'DELETING')",
    )
    .bind(server.to_string())
    .find(&mut **tx, what, |row| Fields(row).id("job_id"))
    .await?;
    Ok(match (live, connector) {
        (Some(job), _) => Some(CreateDenied::AlreadyReplicated(job)),
        (None, None) => Some(CreateDenied::NoConnector),
        (None, Some(_)) if volumes.is_empty() => Some(CreateDenied::NoVolumes),
        (None, Some(_)) => licence::choose(platform, new.license).err().map(CreateDenied::Licence),
    })
}

/// Binds what a caller may set of a job, in the order of the columns.
fn with_settings<'q>(statement: Statement<'q>, settings: &NewJobRecord) -> Statement<'q> {
    statement
        .bind(settings.start.0)
        .bind(minutes(settings.interval))
        .bind(settings.license.map(LicenseType::as_str))
        .bind(settings.role_name.clone())
        .bind(settings.description.clone())
        .bind(settings.keep_images.map(i64::from))
        .bind(settings.encrypted.map(i64::from))
        .bind(settings.kms_key_id.clone())
        .bind(to_json(&settings.recipients))
        .bind(i64::from(settings.pause_on_failure))
        .bind(settings.pause_after.map(i64::from))
        .bind(settings.cap.as_ref().map(Cap::to_string))
}

fn minutes(interval: Interval) -> Option<i64> {
    match interval {
        Interval::Once => None,
        Interval::EveryMinutes(minutes) => Some(i64::from(minutes)),
    }
}

pub(super) fn interval(fields: &Fields<'_>) -> Result<Interval, StoreError> {
    Ok(fields.opt_number("interval_minutes")?.map_or(Interval::Once, Interval::EveryMinutes))
}

pub(super) fn job_record(row: &AnyRow) -> Result<JobRecord, StoreError> {
    let fields = Fields(row);
    Ok(JobRecord {
        id: fields.id("job_id")?,
        state: fields.name("state", JobState::parse)?,
        status_message: fields.opt_text("status_message")?,
        created_at: fields.time("created_at")?,
        seed: fields.time("seed_at")?,
        fence: fields.int("fence")?,
        failures: fields.number("failures")?,
        state_since: fields.time("state_since")?,
        settings: NewJobRecord {
            server: fields.id("server_id")?,
            start: fields.time("start_at")?,
            interval: interval(&fields)?,
            license: fields.opt_name("license", LicenseType::parse)?,
            role_name: fields.text("role_name")?,
            description: fields.opt_text("description")?,
            keep_images: fields.opt_number("keep_images")?,
            encrypted: fields.opt_int("encrypted")?.map(|n| n != 0),
            kms_key_id: fields.opt_text("kms_key_id")?,
            recipients: fields.json("recipients")?,
            pause_on_failure: fields.truth("pause_on_failure")?,
            pause_after: fields.opt_number("pause_after")?,
            cap: fields.opt_id("cap")?,
        },
    })
}
