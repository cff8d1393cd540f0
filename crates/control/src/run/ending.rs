//! How runs that were given up, and jobs that have ended, leave nothing behind.
//!
//! Everything here is tried a few times and then left, with a note, to the sweep: a source that is gone for good must
//! not keep a job from being deleted.

use super::{StageError, bounded, source_of};
use crate::control::Line;
use crate::driver::Ended;
use crate::replicator::SettleEnd;
use crate::store::{RunRecord, StoreError};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{JobId, RunId};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Removes what a given-up run created; then it has failed.
pub(super) async fn abandon(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<(), StoreError> {
    let mut notes = Vec::new();
    let cleaned = async {
        notes.extend(settle(line, run, SettleEnd::Abandoned, cancel).await?);
        if let Some(image) = &run.image {
            let attempt = || line.images.delete_image(image);
            notes.extend(try_a_few_times(line, "remove the unfinished image", cancel, attempt).await?);
        }
        let snapshots: Vec<_> = line.store.run_volumes(&run.id).await?.into_iter().map(|v| v.snapshot).collect();
        if !snapshots.is_empty() {
            let attempt = || line.images.delete_snapshots(&snapshots);
            notes.extend(try_a_few_times(line, "remove unfinished snapshots", cancel, attempt).await?);
        }
        Ok(())
    };
    match cleaned.await {
        Ok(()) => line.store.abandoned(run, &notes, line.options.pause_after, line.now()).await,
        Err(StageError::Store(error)) => Err(error),
        Err(StageError::Stopped | StageError::Failed(_)) => Ok(()),
    }
}

/// Ends a run's point in time at the source. Gives a note if that could not be done.
pub(super) async fn settle(
    line: &Line,
    run: &RunRecord,
    end: SettleEnd,
    cancel: &CancellationToken,
) -> Result<Option<String>, StageError> {
    settle_source(line, &run.job, &run.id, end, cancel).await
}

/// Removes what a job that is FAILING or DELETING left; then it has ended.
pub(crate) async fn end_job(line: Arc<Line>, job: JobId, cancel: CancellationToken) -> Result<Ended, StoreError> {
    let ended = async {
        let left = line.store.job_leftovers(&job).await?;
        if let Some(run) = &left.last_run {
            warn(&job, settle_source(&line, &job, run, SettleEnd::Forget, &cancel).await?);
        }
        for image in &left.images {
            let attempt = || line.images.delete_image(image);
            warn(&job, try_a_few_times(&line, "remove an unfinished image", &cancel, attempt).await?);
        }
        if !left.snapshots.is_empty() {
            let attempt = || line.images.delete_snapshots(&left.snapshots);
            warn(&job, try_a_few_times(&line, "remove unfinished snapshots", &cancel, attempt).await?);
        }
        if !left.packs.is_empty() {
            let attempt = || line.images.discard_staged(&left.packs);
            match try_a_few_times(&line, "remove staged data", &cancel, attempt).await? {
                None => line.store.forget_packs(&left.packs).await?,
                note => warn(&job, note),
            }
        }
        Ok(())
    };
    match ended.await {
        Ok(()) => line.store.end_job(&job, line.now()).await.map(|()| Ended::Done),
        Err(StageError::Store(error)) => Err(error),
        Err(StageError::Stopped | StageError::Failed(_)) => Ok(Ended::Done),
    }
}

async fn settle_source(
    line: &Line,
    job: &JobId,
    run: &RunId,
    end: SettleEnd,
    cancel: &CancellationToken,
) -> Result<Option<String>, StageError> {
    let at = match source_of(line, job).await {
        Ok(at) => at,
        Err(StageError::Failed(failure)) => return Ok(Some(note("clean up the source", &failure))),
        Err(error) => return Err(error),
    };
    let attempt = || line.replicator.settle(&at.source, run, end);
    let mut notes = None;
    for n in 1..=line.options.clean_retry.attempts.max(1) {
        match bounded("cleaning up the source", line.options.settle, cancel, attempt()).await {
            Ok(()) => return Ok(None),
            Err(StageError::Failed(failure)) => notes = Some(note("clean up the source", &failure)),
            Err(error) => return Err(error),
        }
        pause(line, n, cancel).await?;
    }
    line.sweep_behind(at.connector, [run.clone()]);
    Ok(notes)
}

async fn try_a_few_times<F>(
    line: &Line,
    what: &str,
    cancel: &CancellationToken,
    attempt: impl Fn() -> F,
) -> Result<Option<String>, StageError>
where
    F: Future<Output = Result<(), Failure>>,
{
    let mut notes = None;
    for n in 1..=line.options.clean_retry.attempts.max(1) {
        match bounded(what, line.options.register, cancel, attempt()).await {
            Ok(()) => return Ok(None),
            Err(StageError::Failed(failure)) => notes = Some(note(what, &failure)),
            Err(error) => return Err(error),
        }
        pause(line, n, cancel).await?;
    }
    Ok(notes)
}

async fn pause(line: &Line, n: u32, cancel: &CancellationToken) -> Result<(), StageError> {
    if n >= line.options.clean_retry.attempts {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(line.options.clean_retry.pause(n)) => Ok(()),
        () = cancel.cancelled() => Err(StageError::Stopped),
    }
}

fn note(what: &str, failure: &Failure) -> String {
    match failure.code {
        Code::ConnectorGone => format!("cannot {what}: {}", failure.evidence),
        _ => format!("cannot {what}, the sweep will: {failure}"),
    }
}

fn warn(job: &JobId, note: Option<String>) {
    if let Some(note) = note {
        tracing::warn!(%job, "the job ends, but something is left: {note}");
    }
}
