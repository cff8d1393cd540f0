//! The use of the store over time: a sample each hour and behind every sweep.
//!
//! `model::store_use` says when one is due and which ones are kept; here it is taken, in the way of `DescribeStore`, and
//! written down. A look lists all packs and reads the pages of all snapshots, so none is made if nothing can have changed
//! since the last one: then its figures are repeated, so that the curve goes on and shows that somebody looked.
//! While a sweep is at work no sample is begun: its own comes right behind it.
//!
//! A look that fails leaves a gap, is told once, and is tried again when the next sample would be due.
//!
//! Crash consistency: a sample is one row, written at the end. A crash before that leaves nothing, and the next process
//! finds the sample due; after it, it finds it taken.

use crate::changes::{Changes, Kind};
use crate::control::Line;
use crate::driver::Ended;
use crate::key_uses::Gathered;
use crate::replicator::SweepPlan;
use crate::run::StageError;
use crate::store::{StoreError, User};
use godwit_model::failure::Failure;
use godwit_model::store_use::{Sample, due};
use godwit_model::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// What changes with what the store holds, or with what is needed of it. Everything that puts, names or removes
/// something is followed by a transaction of one of these.
const CHANGES_THE_STORE: [Kind; 7] =
    [Kind::Jobs, Kind::Runs, Kind::Progress, Kind::Images, Kind::Snapshots, Kind::Store, Kind::Keys];

/// What is remembered between two samples. Lost at a restart, behind which a look is made in any case.
#[derive(Default)]
pub(crate) struct Sampling(Mutex<State>);

#[derive(Default)]
struct State {
    /// What the last look found, if it still says something.
    known: Option<Known>,
    /// When it was tried in vain last.
    failed_at: Option<Timestamp>,
    /// That it fails was told.
    is_told: bool,
}

/// What a look found.
#[derive(Clone, Copy)]
struct Known {
    sample: Sample,
    /// The last change before it began.
    revision: u64,
    /// When time alone makes another part of a pack.
    until: Option<Timestamp>,
}

impl Sampling {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures of the last look, as of now, unless something may have changed since.
    fn unchanged(&self, changes: &Changes, now: Timestamp) -> Option<Sample> {
        let known = self.state().known?;
        let touched = changes.so_far().since(known.revision);
        let is_old = known.until.is_some_and(|until| until <= now) || now < known.sample.at;
        let is_changed = touched.iter().any(|kind| CHANGES_THE_STORE.contains(kind));
        (!is_old && !is_changed).then_some(Sample { at: now, ..known.sample })
    }

    /// When a sample was tried in vain, if none was taken since.
    fn failed_at(&self) -> Option<Timestamp> {
        self.state().failed_at
    }

    /// A sample was taken. True if the one before could not be.
    fn taken(&self, known: Option<Known>) -> bool {
        let mut state = self.state();
        state.known = known.or(state.known);
        state.failed_at = None;
        std::mem::take(&mut state.is_told)
    }

    /// A sample could not be taken. True if that is news.
    fn failed(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        (state.known, state.failed_at) = (None, Some(now));
        !std::mem::replace(&mut state.is_told, true)
    }
}

/// When the next sample is due; `None`: none is to be taken.
pub(crate) async fn wanted(line: &Line) -> Result<Option<Timestamp>, StoreError> {
    let (pace, now) = (line.options.sampling, line.now());
    if pace.every.is_none() {
        return Ok(None);
    }
    let tried = [line.store.sampled_last().await?, line.sampling.failed_at()];
    let last = tried.into_iter().flatten().filter(|at| *at <= now).max();
    Ok(due(pace, last, line.store.sweep_ended_last().await?, now))
}

/// Takes the sample that is due.
pub(crate) async fn sample(line: Arc<Line>, cancel: CancellationToken) -> Result<Ended, StoreError> {
    match taken(&line, &cancel).await {
        Ok(known) => {
            if line.sampling.taken(known) {
                tracing::info!("the use of the store is recorded again");
            }
            Ok(Ended::Done)
        }
        Err(StageError::Stopped) => Ok(Ended::Done),
        Err(StageError::Store(error)) => Ok(skipped(&line, &error.to_failure())),
        Err(StageError::Failed(failure)) => Ok(skipped(&line, &failure)),
    }
}

/// There is a gap: nobody is kept from work by it.
fn skipped(line: &Line, failure: &Failure) -> Ended {
    if line.sampling.failed(line.now()) {
        tracing::warn!(%failure, "the use of the store is not recorded for now; it is tried again whenever a sample is due");
    } else {
        tracing::debug!(%failure, "the use of the store is still not recorded");
    }
    Ended::Later
}

/// Takes a sample and writes it down. Gives what a look found, if one was made.
async fn taken(line: &Line, cancel: &CancellationToken) -> Result<Option<Known>, StageError> {
    let now = line.now();
    if let Some(sample) = line.sampling.unchanged(line.store.changes(), now) {
        line.store.record_use(&sample).await?;
        return Ok(None);
    }
    let revision = line.store.changes().so_far().last;
    let uses = Gathered::default();
    // Nobody waits for it, so it may take longer than a look that somebody does wait for.
    let plan = line.plan_sweep(&uses, line.options.no_progress, cancel).await;
    if let Err(error) = line.store.note_key_uses(&User::Look("godwit:RecordStoreUse"), &uses.all(), now).await {
        tracing::warn!(error = %error.to_failure(), "which keys a sample of the store's use needed is not on record");
    }
    let plan = plan?;
    let sample = parts(&plan, now);
    line.store.record_use(&sample).await?;
    // A snapshot that cannot be read may be readable again without any change of ours.
    Ok(plan.unreadable.is_empty().then_some(Known { sample, revision, until: plan.waiting_until }))
}

/// What the store holds, in parts that do not overlap.
fn parts(plan: &SweepPlan, at: Timestamp) -> Sample {
    let dead = plan.dead_bytes.min(plan.named.bytes);
    Sample {
        at,
        packs: plan.all.packs,
        live: plan.named.bytes - dead,
        dead,
        staged: plan.staged.bytes + plan.waiting.bytes + plan.doubtful.bytes,
        to_free: plan.released.bytes + plan.expired.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Kinds;
    use godwit_model::time::Millis;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn known(changes: &Changes, until: Option<Timestamp>) -> Sampling {
        let sampling = Sampling::default();
        let sample = Sample { at: NOW, packs: 3, live: 5, dead: 1, staged: 2, to_free: 4 };
        sampling.taken(Some(Known { sample, revision: changes.so_far().last, until }));
        sampling
    }

    #[test]
    fn figures_are_repeated_until_something_may_have_changed() {
        let changes = Changes::default();
        let sampling = known(&changes, Some(NOW + Millis::DAY));
        let later = NOW + Millis::HOUR;
        for kind in Kind::ALL.iter().filter(|kind| !CHANGES_THE_STORE.contains(kind)) {
            changes.tell(Kinds::of(*kind));
        }
        assert_eq!(sampling.unchanged(&changes, later).map(|sample| (sample.at, sample.bytes())), Some((later, 12)));
        assert_eq!(sampling.unchanged(&changes, NOW + Millis::DAY), None, "what waited is to go now");
        assert_eq!(sampling.unchanged(&changes, NOW - Millis(1)), None, "the clock was set back");
        for kind in CHANGES_THE_STORE {
            let sampling = known(&changes, None);
            assert!(sampling.unchanged(&changes, later).is_some());
            changes.tell(Kinds::of(kind));
            assert_eq!(sampling.unchanged(&changes, later), None, "{kind:?}");
        }
    }

    #[test]
    fn that_the_store_cannot_be_read_is_told_once_and_so_is_the_end_of_it() {
        let sampling = known(&Changes::default(), None);
        assert!(!sampling.taken(None));
        assert!(sampling.failed(NOW) && !sampling.failed(NOW + Millis::HOUR));
        assert_eq!(sampling.failed_at(), Some(NOW + Millis::HOUR));
        assert!(sampling.unchanged(&Changes::default(), NOW + Millis::HOUR).is_none(), "it is looked at again");
        assert!(sampling.taken(None) && !sampling.taken(None));
        assert!(sampling.failed(NOW));
    }
}
