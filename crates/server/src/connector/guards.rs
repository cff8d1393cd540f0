//! Points in time that are looked after, from before they are opened until they are settled.

use godwit_model::failure::Failure;
use godwit_model::id::RunId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::task::JoinHandle;

/// One guard for each run that has, or had, a point in time: as many as there are active runs.
#[derive(Default)]
pub struct Guards(Mutex<HashMap<RunId, Guard>>);

/// Dropping it ends it.
struct Guard {
    task: JoinHandle<()>,
    ended: Arc<OnceLock<Failure>>,
}

impl Guards {
    /// Lets `watch` look after the point in time of a run unless somebody does already. What it returns is why it ended
    /// the point.
    pub fn begin(&self, run: &RunId, watch: impl Future<Output = Failure> + Send + 'static) {
        self.locked().entry(run.clone()).or_insert_with(|| {
            let ended = Arc::new(OnceLock::new());
            let (run, told) = (run.clone(), ended.clone());
            let task = tokio::spawn(async move {
                let why = watch.await;
                tracing::warn!(%run, failure = %why, "the point in time was ended");
                told.get_or_init(|| why);
            });
            Guard { task, ended }
        });
    }

    /// Why the guard ended the run's point in time, if it did.
    pub fn why_ended(&self, run: &RunId) -> Option<Failure> {
        self.locked().get(run)?.ended.get().cloned()
    }

    /// The run's point in time is no more, or another is about to be taken.
    pub fn end(&self, run: &RunId) {
        self.locked().remove(run);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<RunId, Guard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::failure::Code;
    use std::future::pending;

    fn why(text: &str) -> Failure {
        Failure::new(Code::PointInTimeLost, text)
    }

    #[tokio::test]
    async fn a_guard_tells_why_until_another_point_is_taken() {
        let (guards, run) = (Guards::default(), RunId::from_bits(1));
        guards.begin(&run, async { why("no room") });
        while guards.why_ended(&run).is_none() {
            tokio::task::yield_now().await;
        }
        guards.begin(&run, pending());
        assert_eq!(guards.why_ended(&run), Some(why("no room")), "the same point has one guard");
        guards.end(&run);
        guards.begin(&run, pending());
        assert_eq!(guards.why_ended(&run), None);
        assert_eq!(guards.why_ended(&RunId::from_bits(2)), None);
    }

    #[tokio::test]
    async fn a_guard_whose_run_has_ended_does_nothing_more() {
        let (guards, run) = (Guards::default(), RunId::from_bits(1));
        let (alive, mut ended) = tokio::sync::oneshot::channel::<()>();
        guards.begin(&run, async move {
            let _alive = alive;
            pending().await
        });
        assert!(ended.try_recv().is_err());
        guards.end(&run);
        assert!(ended.await.is_err(), "what it held is dropped");
    }
}
