//! The store: what is in it, what a sweep would free, sweeps.

use super::page::{only, paged};
use super::{Answer, ErrorCode, Page, Paged, Service, ServiceError};
use crate::key_uses::Gathered;
use crate::replicator::{PackCount, SweepPlan, SweepProgress};
use crate::run::StageError;
use crate::store::User;
use godwit_model::id::SweepId;
use godwit_model::time::Timestamp;
use tokio_util::sync::CancellationToken;

/// State of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SweepState {
    /// At work.
    Running,
    /// It came to its end. What it could not delete is counted.
    Completed,
    /// It was given up.
    Failed,
}

impl SweepState {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            SweepState::Running => "RUNNING",
            SweepState::Completed => "COMPLETED",
            SweepState::Failed => "FAILED",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<SweepState> {
        [SweepState::Running, SweepState::Completed, SweepState::Failed].into_iter().find(|s| s.as_str() == text)
    }
}

/// A sweep of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sweep {
    /// Its id.
    pub id: SweepId,
    /// Whether somebody asked for it.
    pub on_demand: bool,
    /// State.
    pub state: SweepState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Packs deleted.
    pub packs_freed: u64,
    /// Their bytes.
    pub bytes_freed: u64,
    /// Bytes moved by repacking.
    pub bytes_moved: u64,
    /// What could not be deleted or moved; the next sweep tries again.
    pub left: u64,
    /// What went wrong.
    pub message: Option<String>,
    /// How far it has come, while it is at work.
    pub progress: Option<SweepProgress>,
}

/// What a sweep would do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SweepPreview {
    /// What the store holds, and what of it would go.
    pub plan: SweepPlan,
    /// Packs that failed runs staged and that are too old to be resumed from: they would go too.
    pub expired_staged: PackCount,
    /// How long what no snapshot names is kept.
    pub staging_hours: u64,
}

impl SweepPreview {
    /// Bytes that a sweep would free, repacking included.
    pub fn bytes_to_free(&self) -> u64 {
        self.plan.released.bytes + self.plan.expired.bytes + self.plan.repack_frees + self.expired_staged.bytes
    }
}

/// What the store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreDescription {
    /// The packs, by what they are needed for.
    pub preview: SweepPreview,
    /// The last sweep, or the one at work.
    pub last_sweep: Option<Sweep>,
    /// When the next one is due.
    pub next_sweep: Option<Timestamp>,
}

impl Service {
    /// `PreviewSweep`: what a sweep would do now. Changes nothing.
    pub async fn preview_sweep(&self, now: Timestamp) -> Answer<SweepPreview> {
        self.look_at_the_store("godwit:PreviewSweep", now).await
    }

    async fn look_at_the_store(&self, operation: &'static str, now: Timestamp) -> Answer<SweepPreview> {
        let (line, uses) = (&self.line, Gathered::default());
        let plan = line.plan_sweep(&uses, line.options.sweeping.look, &CancellationToken::new()).await;
        // On a disk that is full the store must be seen all the same.
        if let Err(error) = self.note_uses(&User::Look(operation), uses.all(), now).await {
            tracing::warn!(error = %error.to_failure(), "which keys a look at the store used is not on record");
        }
        let plan = plan.map_err(|error| match error {
            StageError::Failed(failure) => ServiceError::from_failure(&failure),
            StageError::Store(error) => error.into(),
            StageError::Stopped => ServiceError::new(ErrorCode::TemporarilyUnavailable, "the service is stopping"),
        })?;
        let expired = line.store.staged_before(line.staged_until()).await?;
        let hours = line.options.sweeping.staging.0 / godwit_model::time::Millis::HOUR.0;
        Ok(SweepPreview {
            plan,
            expired_staged: PackCount { packs: expired.packs, bytes: expired.bytes, oldest: None },
            staging_hours: u64::try_from(hours).unwrap_or(0),
        })
    }

    /// `StartSweep`: sweeps the store in the background. While one is at work, that one is meant.
    pub async fn start_sweep(&self, now: Timestamp) -> Answer<SweepId> {
        let sweep = self.line.store.begin_sweep(true, &self.line.draw, now).await?;
        self.line.wake.notify_one();
        Ok(sweep.id)
    }

    /// `DescribeSweeps`: newest first.
    pub async fn describe_sweeps(&self, ids: Option<&[String]>, page: &Page) -> Answer<Paged<Sweep>> {
        let store = &self.line.store;
        let found = match ids {
            Some(ids) => only(ids, "sweep", "sweeps", page, async |ids: &[_]| store.sweeps_named(ids).await).await?,
            None => {
                let read = |after, limit| store.sweeps(after, limit);
                paged(page, "sweeps", read, |s| (s.started_at.0, s.id.to_string())).await?
            }
        };
        Ok(found.map(|sweep| self.with_live_figures(sweep)))
    }

    /// `DescribeStore`: how much is in the store, and what for.
    pub async fn describe_store(&self, now: Timestamp) -> Answer<StoreDescription> {
        let preview = self.look_at_the_store("godwit:DescribeStore", now).await?;
        let last_sweep = self.line.store.sweeps(None, 1).await?.pop().map(|sweep| self.with_live_figures(sweep));
        let last = self.line.store.swept_last().await?;
        let next_sweep = last.zip(self.line.options.sweeping.every).map(|(last, every)| last + every);
        Ok(StoreDescription { preview, last_sweep, next_sweep })
    }

    fn with_live_figures(&self, mut sweep: Sweep) -> Sweep {
        if sweep.state == SweepState::Running {
            sweep.progress = self.line.sweeping.get();
        }
        sweep
    }
}
