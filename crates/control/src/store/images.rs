//! Images, their verification, and snapshots.

use super::jobs::{forget_baseline, locked_job};
use super::row::{Fields, to_json, to_sql};
use super::runs::{RunRecord, VolumeRecord, volume_record};
use super::{Store, StoreError, Tx};
use crate::service::{DamagedRange, Image, ImageVolume, Snapshot, Verification, VerificationState};
use godwit_model::extent::Extent;
use godwit_model::id::{ImageId, JobId, ServerId, SnapshotId};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;

const IMAGE_WITH_VERIFICATION: &str = "SELECT image.*, v.state AS v_state, v.verified_at, v.bytes_verified, \
    v.bytes_total, v.damaged, v.message FROM image LEFT JOIN image_verification v ON v.image_id = image.image_id \
    WHERE image.deleting = 0 ";

/// How a verification ended.
#[derive(Clone, Debug)]
pub(crate) struct VerificationEnd {
    pub state: VerificationState,
    pub bytes_verified: u64,
    pub damaged: Vec<DamagedRange>,
    pub message: Option<String>,
}

impl Store {
    pub(crate) async fn image(&self, id: &ImageId) -> Result<Option<Image>, StoreError> {
        let sql = format!("{IMAGE_WITH_VERIFICATION} AND image.image_id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.to_string())
            .fetch_optional(self.reader())
            .await
            .map_err(|e| StoreError::database("read an image", e))?;
        match row {
            Some(row) => Ok(Some(self.image_of(&row).await?)),
            None => Ok(None),
        }
    }

    /// Up to `limit` images behind `after`, newest first; of one job if it is given.
    pub(crate) async fn images(
        &self,
        job: Option<&JobId>,
        after: Option<(i64, String)>,
        limit: usize,
    ) -> Result<Vec<Image>, StoreError> {
        let (key, id) = after.unwrap_or((i64::MAX, String::new()));
        let whose = if job.is_some() { "image.job_id = $1" } else { "$1 = ''" };
        let sql = format!(
            "{IMAGE_WITH_VERIFICATION} AND {whose} AND (image.created_at < $2 OR \
             (image.created_at = $2 AND image.image_id < $3)) \
             ORDER BY image.created_at DESC, image.image_id DESC LIMIT $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(job.map_or(String::new(), ToString::to_string))
            .bind(key)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.reader())
            .await
            .map_err(|e| StoreError::database("list images", e))?;
        let mut images = Vec::with_capacity(rows.len());
        for row in &rows {
            images.push(self.image_of(row).await?);
        }
        Ok(images)
    }

    /// The newest image of a job.
    pub(crate) async fn latest_image(&self, job: &JobId) -> Result<Option<ImageId>, StoreError> {
        sqlx::query(
            "SELECT image_id FROM image WHERE job_id = $1 AND deleting = 0 \
             ORDER BY created_at DESC, image_id DESC LIMIT 1",
        )
        .bind(job.to_string())
        .fetch_optional(self.reader())
        .await
        .map_err(|e| StoreError::database("read the newest image of a job", e))?
        .map(|row| Fields(&row).id("image_id"))
        .transpose()
    }

    /// Takes an image off all lists; false if there is none.
    pub(crate) async fn begin_image_deletion(&self, id: &ImageId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let written = sqlx::query("UPDATE image SET deleting = 1 WHERE image_id = $1 AND deleting = 0")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| StoreError::database("begin to delete an image", e))?;
        tx.commit().await?;
        Ok(written.rows_affected() == 1)
    }

    /// Images that are to be removed from the store.
    pub(crate) async fn images_to_delete(&self) -> Result<Vec<ImageId>, StoreError> {
        sqlx::query("SELECT image_id FROM image WHERE deleting = 1")
            .fetch_all(self.reader())
            .await
            .map_err(|e| StoreError::database("look for images to delete", e))?
            .iter()
            .map(|row| Fields(row).id("image_id"))
            .collect()
    }

    /// The image is removed from the store: its rows go, its snapshots belong to no image any more.
    pub(crate) async fn end_image_deletion(&self, id: &ImageId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for sql in [
            "UPDATE snapshot SET image_id = NULL WHERE image_id = $1",
            "DELETE FROM image_verification WHERE image_id = $1",
            "DELETE FROM image_volume WHERE image_id = $1",
            "DELETE FROM image WHERE image_id = $1",
        ] {
            sqlx::query(sql)
                .bind(id.to_string())
                .execute(&mut *tx)
                .await
                .map_err(|e| StoreError::database("delete an image", e))?;
        }
        tx.commit().await
    }

    /// Snapshots that neither an image nor a baseline holds.
    pub(crate) async fn orphan_snapshots(&self) -> Result<Vec<SnapshotId>, StoreError> {
        sqlx::query(
            "SELECT snapshot_id FROM snapshot WHERE image_id IS NULL \
             AND snapshot_id NOT IN (SELECT snapshot_id FROM baseline)",
        )
        .fetch_all(self.reader())
        .await
        .map_err(|e| StoreError::database("look for snapshots to delete", e))?
        .iter()
        .map(|row| Fields(row).id("snapshot_id"))
        .collect()
    }

    pub(crate) async fn forget_snapshots(&self, ids: &[SnapshotId]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM snapshot WHERE snapshot_id = $1")
                .bind(id.to_string())
                .execute(&mut *tx)
                .await
                .map_err(|e| StoreError::database("forget a snapshot", e))?;
        }
        tx.commit().await
    }

    pub(crate) async fn snapshot(&self, id: &SnapshotId) -> Result<Option<Snapshot>, StoreError> {
        sqlx::query("SELECT * FROM snapshot WHERE snapshot_id = $1")
            .bind(id.to_string())
            .fetch_optional(self.reader())
            .await
            .map_err(|e| StoreError::database("read a snapshot", e))?
            .map(|row| snapshot(&row))
            .transpose()
    }

    /// Up to `limit` snapshots behind `after`, newest first; of one image if it is given.
    pub(crate) async fn snapshots(
        &self,
        image: Option<&ImageId>,
        after: Option<(i64, String)>,
        limit: usize,
    ) -> Result<Vec<Snapshot>, StoreError> {
        let (key, id) = after.unwrap_or((i64::MAX, String::new()));
        let whose = if image.is_some() { "image_id = $1" } else { "$1 = ''" };
        let sql = format!(
            "SELECT * FROM snapshot WHERE {whose} AND (created_at < $2 OR (created_at = $2 AND snapshot_id < $3)) \
             ORDER BY created_at DESC, snapshot_id DESC LIMIT $4"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(image.map_or(String::new(), ToString::to_string))
            .bind(key)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.reader())
            .await
            .map_err(|e| StoreError::database("list snapshots", e))?
            .iter()
            .map(snapshot)
            .collect()
    }

    /// Marks an image's verification as running; false if there is no such image. One that runs stays the one it is.
    pub(crate) async fn begin_verification(&self, id: &ImageId, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let failed = |e| StoreError::database("begin a verification", e);
        let image = sqlx::query("SELECT size FROM image WHERE image_id = $1 AND deleting = 0")
            .bind(id.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed)?;
        let Some(row) = image else { return Ok(false) };
        sqlx::query(
            "INSERT INTO image_verification (image_id, state, started_at, verified_at, bytes_verified, bytes_total, \
             damaged, message, fence) VALUES ($1, 'RUNNING', $2, NULL, 0, $3, '[]', NULL, 0) \
             ON CONFLICT (image_id) DO UPDATE SET state = 'RUNNING', started_at = excluded.started_at, \
             verified_at = NULL, bytes_verified = 0, damaged = '[]', message = NULL, \
             fence = image_verification.fence + 1 WHERE image_verification.state <> 'RUNNING'",
        )
        .bind(id.to_string())
        .bind(now.0)
        .bind(Fields(&row).int("size")?)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        tx.commit().await?;
        Ok(true)
    }

    /// Verifications that are to be at work.
    pub(crate) async fn running_verifications(&self) -> Result<Vec<ImageId>, StoreError> {
        sqlx::query(
            "SELECT v.image_id FROM image_verification v JOIN image ON image.image_id = v.image_id \
             WHERE v.state = 'RUNNING' AND image.deleting = 0 ORDER BY v.started_at, v.image_id",
        )
        .fetch_all(self.reader())
        .await
        .map_err(|e| StoreError::database("look for verifications", e))?
        .iter()
        .map(|row| Fields(row).id("image_id"))
        .collect()
    }

    /// Records how a verification ended. An image that was deleted meanwhile stays deleted.
    pub(crate) async fn end_verification(
        &self,
        id: &ImageId,
        end: &VerificationEnd,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let damaged: Vec<(u32, u64, u64)> =
            end.damaged.iter().map(|d| (d.volume, d.extent.offset, d.extent.length)).collect();
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE image_verification SET state = $1, verified_at = $2, bytes_verified = $3, damaged = $4, \
             message = $5, fence = fence + 1 WHERE image_id = $6 AND state = 'RUNNING'",
        )
        .bind(end.state.as_str())
        .bind(now.0)
        .bind(to_sql(end.bytes_verified))
        .bind(to_json(&damaged))
        .bind(end.message.clone())
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .map_err(|e| StoreError::database("record a verification", e))?;
        if !damaged.is_empty() {
            let row = sqlx::query("SELECT job_id FROM image WHERE image_id = $1")
                .bind(id.to_string())
                .fetch_optional(&mut *tx)
                .await
                .map_err(|e| StoreError::database("read the job of an image", e))?;
            // The newest snapshot shares blocks with this image: the next run must not build on them.
            if let Some(row) = row {
                forget_baseline(&mut tx, &Fields(&row).id("job_id")?).await?;
            }
        }
        tx.commit().await
    }

    async fn image_of(&self, row: &AnyRow) -> Result<Image, StoreError> {
        let fields = Fields(row);
        let id: ImageId = fields.id("image_id")?;
        let volumes = sqlx::query("SELECT * FROM image_volume WHERE image_id = $1 ORDER BY volume")
            .bind(id.to_string())
            .fetch_all(self.reader())
            .await
            .map_err(|e| StoreError::database("read the volumes of an image", e))?;
        Ok(Image {
            id,
            description: fields.text("description")?,
            job: fields.id("job_id")?,
            run: fields.id("run_id")?,
            server: fields.id("server_id")?,
            server_name: fields.text("server_name")?,
            created_at: fields.time("created_at")?,
            size: fields.unsigned("size")?,
            volumes: volumes.iter().map(image_volume).collect::<Result<_, _>>()?,
            verification: verification(&fields)?,
        })
    }
}

/// Records the image of a run whose registration is done: the image, its snapshots, the job's new baselines. Images
/// beyond the number that the job keeps are taken off the lists.
pub(super) async fn record_image(tx: &mut Tx, run: &RunRecord, now: Timestamp) -> Result<(), StoreError> {
    let failed = |e| StoreError::database("record an image", e);
    let image = run.image.as_ref().ok_or_else(|| StoreError::unreadable("the image of a run", "nothing"))?;
    let job = locked_job(tx, &run.job).await?.ok_or(StoreError::Stale)?;
    let server = sqlx::query("SELECT name FROM server WHERE server_id = $1")
        .bind(job.settings.server.to_string())
        .fetch_one(&mut **tx)
        .await
        .map_err(failed)?;
    let name = Fields(&server).text("name")?;
    let rows = sqlx::query("SELECT * FROM run_volume WHERE run_id = $1 ORDER BY place")
        .bind(run.id.to_string())
        .fetch_all(&mut **tx)
        .await
        .map_err(failed)?;
    let volumes = rows.iter().map(volume_record).collect::<Result<Vec<_>, _>>()?;
    let created = run.stage_started_at.unwrap_or(now);
    sqlx::query(
        "INSERT INTO image (image_id, job_id, run_id, server_id, server_name, description, size, created_at, deleting) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
    )
    .bind(image.to_string())
    .bind(run.job.to_string())
    .bind(run.id.to_string())
    .bind(job.settings.server.to_string())
    .bind(name.clone())
    .bind(format!("{name}, made by {} of {}", run.id, run.job))
    .bind(to_sql(volumes.iter().map(|v| v.figures.bytes_total).sum()))
    .bind(created.0)
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    for (place, volume) in volumes.iter().enumerate() {
        record_image_volume(tx, run, image, &job.settings.server, created, place, volume).await?;
    }
    match job.settings.keep_images {
        Some(keep) => keep_newest(tx, &run.job, keep).await,
        None => Ok(()),
    }
}

/// Records one volume of an image: its place, its snapshot, the job's new baseline.
async fn record_image_volume(
    tx: &mut Tx,
    run: &RunRecord,
    image: &ImageId,
    server: &ServerId,
    created: Timestamp,
    place: usize,
    volume: &VolumeRecord,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::database("record an image", e);
    let digest = volume.root_digest.clone().ok_or_else(|| StoreError::unreadable("a root digest", "nothing"))?;
    sqlx::query(
        "INSERT INTO image_volume (image_id, volume, device, size, snapshot_id, root_digest) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(image.to_string())
    .bind(i64::try_from(place).unwrap_or(i64::MAX))
    .bind(volume.device.clone())
    .bind(to_sql(volume.figures.bytes_total))
    .bind(volume.snapshot.to_string())
    .bind(digest.clone())
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    sqlx::query(
        "INSERT INTO snapshot (snapshot_id, image_id, run_id, server_id, device, size, root_digest, parent_id, \
         created_at, bytes_stored) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(volume.snapshot.to_string())
    .bind(image.to_string())
    .bind(run.id.to_string())
    .bind(server.to_string())
    .bind(volume.device.clone())
    .bind(to_sql(volume.figures.bytes_total))
    .bind(digest)
    .bind(volume.parent.as_ref().map(ToString::to_string))
    .bind(created.0)
    .bind(to_sql(volume.figures.bytes_stored))
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    sqlx::query(
        "INSERT INTO baseline (job_id, device, run_id, snapshot_id, size) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (job_id, device) DO UPDATE SET run_id = excluded.run_id, \
         snapshot_id = excluded.snapshot_id, size = excluded.size",
    )
    .bind(run.job.to_string())
    .bind(volume.device.clone())
    .bind(run.id.to_string())
    .bind(volume.snapshot.to_string())
    .bind(to_sql(volume.figures.bytes_total))
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Takes the oldest images of a job off the lists, down to `keep`.
async fn keep_newest(tx: &mut Tx, job: &JobId, keep: u32) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE image SET deleting = 1 WHERE job_id = $1 AND deleting = 0 AND image_id NOT IN \
         (SELECT image_id FROM image WHERE job_id = $1 AND deleting = 0 \
         ORDER BY created_at DESC, image_id DESC LIMIT $2)",
    )
    .bind(job.to_string())
    .bind(i64::from(keep))
    .execute(&mut **tx)
    .await
    .map_err(|e| StoreError::database("take old images off the lists", e))?;
    Ok(())
}

fn image_volume(row: &AnyRow) -> Result<ImageVolume, StoreError> {
    let fields = Fields(row);
    let place = fields.int("volume")?;
    Ok(ImageVolume {
        volume: u32::try_from(place).map_err(|_| StoreError::unreadable("volume", place.to_string()))?,
        device: fields.text("device")?,
        size: fields.unsigned("size")?,
        snapshot: fields.id("snapshot_id")?,
        root_digest: fields.text("root_digest")?,
    })
}

fn verification(fields: &Fields<'_>) -> Result<Verification, StoreError> {
    let Some(state) = fields.opt_name("v_state", parse_state)? else {
        return Ok(Verification {
            state: VerificationState::Unverified,
            verified_at: None,
            bytes_verified: None,
            bytes_total: None,
            damaged: vec![],
            message: None,
        });
    };
    let damaged: Vec<(u32, u64, u64)> = fields.json("damaged")?;
    Ok(Verification {
        state,
        verified_at: fields.opt_time("verified_at")?,
        bytes_verified: Some(fields.unsigned("bytes_verified")?),
        bytes_total: Some(fields.unsigned("bytes_total")?),
        damaged: damaged
            .into_iter()
            .filter_map(|(volume, offset, length)| {
                Extent::new(offset, length).map(|extent| DamagedRange { volume, extent })
            })
            .collect(),
        message: fields.opt_text("message")?,
    })
}

fn snapshot(row: &AnyRow) -> Result<Snapshot, StoreError> {
    let fields = Fields(row);
    Ok(Snapshot {
        id: fields.id("snapshot_id")?,
        image: fields.opt_id("image_id")?,
        run: fields.id("run_id")?,
        server: fields.id("server_id")?,
        device: fields.text("device")?,
        size: fields.unsigned("size")?,
        root_digest: fields.text("root_digest")?,
        parent: fields.opt_id("parent_id")?,
        created_at: fields.time("created_at")?,
        bytes_stored: fields.unsigned("bytes_stored")?,
    })
}

fn parse_state(text: &str) -> Option<VerificationState> {
    use VerificationState::{Damaged, Failed, Running, Unverified, Verified};
    [Unverified, Running, Verified, Damaged, Failed].into_iter().find(|s| s.as_str() == text)
}
