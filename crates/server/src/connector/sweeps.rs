//! Sweeps of the store, in the words of the decision line.

use godwit_blocks::pack::PackSet;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Course, Limits, Listed, Plan, Survey, Swept, Tally, execute, survey};
use godwit_control::replicator::{PackCount, PackRange, SweepClaims, SweepEnd, SweepOrder, SweepPlan, SweepProgress};
use godwit_model::failure::Failure;
use tokio_util::sync::CancellationToken;

/// A pack with fewer dead bytes than this is not worth a repack: a sixteenth of a full one.
const REPACK_FLOOR: u64 = 1 << 20;

/// Looks at the store and says what is to be done.
pub async fn plan(
    store: &BlockStore,
    order: &SweepOrder<'_>,
    cancel: &CancellationToken,
) -> Result<SweepPlan, Failure> {
    Ok(described(&look(store, order, &|_, _| {}, cancel).await?.plan))
}

/// Looks at the store and does what is to be done.
pub async fn sweep(
    store: &BlockStore,
    order: &SweepOrder<'_>,
    report: &(dyn Fn(SweepProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<SweepEnd, Failure> {
    let looking = |snapshots_read, snapshots| {
        report(SweepProgress { snapshots_read, snapshots, ..SweepProgress::default() });
    };
    let found = look(store, order, &looking, cancel).await?;
    for (snapshot, why) in &found.plan.unreadable {
        tracing::warn!(%snapshot, "nothing is swept, because a snapshot cannot be read: {why}");
    }
    let packs_to_free = found.plan.delete.len() as u64;
    let working = |swept: &Swept| {
        report(SweepProgress {
            packs_to_free,
            packs_freed: swept.packs,
            bytes_freed: swept.bytes,
            bytes_moved: swept.repacked.bytes_moved,
            ..SweepProgress::default()
        });
    };
    let swept = execute(store, &found, &working, Course { cancel, used: order.used }).await?;
    let unreadable = found.plan.unreadable.first();
    Ok(SweepEnd {
        packs_freed: swept.packs,
        bytes_freed: swept.bytes,
        bytes_moved: swept.repacked.bytes_moved,
        emptied: swept.repacked.emptied,
        left: swept.left + found.plan.doubtful.packs,
        problem: swept
            .problem
            .or(unreadable.map(|(id, why)| format!("nothing may go while {id} cannot be read: {why}"))),
    })
}

async fn look(
    store: &BlockStore,
    order: &SweepOrder<'_>,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Survey, Failure> {
    let listed = Listed::packs(store).await?;
    let claims = claims((order.claims)().await?);
    let limits = Limits {
        staging: order.staging,
        repack_percent: order.repack_percent,
        repack_floor: REPACK_FLOOR,
        repack_bytes: order.repack_bytes,
    };
    survey(store, listed, &claims, &limits, order.now, progress, Course { cancel, used: order.used }).await
}

fn claims(asked: SweepClaims) -> Claims {
    Claims {
        packs: set(&asked.packs),
        released: set(&asked.released),
        snapshots: asked.snapshots.into_iter().collect(),
        in_use: asked.in_use.into_iter().collect(),
    }
}

fn set(ranges: &[PackRange]) -> PackSet {
    let mut packs = PackSet::default();
    ranges.iter().for_each(|range| packs.add(&range.first, range.count));
    packs
}

/// The packs as ranges.
pub fn ranges(packs: &PackSet) -> Vec<PackRange> {
    packs.ranges().map(|(first, count)| PackRange { first: first.clone(), count }).collect()
}

fn count(tally: Tally) -> PackCount {
    PackCount { packs: tally.packs, bytes: tally.bytes, oldest: tally.oldest }
}

fn described(plan: &Plan) -> SweepPlan {
    SweepPlan {
        all: count(plan.all),
        named: count(plan.named),
        dead_bytes: plan.dead_bytes,
        staged: count(plan.staged),
        waiting: count(plan.waiting),
        waiting_until: plan.waiting_until,
        released: count(plan.released),
        expired: count(plan.expired),
        doubtful: count(plan.doubtful),
        repackable: count(plan.repackable),
        repack_packs: plan.repack.len() as u64,
        repack_frees: plan.repack_frees,
        strays: plan.strays.len() as u64,
        unreadable: plan.unreadable.clone(),
    }
}
