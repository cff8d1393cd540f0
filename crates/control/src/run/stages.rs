//! What each stage does. All of it may be repeated.

use super::watched::Bounds;
use super::{At, StageError, bounded, key, source_of, transfer, watched};
use crate::control::Line;
use crate::replicator::{ImageOrder, PointOrder, PointVolume, SettleEnd, VerifyResult, VerifyScope};
use crate::store::{Done, NewJobRecord, PointRecord, PointVolumeRecord, RunRecord, StoreError, VolumeRecord, id_of};
use godwit_model::failure::{Code, Failure};
use godwit_model::job::Interval;
use godwit_model::licence;
use godwit_model::role;
use godwit_model::run::{RunType, Stage};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// Does what a stage is for.
pub(super) async fn perform(
    line: &Line,
    run: &RunRecord,
    stage: Stage,
    cancel: &CancellationToken,
) -> Result<Done, StageError> {
    match stage {
        Stage::Validating => validate(line, run, cancel).await,
        Stage::Snapshotting => snapshot(line, run, cancel).await,
        Stage::Transferring => transfer::all_volumes(line, run, cancel).await,
        Stage::Verifying => verify(line, run, cancel).await,
        Stage::Registering => register(line, run, cancel).await,
        Stage::Cleaning => clean(line, run, cancel).await,
    }
}

async fn validate(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<Done, StageError> {
    let At { source, name, .. } = source_of(line, &run.job).await?;
    let look = line.replicator.discover(&source.config);
    let discovery = bounded("asking the VM manager what it offers", line.options.discover, cancel, look).await?;
    let Some(server) = discovery.servers.iter().find(|s| s.vm_id == source.vm_id) else {
        let evidence = format!("{} does not offer the server '{name}' ({}) now", discovery.manager_name, source.vm_id);
        return Err(Failure::new(Code::ServerGone, evidence).into());
    };
    if server.volumes.is_empty() {
        return Err(Failure::new(Code::VolumeUnsupported, format!("the server '{name}' has no disk")).into());
    }
    let settings = line.store.job(&run.job).await?.ok_or(StoreError::Stale)?.settings;
    check_role(line, &settings).await?;
    // What the guest runs may have become known, or changed, since the job was created.
    if let Err(denied) = licence::choose(server.platform, settings.license) {
        return Err(Failure::new(Code::LicenseNotAllowed, format!("'{name}': {denied}")).into());
    }
    key::choose(line, run).await?;
    Ok(Done::Stage)
}

/// The role may have been changed since the job was created.
async fn check_role(line: &Line, settings: &NewJobRecord) -> Result<(), StageError> {
    let name = &settings.role_name;
    let evidence = match line.store.role_policy(name).await? {
        None => format!("there is no role '{name}'"),
        Some(policy) => match role::suffices(&policy, settings.kms_key_id.is_some()) {
            Ok(()) => return Ok(()),
            Err(denied) => format!("'{name}': {denied}"),
        },
    };
    Err(Failure::new(Code::RoleNotAllowed, evidence).into())
}

async fn snapshot(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<Done, StageError> {
    // Volumes that are recorded already belong to a point in time that was lost, or to a record that was not written
    // before a crash: their snapshots are void either way.
    let void: Vec<_> = line.store.run_volumes(&run.id).await?.into_iter().map(|v| v.snapshot).collect();
    if !void.is_empty() {
        let delete = line.images.delete_snapshots(&void);
        bounded("removing void snapshots", line.options.register, cancel, delete).await?;
    }
    let At { source, name, .. } = source_of(line, &run.job).await?;
    let baselines = line.store.baselines(&run.job).await?;
    let order = PointOrder { source, run: run.id.clone(), baselines };
    let take = line.replicator.take_point(&order);
    let point = bounded("taking the point in time", line.options.take_point, cancel, take).await?;
    if point.volumes.is_empty() {
        return Err(Failure::new(Code::VolumeUnsupported, format!("the server '{name}' has no disk")).into());
    }
    let run_key = id_of(run)?;
    let record = |v: PointVolume| {
        let baseline = order.baselines.iter().find(|b| b.device == v.device);
        let changed = key::note_of_change(baseline, &run_key);
        PointVolumeRecord {
            parent: baseline.filter(|b| b.key == run_key).map(|b| b.snapshot.clone()),
            device: v.device,
            size: v.size,
            tracked: v.tracked && changed.is_none(),
            note: changed.or(v.note),
        }
    };
    let volumes = point.volumes.into_iter().map(record).collect();
    Ok(Done::Point(PointRecord { point: point.point, consistency: point.consistency, notes: point.notes, volumes }))
}

async fn verify(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<Done, StageError> {
    key::usable(line, run).await?;
    let volumes = line.store.run_volumes(&run.id).await?;
    let mut verified = 0;
    for volume in &volumes {
        let moved = AtomicU64::new(0);
        let inner = cancel.child_token();
        let report = |done: u64, total: u64| {
            moved.fetch_add(1, Ordering::Relaxed);
            // What the volumes to come will add is not known before they begin.
            let sums = (verified + done, verified + total.max(done));
            line.progress.verify(&run.id, sums, line.now());
        };
        let work = line.images.verify(&volume.snapshot, VerifyScope::OwnBlocks, &report, &inner);
        let bounds = bounds(line);
        let result = watched("verifying", bounds, &moved, cancel, &inner, work).await;
        let result = result.map_err(|error| error.of_volume(&volume.device))?;
        if let Err(failure) = refuse_damage(volume, &result) {
            // What the run was built on may be what is damaged: the next one reads it from the source.
            let is_known = !result.damaged.is_empty() && !result.is_cut_off;
            let damaged = is_known.then_some(result.damaged.as_slice());
            line.store.suspect_of_job(&run.job, &volume.device, damaged).await?;
            return Err(failure.into());
        }
        verified += result.bytes_verified;
        let mut figures = volume.figures;
        figures.bytes_verified = result.bytes_verified;
        line.store.record_figures(run, &[(volume.device.clone(), figures)]).await?;
    }
    Ok(Done::Stage)
}

fn refuse_damage(volume: &VolumeRecord, result: &VerifyResult) -> Result<(), Failure> {
    if let Some(first) = result.damaged.first() {
        let why = result.first_problem.as_deref().unwrap_or("its content differs");
        let evidence = format!(
            "{} of {}: {} damaged ranges, the first at byte {} ({} bytes): {why}",
            volume.snapshot,
            volume.device,
            result.damaged.len(),
            first.offset,
            first.length
        );
        return Err(Failure::new(Code::VerifyMismatch, evidence));
    }
    if volume.root_digest.as_deref() != Some(result.root_digest.as_str()) {
        let evidence = format!(
            "{} of {}: the digest is {} as stored and {} as read from the source",
            volume.snapshot,
            volume.device,
            result.root_digest,
            volume.root_digest.as_deref().unwrap_or("unknown")
        );
        return Err(Failure::new(Code::VerifyMismatch, evidence));
    }
    Ok(())
}

async fn register(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<Done, StageError> {
    let key = key::usable(line, run).await?;
    let image = run.image.clone().ok_or_else(|| StoreError::unreadable("the image of a run", "nothing"))?;
    let job = line.store.job(&run.job).await?.ok_or(StoreError::Stale)?;
    let server = line.store.server(&job.settings.server).await?;
    let volumes = line.store.run_volumes(&run.id).await?;
    let order = ImageOrder {
        image,
        job: run.job.clone(),
        run: run.id.clone(),
        server_name: server.map(|(s, _)| s.name).unwrap_or_default(),
        key,
        volumes: volumes.into_iter().map(|v| (v.device, v.snapshot)).collect(),
        // When the stage was recorded: the same in every repetition.
        created_at: run.stage_started_at.unwrap_or(run.scheduled_at).as_millis(),
    };
    bounded("writing the image", line.options.register, cancel, line.images.register(&order)).await?;
    Ok(Done::Stage)
}

/// Never fails: what cannot be removed now is removed by the next run or the sweep.
async fn clean(line: &Line, run: &RunRecord, cancel: &CancellationToken) -> Result<Done, StageError> {
    let job = line.store.job(&run.job).await?.ok_or(StoreError::Stale)?;
    let last = job.settings.interval == Interval::Once && run.kind == RunType::Automatic;
    let end = if last { SettleEnd::Forget } else { SettleEnd::Committed };
    let notes = super::ending::settle(line, run, end, cancel).await?;
    Ok(Done::Notes(notes.into_iter().collect()))
}

pub(super) fn bounds(line: &Line) -> Bounds {
    Bounds { no_progress: line.options.no_progress, stop: line.options.stop }
}
