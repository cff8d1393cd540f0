//! What jobs that end have left behind, and what holds a source's objects.

use super::jobs::{locked_job, step_job};
use super::leftovers::{Leftovers, leave};
use super::query::Verbs;
use super::row::Fields;
use super::run_steps::step_run;
use super::runs::run_record;
use super::{Store, StoreError};
use crate::replicator::VolumeBaseline;
use godwit_model::id::{JobId, PackId, RunId};
use godwit_model::job::{self, JobState};
use godwit_model::run::Claims;
use godwit_model::run::Event;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

/// What a job that is ending has left: at the source, in the store.
#[derive(Clone, Default, Debug)]
pub(crate) struct JobLeftovers {
    /// Its last run that may have left something at the source; `None` if it never had one.
    pub last_run: Option<RunId>,
    /// Images that may be half made, and snapshots that no image names.
    pub unfinished: Leftovers,
    /// Staged packs.
    pub packs: Vec<PackId>,
}

impl Store {
    /// Jobs that are FAILING or DELETING: what they left is to be removed.
    pub(crate) async fn ending_jobs(&self) -> Result<Vec<JobId>, StoreError> {
        sqlx::query("SELECT job_id FROM job WHERE state IN ('FAILING', 'DELETING')")
            .all(self.reader(), "look for jobs that are ending", |row| Fields(row).id("job_id"))
            .await
    }

    pub(crate) async fn job_leftovers(&self, job: &JobId) -> Result<JobLeftovers, StoreError> {
        let what = "read what a job left";
        let runs = sqlx::query("SELECT * FROM run WHERE job_id = $1 AND started_at IS NOT NULL ORDER BY started_at")
            .bind(job.to_string())
            .all(self.reader(), what, run_record)
            .await?;
        let mut left = JobLeftovers::default();
        for run in runs {
            if run.position == godwit_model::run::Position::Deleting {
                left.unfinished.images.extend(run.image);
                left.unfinished.snapshots.extend(self.run_volumes(&run.id).await?.into_iter().map(|v| v.snapshot));
            }
            left.last_run = Some(run.id);
        }
        left.packs = sqlx::query(
            "SELECT pack_id FROM pack_ledger WHERE run_id IN \
             (SELECT run_id FROM run WHERE job_id = $1 AND state IN ('FAILED', 'DELETING', 'DELETED'))",
        )
        .bind(job.to_string())
        .all(self.reader(), what, |row| Fields(row).id("pack_id"))
        .await?;
        Ok(left)
    }

    /// What the job left is removed, but for `left`: it and its runs have ended. Repeated, nothing changes.
    pub(crate) async fn end_job(&self, job: &JobId, left: &Leftovers, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        leave(&mut tx, left).await?;
        let was = locked_job(&mut tx, job).await?.ok_or(StoreError::Stale)?;
        let what = "end a job";
        let runs = sqlx::query("SELECT * FROM run WHERE job_id = $1 AND state = 'DELETING'")
            .bind(job.to_string())
            .all(&mut *tx, what, run_record)
            .await?;
        for run in runs {
            step_run(&mut tx, &run, Event::Removed, now).await?;
        }
        // What a run sent whose image stays belongs to the image: it was completed by the deletion of its job.
        sqlx::query(
            "DELETE FROM pack_ledger WHERE run_id IN (SELECT run_id FROM run WHERE job_id = $1 AND state = 'COMPLETED')",
        )
        .bind(job.to_string())
        .run(&mut *tx, what)
        .await?;
        // What could not be removed yet is tried again in the background.
        sqlx::query("UPDATE pack_ledger SET state = 'VOID' WHERE run_id IN (SELECT run_id FROM run WHERE job_id = $1)")
            .bind(job.to_string())
            .run(&mut *tx, what)
            .await?;
        step_job(&mut tx, &was, job::Event::CleanedUp, None, now).await?;
        tx.commit().await
    }

    /// Up to a hundred jobs that have been in `state` since `before` or longer.
    pub(crate) async fn jobs_since(&self, state: JobState, before: Timestamp) -> Result<Vec<JobId>, StoreError> {
        sqlx::query("SELECT job_id FROM job WHERE state = $1 AND state_since <= $2 ORDER BY state_since LIMIT 100")
            .bind(state.as_str())
            .bind(before.0)
            .all(self.reader(), "look for jobs whose time is over", |row| Fields(row).id("job_id"))
            .await
    }

    /// Forgets a deleted job and its runs; its images stay. While something staged waits to be removed, the job stays.
    pub(crate) async fn forget_job(&self, job: &JobId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let what = "forget a deleted job";
        let staged = "SELECT pack_id FROM pack_ledger WHERE run_id IN (SELECT run_id FROM run WHERE job_id = $1)";
        let deleted = locked_job(&mut tx, job).await?.is_some_and(|j| j.state == JobState::Deleted);
        if !deleted || sqlx::query(staged).bind(job.to_string()).exists(&mut *tx, what).await? {
            return Ok(());
        }
        for sql in [
            "DELETE FROM run_volume WHERE run_id IN (SELECT run_id FROM run WHERE job_id = $1)",
            "DELETE FROM run_forecast WHERE run_id IN (SELECT run_id FROM run WHERE job_id = $1)",
            "DELETE FROM run WHERE job_id = $1",
            "DELETE FROM baseline WHERE job_id = $1",
            "DELETE FROM suspect WHERE job_id = $1",
            "DELETE FROM job WHERE job_id = $1",
        ] {
            sqlx::query(sql).bind(job.to_string()).run(&mut *tx, what).await?;
        }
        tx.commit().await
    }

    /// Last committed state of each volume of a job.
    pub(crate) async fn baselines(&self, job: &JobId) -> Result<Vec<VolumeBaseline>, StoreError> {
        sqlx::query(
            "SELECT baseline.*, snapshot.key_id FROM baseline \
             JOIN snapshot ON snapshot.snapshot_id = baseline.snapshot_id WHERE job_id = $1 ORDER BY baseline.device",
        )
        .bind(job.to_string())
        .all(self.reader(), "read the baselines of a job", baseline)
        .await
    }

    /// What must stay at sources. What a disassociated connector's servers had is not wanted any more: should it come
    /// back, their next runs compare.
    pub(crate) async fn claims(&self) -> Result<Claims, StoreError> {
        let what = "read which runs have things at sources";
        let runs = |query| sqlx::query(query).all(self.reader(), what, |row| Fields(row).id("run_id"));
        Ok(Claims {
            at_work: runs("SELECT run_id FROM run WHERE state IN ('ACTIVE', 'DELETING') ORDER BY run_id").await?,
            baselines: runs(
                "SELECT DISTINCT baseline.run_id FROM baseline JOIN job ON job.job_id = baseline.job_id \
                 JOIN server ON server.server_id = job.server_id \
                 WHERE server.connector_id IS NOT NULL ORDER BY baseline.run_id",
            )
            .await?,
        })
    }
}

fn baseline(row: &AnyRow) -> Result<VolumeBaseline, StoreError> {
    let fields = Fields(row);
    Ok(VolumeBaseline {
        device: fields.text("device")?,
        run: fields.id("run_id")?,
        snapshot: fields.id("snapshot_id")?,
        size: fields.number("size")?,
        key: fields.id("key_id")?,
    })
}
