//! Background work on images: verification, removal.

use crate::control::Line;
use crate::driver::Ended;
use crate::key_uses::Gathered;
use crate::replicator::{Traced, VerifyScope};
use crate::run::{Bounds, StageError, bounded, watched};
use crate::scrub::{self, Tracing};
use crate::service::{DamagedRange, Image, ImageVolume, VerificationState};
use crate::store::{StoreError, User, VerificationEnd};
use godwit_model::extent::Extent;
use godwit_model::id::{ImageId, SnapshotId};
use godwit_model::key::{KeyUse, Purpose};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// Re-reads everything of an image and records what was found.
pub(crate) async fn verify(line: Arc<Line>, id: ImageId, cancel: CancellationToken) -> Result<Ended, StoreError> {
    let Some(image) = line.store.image(&id).await? else { return Ok(Ended::Done) };
    let mut failures = 0;
    let mut used = KeyUse::of(&image.key, image.key_version, Purpose::Decrypt);
    let end = loop {
        match verify_once(&line, &image, &cancel).await {
            Ok(end) => break end,
            Err(StageError::Stopped) => return Ok(Ended::Done),
            Err(StageError::Store(error)) => return Err(error),
            Err(StageError::Failed(failure)) => {
                failures += 1;
                if !failure.code.kind().is_transient() || failures >= line.options.retry.attempts {
                    used.failure = Some(failure.code);
                    break VerificationEnd {
                        state: VerificationState::Failed,
                        bytes_verified: line.progress.image(&id).unwrap_or(0),
                        damaged: vec![],
                        packs: vec![],
                        is_cut_off: false,
                        message: Some(failure.message()),
                    };
                }
                tokio::select! {
                    () = tokio::time::sleep(line.options.retry.pause(failures)) => {}
                    () = cancel.cancelled() => return Ok(Ended::Done),
                }
            }
        }
    };
    if !end.damaged.is_empty() && !record_harm(&line, &image, &end, &cancel).await? {
        return Ok(Ended::Done);
    }
    line.store.end_verification(&id, &end, &used, line.now()).await?;
    line.progress.forget_image(&id);
    Ok(Ended::Done)
}

/// What is damaged of one image others share, and the next run would. If that cannot be found out, the next run builds on
/// nothing. Not done if the service is to stop: then the verification is made again.
async fn record_harm(
    line: &Line,
    image: &Image,
    end: &VerificationEnd,
    cancel: &CancellationToken,
) -> Result<bool, StoreError> {
    let uses = Gathered::default();
    let damaged = Tracing { packs: Some(&end.packs), job: Some(&image.job) };
    let traced = scrub::trace(line, &damaged, &uses, cancel).await;
    line.store.note_key_uses(&User::Image(image.id.clone()), &uses.all(), line.now()).await?;
    let is_known = match traced {
        Ok(mut traced) => {
            // Of the image itself what was just seen counts, though another look may have found it readable.
            let own = own_damage(image, end);
            traced.retain(|found| own.iter().all(|of_image| of_image.snapshot != found.snapshot));
            traced.extend(own);
            line.store.record_damage(&traced, &[], line.now()).await?;
            !end.is_cut_off
        }
        Err(StageError::Failed(_)) => false,
        Err(StageError::Stopped) => return Ok(false),
        Err(StageError::Store(error)) => return Err(error),
    };
    if !is_known {
        line.store.forget_baseline_of(&image.id).await?;
    }
    Ok(true)
}

/// Removes images, snapshots and packs that nothing holds any more, in this order: nothing goes that something which is
/// left may name. What fails is tried again later.
pub(crate) async fn remove_unneeded(line: Arc<Line>, cancel: CancellationToken) -> Result<Ended, StoreError> {
    let mut ended = Ended::Done;
    // Asked for first: what names them was on record by then, so it is seen below, and goes before them or keeps them.
    let packs = line.store.unneeded_packs().await?;
    for image in line.store.images_to_delete().await? {
        let work = line.images.delete_image(&image);
        match bounded("removing an image", line.options.register, &cancel, work).await {
            Ok(()) => line.store.end_image_deletion(&image).await?,
            Err(StageError::Failed(failure)) => {
                tracing::warn!(%image, %failure, "an image is not removed yet; tried again later");
                ended = Ended::Later;
            }
            Err(_) => return Ok(ended),
        }
    }
    let orphans = line.store.orphan_snapshots().await?;
    if !orphans.is_empty() {
        release_packs(&line, &orphans, &cancel).await?;
        let work = line.images.delete_snapshots(&orphans);
        match bounded("removing snapshots", line.options.register, &cancel, work).await {
            Ok(()) => line.store.forget_snapshots(&orphans).await?,
            Err(error) => ended = later("snapshots", &error),
        }
    }
    remove_leftovers(&line, &cancel, &mut ended).await?;
    if !packs.is_empty() && ended == Ended::Done {
        let work = line.images.discard_staged(&packs);
        match bounded("removing packs", line.options.register, &cancel, work).await {
            Ok(()) => line.store.forget_packs(&packs).await?,
            Err(error) => ended = later("packs", &error),
        }
    }
    Ok(ended)
}

/// Removes what runs and jobs that ended could not.
async fn remove_leftovers(line: &Line, cancel: &CancellationToken, ended: &mut Ended) -> Result<(), StoreError> {
    let left = line.store.leftovers().await?;
    if left.is_empty() {
        return Ok(());
    }
    let work = async {
        for image in &left.images {
            line.images.delete_image(image).await?;
        }
        line.images.delete_snapshots(&left.snapshots).await
    };
    match bounded("removing leftovers", line.options.register, cancel, work).await {
        Ok(()) => line.store.forget_leftovers(&left).await?,
        Err(error) => *ended = later("leftovers", &error),
    }
    Ok(())
}

/// Records which packs the snapshots leave. That only spares them a wait: what cannot be told waits as anything else.
async fn release_packs(line: &Line, snapshots: &[SnapshotId], cancel: &CancellationToken) -> Result<(), StoreError> {
    let mut ranges = Vec::new();
    for snapshot in snapshots {
        match bounded("reading a snapshot", line.options.register, cancel, line.images.packs_of(snapshot)).await {
            Ok(packs) => ranges.extend(packs),
            Err(error) => tracing::debug!(%snapshot, %error, "the packs of a snapshot are not released at once"),
        }
    }
    line.store.release_packs(&ranges, line.now()).await
}

fn later(what: &str, error: &StageError) -> Ended {
    if let StageError::Failed(failure) = error {
        tracing::warn!(%failure, "{what} are not removed yet; tried again later");
    }
    Ended::Later
}

/// What a verification found, snapshot by snapshot.
fn own_damage(image: &Image, end: &VerificationEnd) -> Vec<Traced> {
    let of = |volume: &ImageVolume| {
        let ranges = end.damaged.iter().filter(|range| range.volume == volume.volume);
        let damaged: Vec<Extent> = ranges.map(|range| range.extent).collect();
        let problem = end.message.clone().unwrap_or_default();
        (!damaged.is_empty()).then(|| Traced { snapshot: volume.snapshot.clone(), damaged, is_cut_off: false, problem })
    };
    image.volumes.iter().filter_map(of).collect()
}

async fn verify_once(line: &Line, image: &Image, cancel: &CancellationToken) -> Result<VerificationEnd, StageError> {
    let mut damaged = Vec::new();
    let (mut packs, mut is_cut_off) = (Vec::new(), false);
    let mut message = None;
    let mut verified = 0;
    // Of the volumes' sizes: holes are passed, too, and cost nothing.
    let mut passed = 0;
    for volume in &image.volumes {
        let moved = AtomicU64::new(0);
        let inner = cancel.child_token();
        let report = |done: u64, _total: u64| {
            moved.fetch_add(1, Ordering::Relaxed);
            line.progress.image_verified(&image.id, passed + done);
        };
        let work = line.images.verify(&volume.snapshot, VerifyScope::Everything, &report, &inner);
        let options = &line.options;
        let bounds = Bounds { no_progress: options.no_progress, stop: options.stop };
        let result = watched("verifying", bounds, &moved, cancel, &inner, work).await?;
        verified += result.bytes_verified;
        passed += volume.size;
        line.progress.image_verified(&image.id, passed);
        if result.damaged.is_empty() && result.root_digest != volume.root_digest {
            let what = format!("volume {}: the digest is not the one of the source", volume.volume);
            message = message.or(Some(what));
        }
        if !result.damaged.is_empty() {
            let why = result.first_problem.unwrap_or_else(|| "its content differs".to_owned());
            message = message.or_else(|| Some(format!("volume {}: {why}", volume.volume)));
        }
        packs.extend(result.packs);
        is_cut_off |= result.is_cut_off;
        damaged.extend(result.damaged.into_iter().map(|extent| DamagedRange { volume: volume.volume, extent }));
    }
    let state = if message.is_some() { VerificationState::Damaged } else { VerificationState::Verified };
    Ok(VerificationEnd { state, bytes_verified: verified, damaged, packs, is_cut_off, message })
}
