//! Sweeps of the store: once a day and on request, one at a time.
//!
//! What is staged for too long is taken out of the ledger first, in one transaction, and removed as what is void: so a
//! run is given it before that, or never. Then the data line looks at the store, with the claims of that moment, and
//! removes what nobody needs. What it emptied by repacking goes with a second look.
//!
//! Crash consistency: a sweep at work is a row that is RUNNING. The next process makes it again from the beginning, which
//! is what a sweep does anyway. On a full disk the row may not be written: then it is made without.

use crate::changes::{Kind, Kinds};
use crate::control::Line;
use crate::driver::Ended;
use crate::images;
use crate::key_uses::Gathered;
use crate::replicator::{AskSweepClaims, PackRange, SweepEnd, SweepOrder, SweepPlan, SweepProgress};
use crate::run::{Bounds, StageError, bounded, watched};
use crate::service::{Sweep, SweepState};
use crate::store::{StoreError, User};
use futures::future::BoxFuture;
use godwit_model::failure::Failure;
use godwit_model::key::{KeyUse, NoteKeyUse};
use godwit_model::retention::due_before;
use godwit_model::time::{Millis, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Looks at the store in one sweep, at most: each removes what the one before emptied. Pages that were written anew
/// leave dead ones behind, so a second look may find a little to repack again.
const LOOKS: usize = 3;

/// How a sweep of the store goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sweeping {
    /// How long what no snapshot names is kept, so that runs can resume from it.
    pub staging: Millis,
    /// How often the store is swept; `None`: only on request.
    pub every: Option<Millis>,
    /// A pack is repacked if at least so many percent of it are dead; 0: never.
    pub repack_percent: u8,
    /// Bytes that one sweep moves at most: bounds how long it competes with runs for the disk.
    pub repack_bytes: u64,
    /// Bound of a look at the store that somebody waits for.
    pub look: Duration,
}

impl Default for Sweeping {
    fn default() -> Self {
        Self {
            staging: Millis::DAY.times(7),
            every: Some(Millis::DAY),
            repack_percent: 50,
            repack_bytes: 16 << 30,
            look: Duration::from_secs(150),
        }
    }
}

/// How far the sweep at work has come. Lost at a restart, when it begins anew.
#[derive(Default)]
pub(crate) struct Live(Mutex<Option<SweepProgress>>);

impl Live {
    pub fn get(&self) -> Option<SweepProgress> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, progress: Option<SweepProgress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

impl Line {
    /// What is claimed of the store, in the words of the data line.
    pub fn ask_store_claims(&self) -> BoxFuture<'_, Result<crate::replicator::SweepClaims, Failure>> {
        Box::pin(async { self.store.store_claims().await.map_err(|error| error.to_failure()) })
    }

    /// A sweep as it is ordered now.
    pub fn sweep_order<'a>(&self, claims: AskSweepClaims<'a>, used: NoteKeyUse<'a>) -> SweepOrder<'a> {
        let Sweeping { staging, repack_percent, repack_bytes, .. } = self.options.sweeping;
        SweepOrder { claims, used, staging, repack_percent, repack_bytes, now: self.now() }
    }

    /// What a sweep would find and do now, within `bound`. Changes nothing; what was used of keys is put into `uses`.
    pub async fn plan_sweep(
        &self,
        uses: &Gathered,
        bound: Duration,
        cancel: &CancellationToken,
    ) -> Result<SweepPlan, StageError> {
        let inner = cancel.child_token();
        // A look that is given up is told so: the next one must not come beside what is left of it.
        let _given_up = inner.clone().drop_guard();
        let ask = || self.ask_store_claims();
        let used = |used| uses.add(used);
        let order = self.sweep_order(&ask, &used);
        bounded("the look at the store", bound, cancel, self.images.plan_sweep(&order, &inner)).await
    }

    /// Before this, what is staged is old.
    pub fn staged_until(&self) -> Timestamp {
        self.now() - self.options.sweeping.staging
    }
}

/// The sweep that is to be at work now: one that was asked for, that a process before this one did not finish, or that
/// is due. The inner `None`: it is due and cannot be written down.
pub(crate) async fn wanted(line: &Line) -> Result<Option<Option<Sweep>>, StoreError> {
    if let Some(running) = line.store.running_sweep().await? {
        return Ok(Some(Some(running)));
    }
    let due = due_before(line.options.sweeping.every, line.now());
    let (Some(due), Some(last)) = (due, line.store.swept_last().await?) else { return Ok(None) };
    if last > due {
        return Ok(None);
    }
    match line.store.begin_sweep(false, &line.draw, line.now()).await {
        Ok(sweep) => Ok(Some(Some(sweep))),
        Err(error) => {
            // It may be that only a sweep makes room for the row.
            tracing::warn!(error = %error.to_failure(), "the store is swept, though the sweep cannot be written down");
            Ok(Some(None))
        }
    }
}

/// Sweeps until it is done, fails for good or is told to stop.
pub(crate) async fn sweep(
    line: Arc<Line>,
    wanted: Option<Sweep>,
    cancel: CancellationToken,
) -> Result<Ended, StoreError> {
    let mut done = Done::default();
    let outcome = attempts(&line, wanted.as_ref(), &mut done, &cancel).await;
    let uses = done.uses.all();
    let failed = match outcome {
        Err(Stopped) => {
            note_uses(&line, wanted.as_ref(), &uses).await;
            return Ok(Ended::Done);
        }
        Ok(failed) => failed,
    };
    line.sweeping.set(None);
    let (packs, bytes) = (done.packs, done.bytes);
    match &failed {
        None => tracing::info!(packs, bytes, left = done.left, "the store was swept"),
        Some(failure) => tracing::warn!(packs, bytes, %failure, "the sweep of the store failed"),
    }
    let Some(wanted) = wanted else {
        note_uses(&line, None, &uses).await;
        // No row says it, but the store has changed.
        line.store.changes().tell(Kinds::of(Kind::Store));
        return Ok(Ended::Later);
    };
    let state = if failed.is_some() { SweepState::Failed } else { SweepState::Completed };
    let message = failed.map(|failure| failure.message()).or(done.problem.clone());
    let is = Sweep { state, ended_at: Some(line.now()), message, ..done.of(&wanted) };
    line.store.end_sweep(&is, &uses, line.staged_until(), line.now()).await?;
    Ok(Ended::Done)
}

/// The service was told to stop.
struct Stopped;

/// Attempts a sweep until it is done, or fails for good: then says why.
async fn attempts(
    line: &Arc<Line>,
    wanted: Option<&Sweep>,
    done: &mut Done,
    cancel: &CancellationToken,
) -> Result<Option<Failure>, Stopped> {
    let mut failures = 0;
    loop {
        let failure = match rounds(line, wanted, done, cancel).await {
            Ok(()) => return Ok(None),
            Err(StageError::Stopped) => return Err(Stopped),
            Err(StageError::Store(error)) => error.to_failure(),
            Err(StageError::Failed(failure)) => failure,
        };
        failures += 1;
        if !failure.code.kind().is_transient() || failures >= line.options.retry.attempts {
            return Ok(Some(failure));
        }
        tokio::select! {
            () = tokio::time::sleep(line.options.retry.pause(failures)) => {}
            () = cancel.cancelled() => return Err(Stopped),
        }
    }
}

/// Puts on record which keys were used by a sweep whose end is not. It is over all the same, so the log must do if the
/// database cannot take it.
async fn note_uses(line: &Line, wanted: Option<&Sweep>, uses: &[KeyUse]) {
    let user = User::Sweep(wanted.map(|sweep| sweep.id.clone()));
    if let Err(error) = line.store.note_key_uses(&user, uses, line.now()).await {
        tracing::warn!(error = %error.to_failure(), "which keys a sweep used is not on record");
    }
}

/// What the attempts of a sweep have done together.
#[derive(Default)]
struct Done {
    packs: u64,
    bytes: u64,
    moved: u64,
    left: u64,
    problem: Option<String>,
    uses: Gathered,
}

impl Done {
    fn add(&mut self, end: &SweepEnd) {
        self.packs += end.packs_freed;
        self.bytes += end.bytes_freed;
        self.moved += end.bytes_moved;
        self.left = end.left;
        self.problem.clone_from(&end.problem);
    }

    /// What a look did before it ended early.
    fn keep(&mut self, progress: Option<SweepProgress>) {
        let Some(progress) = progress else { return };
        self.packs = self.packs.max(progress.packs_freed);
        self.bytes = self.bytes.max(progress.bytes_freed);
        self.moved = self.moved.max(progress.bytes_moved);
    }

    /// The sweep as it is to be recorded. What an earlier process did of it stays counted.
    fn of(&self, was: &Sweep) -> Sweep {
        Sweep {
            packs_freed: was.packs_freed + self.packs,
            bytes_freed: was.bytes_freed + self.bytes,
            bytes_moved: was.bytes_moved + self.moved,
            left: self.left,
            ..was.clone()
        }
    }
}

async fn rounds(
    line: &Arc<Line>,
    wanted: Option<&Sweep>,
    done: &mut Done,
    cancel: &CancellationToken,
) -> Result<(), StageError> {
    // First what needs no room in the database.
    for _ in 0..LOOKS {
        let looked = one_look(line, done, cancel).await;
        let end = match looked {
            Ok(end) => end,
            Err(error) => {
                done.keep(line.sweeping.get());
                write_down(line, wanted, done).await;
                return Err(error);
            }
        };
        done.add(&end);
        if end.packs_freed > 0 {
            write_down(line, wanted, done).await;
        }
        if end.emptied.is_empty() {
            break;
        }
        let emptied: Vec<PackRange> = end.emptied.into_iter().map(|first| PackRange { first, count: 1 }).collect();
        line.store.release_packs(&emptied, line.now()).await?;
    }
    remove_void_images(line, done, cancel).await?;
    let expired = line.store.expire_staged(line.staged_until(), line.now()).await?;
    if expired.packs > 0 {
        match images::remove_unneeded(line.clone(), cancel.clone()).await? {
            Ended::Done => {
                done.packs += expired.packs;
                done.bytes += expired.bytes;
            }
            Ended::Later => done.left += expired.packs,
        }
    }
    Ok(())
}

/// Records what is done so far. A comfort: a database that cannot take it now keeps no sweep from going on.
async fn write_down(line: &Line, wanted: Option<&Sweep>, done: &Done) {
    let Some(was) = wanted else { return };
    if let Err(error) = line.store.record_sweep(&done.of(was)).await {
        tracing::debug!(error = %error.to_failure(), "what a sweep did so far was not written");
    }
}

async fn one_look(line: &Line, done: &Done, cancel: &CancellationToken) -> Result<SweepEnd, StageError> {
    let moved = AtomicU64::new(0);
    let inner = cancel.child_token();
    let (packs, bytes, bytes_moved) = (done.packs, done.bytes, done.moved);
    let report = |progress: SweepProgress| {
        moved.fetch_add(1, Ordering::Relaxed);
        line.sweeping.set(Some(SweepProgress {
            packs_freed: packs + progress.packs_freed,
            bytes_freed: bytes + progress.bytes_freed,
            bytes_moved: bytes_moved + progress.bytes_moved,
            ..progress
        }));
    };
    let ask = || line.ask_store_claims();
    let used = |used| done.uses.add(used);
    let order = line.sweep_order(&ask, &used);
    let bounds = Bounds { no_progress: line.options.no_progress, stop: line.options.stop };
    let work = line.images.sweep(&order, &report, &inner);
    watched("the sweep of the store", bounds, &moved, cancel, &inner, work).await
}

/// Images of runs that failed, whose removal failed too. Their snapshots are strays then.
async fn remove_void_images(line: &Line, done: &mut Done, cancel: &CancellationToken) -> Result<(), StageError> {
    for image in line.store.void_images().await? {
        let work = line.images.delete_image(&image);
        match bounded("removing a void image", line.options.register, cancel, work).await {
            Ok(()) => {}
            Err(StageError::Failed(failure)) => {
                done.left += 1;
                done.problem.get_or_insert_with(|| failure.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
