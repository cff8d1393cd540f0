//! The store: what is in it, sweeps.

use super::{Outcome, page};
use crate::shapes::godwit::{
    self, DescribeStoreRequest, DescribeStoreResponse, DescribeStoreUseRequest, DescribeStoreUseResponse,
    DescribeSweepsRequest, DescribeSweepsResponse, PackCount, PreviewSweepRequest, PreviewSweepResponse,
    StartSweepRequest, StartSweepResponse, StoreUsePoint, SweepDescription, SweepProgress, UnreadableSnapshot,
};
use godwit_control::replicator;
use godwit_control::service::{Service, StoreUseFilter, Sweep, SweepPreview, SweepState};
use godwit_model::store_use::Sample;
use godwit_model::time::{Millis, Timestamp};

/// `PreviewSweep`.
pub async fn preview(service: &Service, now: Timestamp, _: PreviewSweepRequest) -> Outcome<PreviewSweepResponse> {
    Ok(previewed(service.preview_sweep(now).await?))
}

/// `StartSweep`.
pub async fn start(service: &Service, now: Timestamp, _: StartSweepRequest) -> Outcome<StartSweepResponse> {
    Ok(StartSweepResponse { sweep_id: service.start_sweep(now).await?.to_string() })
}

/// `DescribeSweeps`.
pub async fn sweeps(
    service: &Service,
    _now: Timestamp,
    request: DescribeSweepsRequest,
) -> Outcome<DescribeSweepsResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_sweeps(request.sweep_ids.as_deref(), &page).await?.map(description);
    Ok(DescribeSweepsResponse { sweeps: found.items, next_token: found.next })
}

/// `DescribeStore`.
pub async fn describe(service: &Service, now: Timestamp, _: DescribeStoreRequest) -> Outcome<DescribeStoreResponse> {
    let found = service.describe_store(now).await?;
    Ok(DescribeStoreResponse {
        content: previewed(found.preview),
        last_sweep: found.last_sweep.map(description),
        next_sweep_on: found.next_sweep.map(Into::into),
    })
}

/// `DescribeStoreUse`.
pub async fn describe_use(
    service: &Service,
    _now: Timestamp,
    request: DescribeStoreUseRequest,
) -> Outcome<DescribeStoreUseResponse> {
    let filter = StoreUseFilter {
        from: request.from.map(Into::into),
        to: request.to.map(Into::into),
        most: request.max_points.map(i64::from),
    };
    let found = service.describe_store_use(&filter).await?;
    Ok(DescribeStoreUseResponse {
        points: found.samples.iter().map(point).collect(),
        recorded: found.taken as u64,
        every_minutes: found.every.map(|every| every.0.unsigned_abs().div_ceil(Millis::MINUTE.0.unsigned_abs())),
        next_on: found.next.map(Into::into),
    })
}

fn point(sample: &Sample) -> StoreUsePoint {
    StoreUsePoint {
        at: sample.at.into(),
        packs: sample.packs,
        bytes: sample.bytes(),
        live_bytes: sample.live,
        dead_bytes: sample.dead,
        staged_bytes: sample.staged,
        to_free_bytes: sample.to_free,
    }
}

fn previewed(preview: SweepPreview) -> PreviewSweepResponse {
    let bytes_to_free = preview.bytes_to_free();
    let plan = preview.plan;
    PreviewSweepResponse {
        all: count(plan.all),
        named: count(plan.named),
        dead_bytes: plan.dead_bytes,
        staged: count(plan.staged),
        staging_hours: preview.staging_hours,
        expired_staged: count(preview.expired_staged),
        waiting: count(plan.waiting),
        waiting_until: plan.waiting_until.map(Into::into),
        released: count(plan.released),
        expired: count(plan.expired),
        doubtful: count(plan.doubtful),
        repackable: count(plan.repackable),
        repack_packs: plan.repack_packs,
        repack_frees: plan.repack_frees,
        stray_snapshots: plan.strays,
        bytes_to_free,
        unreadable: plan
            .unreadable
            .into_iter()
            .map(|(snapshot, message)| UnreadableSnapshot { snapshot_id: snapshot.to_string(), message })
            .collect(),
    }
}

fn count(packs: replicator::PackCount) -> PackCount {
    PackCount { packs: packs.packs, bytes: packs.bytes, oldest: packs.oldest.map(Into::into) }
}

fn description(sweep: Sweep) -> SweepDescription {
    SweepDescription {
        sweep_id: sweep.id.to_string(),
        on_demand: sweep.on_demand,
        state: match sweep.state {
            SweepState::Running => godwit::SweepState::Running,
            SweepState::Completed => godwit::SweepState::Completed,
            SweepState::Failed => godwit::SweepState::Failed,
        },
        started_on: sweep.started_at.into(),
        ended_on: sweep.ended_at.map(Into::into),
        packs_freed: sweep.packs_freed,
        bytes_freed: sweep.bytes_freed,
        bytes_moved: sweep.bytes_moved,
        left: sweep.left,
        message: sweep.message,
        progress: sweep.progress.map(|progress| SweepProgress {
            snapshots_read: progress.snapshots_read,
            snapshots: progress.snapshots,
            packs_to_free: progress.packs_to_free,
            packs_freed: progress.packs_freed,
            bytes_freed: progress.bytes_freed,
            bytes_moved: progress.bytes_moved,
        }),
    }
}
