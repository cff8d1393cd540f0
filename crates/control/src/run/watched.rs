//! Waits with a bound: on the whole, or on the lack of progress.

use super::StageError;
use godwit_model::failure::{Code, Failure};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// `work` with a bound on all of it. A token that is cancelled drops the work at once.
pub(crate) async fn bounded<T>(
    what: &str,
    bound: Duration,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StageError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(StageError::Stopped),
        done = tokio::time::timeout(bound, work) => match done {
            Ok(done) => Ok(done?),
            Err(_) => Err(timed_out(what, bound, "in").into()),
        },
    }
}

/// `work` with a bound on the time in which `progress` does not change. If the bound is reached or `cancel` is
/// cancelled, the work is told through `inner` and has `stop` to end by itself.
pub(crate) async fn watched<T>(
    what: &str,
    bounds: Bounds,
    progress: &AtomicU64,
    cancel: &CancellationToken,
    inner: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StageError> {
    let mut work = std::pin::pin!(work);
    let mut seen = progress.load(Ordering::Relaxed);
    let mut deadline = tokio::time::Instant::now() + bounds.no_progress;
    let why = loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done?),
            () = cancel.cancelled() => break StageError::Stopped,
            () = tokio::time::sleep_until(deadline) => {}
        }
        let now = progress.load(Ordering::Relaxed);
        if now != seen {
            seen = now;
            deadline = tokio::time::Instant::now() + bounds.no_progress;
        } else {
            break timed_out(what, bounds.no_progress, "did not move for").into();
        }
    };
    inner.cancel();
    // Whether it stops by itself or is dropped: what it did is in the ledger or void.
    let _ = tokio::time::timeout(bounds.stop, work).await;
    Err(why)
}

/// Bounds of [`watched`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub no_progress: Duration,
    pub stop: Duration,
}

fn timed_out(what: &str, bound: Duration, how: &str) -> Failure {
    let evidence = match how {
        "in" => format!("{what} was not done in {bound:?}"),
        how => format!("{what} {how} {bound:?}"),
    };
    Failure::new(Code::TimedOut, evidence)
}
