//! One run from start to end: load → stage → do → record.
//!
//! ```text
//!  Validating    discover: is the server there? choose the key             records the key
//!  Snapshotting  void snapshots of a lost point removed; take_point        records point, volumes, snapshot ids
//!  Transferring  per volume: begun packs settled; transfer                 records packs, figures, root digest
//!                PointInTimeLost ──► Snapshotting
//!  Verifying     per volume: verify(OwnBlocks)                             records figures; draws the image id
//!  Registering   register                                                  records image, snapshots, baselines
//!  Cleaning      settle(Committed), or Forget for the last run of a job    COMPLETED; what failed is a note
//!  abandoning    settle(Abandoned), image and snapshots removed            FAILED; what failed is a note
//! ```
//!
//! # Consistency
//! A stage is recorded before it begins. Whoever acts on a record that is not the present one gets `Stale` and stops.
//!
//! # Retries
//! Failures that pass by themselves are tried again with growing pauses, `Options::retry` times without progress
//! between them; then, or at once for others, the run is given up. If even that cannot be recorded, the task ends
//! and the driver starts it again from the record.
//!
//! # Cancellation
//! The token stops the run where it is, without changing its state: either its job is being deleted, which the record
//! says already, or the process is stopping, and the run goes on at the next start.
//!
//! # Completion
//! When `execute` returns `Ok`, the run has ended or somebody else has changed its state.
//!
//! # Crash consistency
//! Every call that a stage makes may be repeated, and is, from the recorded stage on.

mod ending;
mod key;
mod progress;
mod stages;
mod transfer;
mod watched;

pub(crate) use ending::end_job;
pub(crate) use progress::Progress;
pub(crate) use watched::{Bounds, bounded, watched};

use crate::control::Line;
use crate::driver::Ended;
use crate::replicator::SourceServer;
use crate::store::{Done, RunRecord, StoreError};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ConnectorId, JobId, RunId};
use godwit_model::run::{Position, Stage};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Why a stage did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// Something outside failed.
    #[error("the stage failed")]
    Failed(#[from] Failure),
    /// The state could not be read or written.
    #[error("the state store failed")]
    Store(#[from] StoreError),
    /// The token was cancelled.
    #[error("stopped")]
    Stopped,
}

/// Where a server is.
pub(crate) struct At {
    pub source: SourceServer,
    /// The server's name.
    pub name: String,
    pub connector: ConnectorId,
}

/// What a stage came to, seen by the loop over stages.
enum StageEnd {
    Done(Done),
    PointLost(Failure),
    GaveUp(Failure),
    Stopped,
}

impl StageError {
    /// The same with the volume's device in the evidence: what reads and sends blocks does not know whose they are.
    fn of_volume(self, device: &str) -> StageError {
        match self {
            StageError::Failed(Failure { code, evidence }) if !evidence.contains(device) => {
                StageError::Failed(Failure::new(code, format!("volume {device}: {evidence}")))
            }
            other => other,
        }
    }

    /// `None` if the run is to stop where it is: it was told to, or its record has moved on.
    fn into_failure(self) -> Option<Failure> {
        match self {
            StageError::Stopped | StageError::Store(StoreError::Stale) => None,
            StageError::Failed(failure) => Some(failure),
            StageError::Store(error) => Some(error.to_failure()),
        }
    }
}

/// Carries a run on from its record until it has ended, the token is cancelled or the store fails for good.
pub(crate) async fn execute(line: Arc<Line>, id: RunId, cancel: CancellationToken) -> Result<Ended, StoreError> {
    let ended = carry_on(&line, &id, &cancel).await;
    line.progress.forget(&id);
    match ended {
        Err(StoreError::Stale) => Ok(Ended::Done),
        other => other.map(|()| Ended::Done),
    }
}

async fn carry_on(line: &Line, id: &RunId, cancel: &CancellationToken) -> Result<(), StoreError> {
    let Some(mut run) = line.store.run(id).await? else { return Ok(()) };
    let mut points_lost = 0;
    loop {
        line.progress.enter(&run.id, run.position.stage(), line.store.run_volumes(&run.id).await?);
        let stage = match run.position {
            Position::At(stage) => stage,
            Position::Abandoning => return ending::abandon(line, &run, cancel).await,
            _ => return Ok(()),
        };
        tracing::info!(run = %run.id, stage = stage.as_str(), "begin stage");
        let mut end = perform_with_retries(line, &run, stage, cancel).await;
        if let StageEnd::PointLost(failure) = &end {
            points_lost += 1;
            if points_lost >= line.options.retry.attempts {
                end = StageEnd::GaveUp(failure.clone());
            } else if pause(line, points_lost, cancel).await.is_err() {
                end = StageEnd::Stopped;
            }
        }
        run = match end {
            StageEnd::Done(done) => line.store.stage_done(&run, &done, &line.draw, line.now()).await?,
            StageEnd::PointLost(failure) => {
                tracing::warn!(run = %run.id, %failure, "the point in time was lost; taking another");
                let note = format!("the point in time was lost and another was taken: {}", failure.evidence);
                line.store.point_lost(&run, &note, line.now()).await?
            }
            StageEnd::GaveUp(failure) => {
                tracing::warn!(run = %run.id, stage = stage.as_str(), %failure, "the run is given up");
                line.store.give_up(&run, &failure, line.now()).await?
            }
            StageEnd::Stopped => return Ok(()),
        };
    }
}

/// Performs a stage, again and again while it fails for passing reasons. Coming further than ever before starts the
/// count anew: a copy over a bad link is not given up because it is long.
async fn perform_with_retries(line: &Line, run: &RunRecord, stage: Stage, cancel: &CancellationToken) -> StageEnd {
    let mut failures = 0;
    let mut furthest = line.progress.position(&run.id);
    loop {
        let failure = match stages::perform(line, run, stage, cancel).await {
            Ok(done) => return StageEnd::Done(done),
            Err(error) => match error.into_failure() {
                Some(failure) => failure,
                None => return StageEnd::Stopped,
            },
        };
        if cancel.is_cancelled() {
            return StageEnd::Stopped;
        }
        if failure.code == Code::PointInTimeLost && stage == Stage::Transferring {
            return StageEnd::PointLost(failure);
        }
        let position = line.progress.position(&run.id);
        failures = if position > furthest { 1 } else { failures + 1 };
        furthest = furthest.max(position);
        if !failure.code.kind().is_transient() || failures >= line.options.retry.attempts {
            return StageEnd::GaveUp(failure);
        }
        tracing::info!(run = %run.id, stage = stage.as_str(), %failure, failures, "a stage failed; trying again");
        line.progress.trouble(&run.id, Some(failure.to_string()));
        if pause(line, failures, cancel).await.is_err() {
            return StageEnd::Stopped;
        }
        line.progress.trouble(&run.id, None);
    }
}

async fn pause(line: &Line, failures: u32, cancel: &CancellationToken) -> Result<(), StageError> {
    tokio::select! {
        () = tokio::time::sleep(line.options.retry.pause(failures)) => Ok(()),
        () = cancel.cancelled() => Err(StageError::Stopped),
    }
}

/// Where the server of a job is to be found.
pub(crate) async fn source_of(line: &Line, job: &JobId) -> Result<At, StageError> {
    let gone = |what: String| Failure::new(Code::ConnectorGone, what);
    let job = line.store.job(job).await?.ok_or(StoreError::Stale)?;
    let server = line.store.server(&job.settings.server).await?;
    let (server, connector) = server.ok_or_else(|| gone(format!("{} has no record", job.settings.server)))?;
    let connector =
        connector.ok_or_else(|| gone(format!("no connector is associated with {}", server.manager_name)))?;
    let record = line.store.connector(&connector).await?;
    let record = record.ok_or_else(|| gone(format!("{connector} is not associated any more")))?;
    let source = SourceServer { config: record.config, vm_id: server.address.vm_id };
    Ok(At { source, name: server.name, connector })
}
