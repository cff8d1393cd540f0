//! How runs that were given up, and jobs that have ended, leave nothing behind.
//!
//! Everything here is tried a few times and then left, with a note, to the sweep: a source that is gone for good must
//! not keep a job from being deleted.

use super::{StageError, bounded, source_of};
use crate::control::Line;
use crate::driver::Ended;
use crate::replicator::SettleEnd;
use crate::store::{Leftovers, RunRecord, StoreError};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{JobId, RunId};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Removes what a given-up run created; then it has failed.
pub(super) async fn abandon(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<(), StoreError> {
    let cleaned = async {
        let mut notes = Vec::from_iter(settle(line, run, SettleEnd::Abandoned, cancel).await?);
        let snapshots = line.store.run_volumes(&run.id).await?.into_iter().map(|v| v.snapshot).collect();
        let unfinished = Leftovers { images: run.image.iter().cloned().collect(), snapshots };
        let left = remove(line, unfinished, &mut notes, cancel).await?;
        Ok((notes, left))
    };
    match cleaned.await {
        Ok((notes, left)) => line.store.abandoned(run, &left, &notes, line.options.pause_after, line.now()).await,
        Err(StageError::Store(error)) => Err(error),
        Err(StageError::Stopped | StageError::Failed(_)) => Ok(()),
    }
}

/// Removes images and snapshots that nothing needs. Gives those that could not be removed; notes say why.
async fn remove(
    line: &Line,
    unneeded: Leftovers,
    notes: &mut Vec<String>,
    cancel: &CancellationToken,
) -> Result<Leftovers, StageError> {
    let mut left = Leftovers::default();
    for image in unneeded.images {
        let attempt = || line.images.delete_image(&image);
        if let Some(note) = try_a_few_times(line, "remove an unfinished image", cancel, attempt).await? {
            notes.push(note);
            left.images.push(image);
        }
    }
    // What an image may still name stays as long as the image.
    if !left.images.is_empty() {
        left.snapshots = unneeded.snapshots;
    } else if !unneeded.snapshots.is_empty() {
        let attempt = || line.images.delete_snapshots(&unneeded.snapshots);
        if let Some(note) = try_a_few_times(line, "remove unfinished snapshots", cancel, attempt).await? {
            notes.push(note);
            left.snapshots = unneeded.snapshots;
        }
    }
    Ok(left)
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
        let of_job = line.store.job_leftovers(&job).await?;
        let mut notes = Vec::new();
        if let Some(run) = &of_job.last_run {
            notes.extend(settle_source(&line, &job, run, SettleEnd::Forget, &cancel).await?);
        }
        let left = remove(&line, of_job.unfinished, &mut notes, &cancel).await?;
        // Whatever is left may name these packs: then they go behind it, in the background.
        let named = !left.is_empty() || !line.store.leftovers().await?.is_empty();
        if !of_job.packs.is_empty() && !named {
            let attempt = || line.images.discard_staged(&of_job.packs);
            match try_a_few_times(&line, "remove staged data", &cancel, attempt).await? {
                None => line.store.forget_packs(&of_job.packs).await?,
                note => notes.extend(note),
            }
        }
        for note in notes {
            tracing::warn!(%job, "the job ends, but something is left: {note}");
        }
        Ok(left)
    };
    match ended.await {
        Ok(left) => line.store.end_job(&job, &left, line.now()).await.map(|()| Ended::Done),
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
