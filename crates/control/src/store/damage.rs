//! Damage in the store: which images have it, and what the next runs repair.
//!
//! A job's suspects are ranges of its last committed volumes. A run is given those of the moment of its point in time
//! and its new snapshots are not built on them; when these become the job's baseline, what the run was given is done.

use super::events::tell_of_damage;
use super::jobs::{forget_baseline, locked_job};
use super::query::Verbs;
use super::row::{Fields, to_json, to_sql};
use super::{Store, StoreError, Tx};
use crate::replicator::Traced;
use godwit_model::extent::{self, Extent};
use godwit_model::id::{ImageId, JobId, PackId, SnapshotId};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

/// Suspects that a job has at most. More of them is no list any more: then nothing is built on.
const MOST_SUSPECTS: usize = 2_000;

/// Damaged ranges of an image that are on record at most.
const MOST_RANGES: usize = 4_000;

/// A snapshot that an image or a job's next run needs.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    pub snapshot: SnapshotId,
    /// The job whose run made it.
    pub job: Option<JobId>,
}

/// A snapshot that proved damaged, and what needs it.
struct Harmed {
    image: Option<ImageId>,
    volume: Option<u32>,
    job: Option<JobId>,
    device: String,
    size: u64,
    is_baseline: bool,
}

impl Store {
    /// Snapshots of images that are listed, and those that next runs build on.
    pub(crate) async fn needed_snapshots(&self) -> Result<Vec<Needed>, StoreError> {
        sqlx::query(
            "SELECT snapshot.snapshot_id, COALESCE(image.job_id, (SELECT MIN(baseline.job_id) FROM baseline \
             WHERE baseline.snapshot_id = snapshot.snapshot_id)) AS job_id FROM snapshot \
             LEFT JOIN image ON image.image_id = snapshot.image_id AND image.deleting = 0 \
             WHERE image.image_id IS NOT NULL OR snapshot.snapshot_id IN (SELECT snapshot_id FROM baseline) \
             ORDER BY snapshot.created_at, snapshot.snapshot_id",
        )
        .all(self.reader(), "read which snapshots are needed", |row| {
            let fields = Fields(row);
            Ok(Needed { snapshot: fields.id("snapshot_id")?, job: fields.opt_id("job_id")? })
        })
        .await
    }

    /// Puts damage of snapshots on record: with their images, and for the next runs of their jobs. What is on record
    /// already changes nothing and is told to nobody again. Packs that led to it need no trace any more.
    pub(crate) async fn record_damage(
        &self,
        traced: &[Traced],
        packs: &[PackId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let mut news: BTreeMap<JobId, Vec<(ImageId, String)>> = BTreeMap::new();
        for found in traced {
            let Some(harmed) = harmed(&mut tx, &found.snapshot).await? else { continue };
            let whole = [Extent::between(0, harmed.size)];
            let damaged = if found.damaged.is_empty() { &whole[..] } else { &found.damaged };
            if let (true, Some(job)) = (harmed.is_baseline, &harmed.job) {
                if found.is_cut_off {
                    forget_baseline(&mut tx, job).await?;
                } else {
                    suspect(&mut tx, job, &harmed.device, damaged).await?;
                }
            }
            let (Some(image), Some(volume)) = (&harmed.image, harmed.volume) else { continue };
            let is_new = mark_image(&mut tx, image, volume, damaged, &found.problem, now).await?;
            if let (true, Some(job)) = (is_new, harmed.job) {
                let bytes = extent::total(damaged);
                let first = damaged.first().map_or(0, |extent| extent.offset);
                let what = format!("{bytes} bytes of {} from byte {first} on: {}", harmed.device, found.problem);
                news.entry(job).or_default().push((image.clone(), what));
            }
        }
        for pack in packs {
            sqlx::query("UPDATE damaged_pack SET traced = 1 WHERE pack_id = $1")
                .bind(pack.to_string())
                .run(&mut *tx, "record what a damaged pack harms")
                .await?;
        }
        for (job, images) in news {
            if let Some(job) = locked_job(&mut tx, &job).await? {
                tell_of_damage(&mut tx, &job, &images, now).await?;
            }
        }
        tx.commit().await
    }

    /// The next run of an image's job reads these ranges from the source: they could not be read of the image.
    pub(crate) async fn suspect_of_image(
        &self,
        image: &ImageId,
        device: &str,
        damaged: &[Extent],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if let Some(job) = job_of(&mut tx, image).await? {
            suspect(&mut tx, &job, device, damaged).await?;
        }
        tx.commit().await
    }

    /// The next run of the job reads these ranges from the source; if it is not known which, it builds on nothing.
    pub(crate) async fn suspect_of_job(
        &self,
        job: &JobId,
        device: &str,
        damaged: Option<&[Extent]>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        match damaged {
            Some(damaged) => suspect(&mut tx, job, device, damaged).await?,
            None => forget_baseline(&mut tx, job).await?,
        }
        tx.commit().await
    }
}

async fn job_of(tx: &mut Tx, image: &ImageId) -> Result<Option<JobId>, StoreError> {
    sqlx::query("SELECT job_id FROM image WHERE image_id = $1")
        .bind(image.to_string())
        .find(&mut **tx, "read the job of an image", |row| Fields(row).id("job_id"))
        .await
}

async fn harmed(tx: &mut Tx, snapshot: &SnapshotId) -> Result<Option<Harmed>, StoreError> {
    sqlx::query(
        "SELECT image.image_id, image_volume.volume, snapshot.device, snapshot.size, baseline.job_id AS next_job, \
         COALESCE(baseline.job_id, image.job_id) AS job_id FROM snapshot \
         LEFT JOIN image ON image.image_id = snapshot.image_id AND image.deleting = 0 \
         LEFT JOIN image_volume ON image_volume.image_id = image.image_id \
         AND image_volume.snapshot_id = snapshot.snapshot_id \
         LEFT JOIN baseline ON baseline.snapshot_id = snapshot.snapshot_id WHERE snapshot.snapshot_id = $1",
    )
    .bind(snapshot.to_string())
    .find(&mut **tx, "read what a snapshot is needed for", |row| {
        let fields = Fields(row);
        Ok(Harmed {
            image: fields.opt_id("image_id")?,
            volume: fields.opt_number("volume")?,
            job: fields.opt_id("job_id")?,
            device: fields.text("device")?,
            size: fields.number("size")?,
            is_baseline: fields.opt_text("next_job")?.is_some(),
        })
    })
    .await
}

/// Adds suspects of a job. Too many to be listed: the job's next run builds on nothing.
pub(super) async fn suspect(tx: &mut Tx, job: &JobId, device: &str, damaged: &[Extent]) -> Result<(), StoreError> {
    let what = "record what the next run repairs";
    for extent in damaged {
        sqlx::query(
            "INSERT INTO suspect (job_id, device, first_byte, bytes) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (job_id, device, first_byte, bytes) DO NOTHING",
        )
        .bind(job.to_string())
        .bind(device.to_owned())
        .bind(to_sql(extent.offset))
        .bind(to_sql(extent.length))
        .run(&mut **tx, what)
        .await?;
    }
    let n = sqlx::query("SELECT COUNT(*) AS n FROM suspect WHERE job_id = $1")
        .bind(job.to_string())
        .one(&mut **tx, what, |row| Fields(row).number::<usize>("n"))
        .await?;
    if n > MOST_SUSPECTS { forget_baseline(tx, job).await } else { Ok(()) }
}

/// The suspects of a volume of a job.
pub(super) async fn suspects(tx: &mut Tx, job: &JobId, device: &str) -> Result<Vec<Extent>, StoreError> {
    let read = |row: &AnyRow| {
        let fields = Fields(row);
        Ok(Extent { offset: fields.number("first_byte")?, length: fields.number("bytes")? })
    };
    sqlx::query("SELECT first_byte, bytes FROM suspect WHERE job_id = $1 AND device = $2 ORDER BY first_byte, bytes")
        .bind(job.to_string())
        .bind(device.to_owned())
        .all(&mut **tx, "read what the next run repairs", read)
        .await
}

/// A run has repaired what it was given of a volume.
pub(super) async fn repaired(tx: &mut Tx, job: &JobId, device: &str, repairs: &[Extent]) -> Result<(), StoreError> {
    for extent in repairs {
        sqlx::query("DELETE FROM suspect WHERE job_id = $1 AND device = $2 AND first_byte = $3 AND bytes = $4")
            .bind(job.to_string())
            .bind(device.to_owned())
            .bind(to_sql(extent.offset))
            .bind(to_sql(extent.length))
            .run(&mut **tx, "record what a run repaired")
            .await?;
    }
    Ok(())
}

/// Puts damage of a volume on record with its image; whether that is news. A verification at work finds it by itself.
async fn mark_image(
    tx: &mut Tx,
    image: &ImageId,
    volume: u32,
    damaged: &[Extent],
    problem: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let what = "record damage of an image";
    let known = sqlx::query("SELECT state, damaged FROM image_verification WHERE image_id = $1")
        .bind(image.to_string())
        .find(&mut **tx, what, |row| {
            Ok((Fields(row).text("state")?, Fields(row).json::<Vec<(u32, u64, u64)>>("damaged")?))
        })
        .await?;
    let (state, ranges) = known.unwrap_or_default();
    if state == "RUNNING" {
        return Ok(false);
    }
    let before = if state == "DAMAGED" { ranges } else { Vec::new() };
    let of_volume = before
        .iter()
        .filter(|(of, ..)| *of == volume)
        .map(|(_, offset, length)| Extent { offset: *offset, length: *length });
    let merged = extent::merge(of_volume.chain(damaged.iter().copied()).collect());
    let mut after: Vec<(u32, u64, u64)> = before.iter().filter(|(of, ..)| *of != volume).copied().collect();
    after.extend(merged.iter().map(|extent| (volume, extent.offset, extent.length)));
    after.sort_unstable();
    after.truncate(MOST_RANGES);
    if state == "DAMAGED" && after == before {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO image_verification (image_id, state, started_at, verified_at, bytes_verified, bytes_total, \
         damaged, message, fence) VALUES ($1, 'DAMAGED', $2, $2, 0, (SELECT size FROM image WHERE image_id = $1), \
         $3, $4, 0) ON CONFLICT (image_id) DO UPDATE SET state = 'DAMAGED', verified_at = excluded.verified_at, \
         damaged = excluded.damaged, message = excluded.message, fence = image_verification.fence + 1",
    )
    .bind(image.to_string())
    .bind(now.0)
    .bind(to_json(&after))
    .bind(format!("volume {volume}: {problem}"))
    .run(&mut **tx, what)
    .await?;
    Ok(true)
}
