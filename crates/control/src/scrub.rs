//! The scrub: looks through the store for rot, a slice at a time, one pack behind the other.
//!
//! `model::scrub` says when a slice is due and how much it is; here it is done. Each pack is read once, however many
//! images share it, and only if one proves damaged, pages are walked to see whom that harms. Of the store's turns for
//! reading the scrub holds one at a time, so that runs go on beside it. Verifying image by image instead would read what
//! a hundred images share a hundred times.
//!
//! Crash consistency: the position is written behind the packs, so a crash checks a few of them again. A damaged pack is
//! on record before the position passes it, and stays untraced until the harm is on record, too.

use crate::control::Line;
use crate::driver::Ended;
use crate::key_uses::Gathered;
use crate::replicator::{PackFinding, Traced};
use crate::run::{Bounds, StageError, bounded, watched};
use crate::service::Scrub;
use crate::store::{StoreError, User};
use godwit_model::id::{JobId, PackId, SnapshotId};
use godwit_model::scrub::{Course, is_due, share, slice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// Packs between two records of the position: what a crash repeats, 256 MiB.
const NOTED_EVERY: usize = 16;

/// The part of a scrub's work that other tasks do, too: which snapshots are harmed by damaged packs.
pub(crate) struct Tracing<'a> {
    /// Damaged packs; `None`: all that are gone.
    pub packs: Option<&'a [PackId]>,
    /// Only what this job's runs made.
    pub job: Option<&'a JobId>,
}

/// Whether a slice is to be made now.
pub(crate) async fn wanted(line: &Line) -> Result<bool, StoreError> {
    Ok(is_due(&line.store.scrub().await?.course, line.options.scrub_every, line.now()))
}

/// Makes the slice that is due.
pub(crate) async fn scrub(line: Arc<Line>, cancel: CancellationToken) -> Result<Ended, StoreError> {
    let uses = Gathered::default();
    let outcome = one_slice(&line, &uses, &cancel).await;
    if let Err(error) = line.store.note_key_uses(&User::Look("godwit:Scrub"), &uses.all(), line.now()).await {
        tracing::warn!(error = %error.to_failure(), "which keys the scrub used is not on record");
    }
    let failure = match outcome {
        // Somebody asked for another round meanwhile.
        Ok(()) | Err(StageError::Stopped | StageError::Store(StoreError::Stale)) => return Ok(Ended::Done),
        Err(StageError::Store(error)) => return Err(error),
        Err(StageError::Failed(failure)) => failure,
    };
    tracing::warn!(%failure, "the scrub of the store is interrupted; it goes on later");
    let was = line.store.scrub().await?;
    let is = Scrub { message: Some(failure.message()), ..was.clone() };
    match line.store.record_scrub(&was, &is).await {
        Ok(()) | Err(StoreError::Stale) => Ok(Ended::Later),
        Err(error) => Err(error),
    }
}

async fn one_slice(line: &Line, uses: &Gathered, cancel: &CancellationToken) -> Result<(), StageError> {
    let options = &line.options;
    let mut was = line.store.scrub().await?;
    let mut is = was.clone();
    let packs = bounded("listing packs", options.no_progress, cancel, line.images.list_packs()).await?;
    is.bytes_total = packs.iter().map(|(_, bytes)| bytes).sum();
    if !is.course.is_open {
        // Packs that are gone are on no list: whoever names them misses them.
        let gone = Tracing { packs: None, job: None };
        let traced = trace(line, &gone, uses, cancel).await?;
        line.store.record_damage(&traced, &[], line.now()).await?;
        let on_demand = is.course.on_demand;
        is.course = Course { on_demand, began_at: Some(line.now()), is_open: true, ..Course::default() };
        is = Scrub { round: is.round + 1, packs: 0, skipped: 0, message: None, ..is };
        line.store.record_scrub(&was, &is).await?;
        was = is.clone();
    }
    let share = share(&is.course, options.scrub_every, is.bytes_total, line.now());
    let part = slice(&packs, is.course.position, share);
    for some in part.chunks(NOTED_EVERY) {
        let mut checked = Ok(());
        for (number, bytes) in some {
            checked = check(line, &mut is, *number, *bytes, uses, cancel).await;
            if checked.is_err() {
                break;
            }
        }
        line.store.record_scrub(&was, &is).await?;
        checked?;
    }
    let untraced = line.store.damaged_packs(true).await?;
    if !untraced.is_empty() {
        tracing::warn!(packs = untraced.len(), "damaged packs are in the store");
        let damaged = Tracing { packs: Some(&untraced), job: None };
        let traced = trace(line, &damaged, uses, cancel).await?;
        line.store.record_damage(&traced, &untraced, line.now()).await?;
    }
    is.course.looked_at = Some(line.now());
    is.message = None;
    if slice(&packs, is.course.position, u64::MAX).is_empty() {
        let known = line.store.damaged_packs(false).await?;
        forget_gone(line, &packs, &known).await?;
        is.course.is_open = false;
        is.course.on_demand = false;
        is.ended_at = Some(line.now());
        tracing::info!(packs = is.packs, bytes = is.course.bytes, damaged = known.len(), "the store was scrubbed");
    }
    line.store.record_scrub(&was, &is).await?;
    Ok(())
}

/// Checks one pack and moves the position behind it.
async fn check(
    line: &Line,
    is: &mut Scrub,
    number: u128,
    bytes: u64,
    uses: &Gathered,
    cancel: &CancellationToken,
) -> Result<(), StageError> {
    let pack = PackId::from_bits(number);
    let inner = cancel.child_token();
    let used = |used| uses.add(used);
    let work = line.images.check_pack(&pack, &used, &inner);
    match bounded("checking a pack", line.options.no_progress, cancel, work).await? {
        PackFinding::Damaged(problem) => {
            tracing::warn!(%pack, problem, "a pack is damaged");
            line.store.record_pack(&pack, Some(&problem), line.now()).await?;
        }
        PackFinding::Closed => is.skipped += 1,
        PackFinding::Whole if is.damaged_packs > 0 => line.store.record_pack(&pack, None, line.now()).await?,
        PackFinding::Whole | PackFinding::Gone => {}
    }
    is.packs += 1;
    is.course.bytes += bytes;
    is.course.position = Some(number);
    Ok(())
}

/// Damaged packs that were swept meanwhile harm nobody.
async fn forget_gone(line: &Line, listed: &[(u128, u64)], known: &[PackId]) -> Result<(), StoreError> {
    for pack in known {
        let number = u128::from_be_bytes(pack.to_bytes());
        if listed.binary_search_by_key(&number, |(listed, _)| *listed).is_err() {
            line.store.record_pack(pack, None, line.now()).await?;
        }
    }
    Ok(())
}

/// Which of the snapshots that something needs are damaged, and where.
pub(crate) async fn trace(
    line: &Line,
    tracing: &Tracing<'_>,
    uses: &Gathered,
    cancel: &CancellationToken,
) -> Result<Vec<Traced>, StageError> {
    let needed = line.store.needed_snapshots().await?;
    let of_job = needed.into_iter().filter(|needed| tracing.job.is_none_or(|job| needed.job.as_ref() == Some(job)));
    let snapshots: Vec<SnapshotId> = of_job.map(|needed| needed.snapshot).collect();
    let moved = AtomicU64::new(0);
    let inner = cancel.child_token();
    // Each page that is read is a sign of life.
    let used = |used| {
        moved.fetch_add(1, Ordering::Relaxed);
        uses.add(used);
    };
    let bounds = Bounds { no_progress: line.options.no_progress, stop: line.options.stop };
    let work = line.images.trace(tracing.packs, &snapshots, &used, &inner);
    watched("looking for what is damaged", bounds, &moved, cancel, &inner, work).await
}
