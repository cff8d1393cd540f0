//! Images and snapshots.

use super::damage::repaired;
use super::jobs::locked_job;
use super::query::{After, Order, Verbs, of};
use super::row::{Fields, to_sql};
use super::runs::{RunRecord, VolumeRecord, volume_record};
use super::verifications::verification;
use super::{Store, StoreError, Tx};
use crate::service::{Image, ImageVolume, Snapshot};
use godwit_model::id::{ImageId, JobId, ServerId, SnapshotId};
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::HashMap;

const IMAGE_WITH_VERIFICATION: &str = "SELECT image.*, v.state AS v_state, v.verified_at, v.bytes_verified, \
    v.bytes_total, v.damaged, v.message FROM image LEFT JOIN image_verification v ON v.image_id = image.image_id \
    WHERE image.deleting = 0 ";

impl Store {
    pub(crate) async fn image(&self, id: &ImageId) -> Result<Option<Image>, StoreError> {
        let sql = format!("{IMAGE_WITH_VERIFICATION} AND image.image_id = $1");
        let image = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.to_string())
            .find(self.reader(), "read an image", image_alone)
            .await?;
        match image {
            Some(image) => Ok(self.with_volumes(vec![image]).await?.pop()),
            None => Ok(None),
        }
    }

    /// The images of these ids, as far as they exist.
    pub(crate) async fn images_named(&self, ids: &[ImageId]) -> Result<HashMap<ImageId, Image>, StoreError> {
        let head = format!("{IMAGE_WITH_VERIFICATION} AND image.image_id IN ");
        let alone = self.of_all(&head, ids, "", "read images", image_alone).await?;
        let images = self.with_volumes(alone).await?;
        Ok(images.into_iter().map(|image| (image.id.clone(), image)).collect())
    }

    /// Up to `limit` images behind `after`, newest first; of one job if it is given.
    pub(crate) async fn images(
        &self,
        job: Option<&JobId>,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<Image>, StoreError> {
        let (whose, job) = of("image.job_id", job);
        let sql = format!(
            "{IMAGE_WITH_VERIFICATION} AND {whose} AND image.created_at <= $2 \
             AND (image.created_at < $2 OR image.image_id < $3) \
             ORDER BY image.created_at DESC, image.image_id DESC LIMIT $4"
        );
        let alone = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(job)
            .page(after, Order::NewestFirst, limit)
            .all(self.reader(), "list images", image_alone)
            .await?;
        self.with_volumes(alone).await
    }

    /// Takes an image off all lists; false if there is none.
    pub(crate) async fn begin_image_deletion(&self, id: &ImageId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let written = sqlx::query("UPDATE image SET deleting = 1 WHERE image_id = $1 AND deleting = 0")
            .bind(id.to_string())
            .run(&mut *tx, "begin to delete an image")
            .await?;
        tx.commit().await?;
        Ok(written == 1)
    }

    /// Images that are to be removed from the store.
    pub(crate) async fn images_to_delete(&self) -> Result<Vec<ImageId>, StoreError> {
        sqlx::query("SELECT image_id FROM image WHERE deleting = 1")
            .all(self.reader(), "look for images to delete", |row| Fields(row).id("image_id"))
            .await
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
            sqlx::query(sql).bind(id.to_string()).run(&mut *tx, "delete an image").await?;
        }
        tx.commit().await
    }

    /// Snapshots that neither an image nor a baseline holds, nor a run at work as its parent: also when the baseline was
    /// forgotten meanwhile, the run goes on to name the parent's blocks.
    pub(crate) async fn orphan_snapshots(&self) -> Result<Vec<SnapshotId>, StoreError> {
        sqlx::query(
            "SELECT snapshot_id FROM snapshot WHERE image_id IS NULL \
             AND snapshot_id NOT IN (SELECT snapshot_id FROM baseline) \
             AND snapshot_id NOT IN (SELECT parent_id FROM run_volume WHERE parent_id IS NOT NULL AND run_id IN \
             (SELECT run_id FROM run WHERE state IN ('ACTIVE', 'DELETING')))",
        )
        .all(self.reader(), "look for snapshots to delete", |row| Fields(row).id("snapshot_id"))
        .await
    }

    pub(crate) async fn forget_snapshots(&self, ids: &[SnapshotId]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM snapshot WHERE snapshot_id = $1")
                .bind(id.to_string())
                .run(&mut *tx, "forget a snapshot")
                .await?;
        }
        tx.commit().await
    }

    /// The snapshots of these ids, as far as they exist.
    pub(crate) async fn snapshots_named(
        &self,
        ids: &[SnapshotId],
    ) -> Result<HashMap<SnapshotId, Snapshot>, StoreError> {
        self.named("SELECT * FROM snapshot WHERE snapshot_id IN ", ids, "read snapshots", snapshot, |s| &s.id).await
    }

    /// Up to `limit` snapshots behind `after`, newest first; of one image if it is given.
    pub(crate) async fn snapshots(
        &self,
        image: Option<&ImageId>,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<Snapshot>, StoreError> {
        let (whose, image) = of("image_id", image);
        let sql = format!(
            "SELECT * FROM snapshot WHERE {whose} AND created_at <= $2 AND (created_at < $2 OR snapshot_id < $3) \
             ORDER BY created_at DESC, snapshot_id DESC LIMIT $4"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(image)
            .page(after, Order::NewestFirst, limit)
            .all(self.reader(), "list snapshots", snapshot)
            .await
    }

    /// These images with their volumes, boot disk first.
    async fn with_volumes(&self, alone: Vec<Image>) -> Result<Vec<Image>, StoreError> {
        let ids: Vec<ImageId> = alone.iter().map(|image| image.id.clone()).collect();
        let head = "SELECT * FROM image_volume WHERE image_id IN ";
        let rows = self.of_all(head, &ids, " ORDER BY image_id, volume", "read the volumes of images", |row| {
            Ok((Fields(row).id::<ImageId>("image_id")?, image_volume(row)?))
        });
        let mut volumes: HashMap<ImageId, Vec<ImageVolume>> = HashMap::with_capacity(ids.len());
        for (image, volume) in rows.await? {
            volumes.entry(image).or_default().push(volume);
        }
        let with = |image: Image| Image { volumes: volumes.remove(&image.id).unwrap_or_default(), ..image };
        Ok(alone.into_iter().map(with).collect())
    }
}

/// Records the image of a run whose registration is done: the image, its snapshots, the job's new baselines. Images
/// beyond the number that the job keeps are taken off the lists.
pub(super) async fn record_image(tx: &mut Tx, run: &RunRecord, now: Timestamp) -> Result<(), StoreError> {
    let what = "record an image";
    let image = run.image.as_ref().ok_or_else(|| StoreError::unreadable("the image of a run", "nothing"))?;
    let job = locked_job(tx, &run.job).await?.ok_or(StoreError::Stale)?;
    let name = sqlx::query("SELECT name FROM server WHERE server_id = $1")
        .bind(job.settings.server.to_string())
        .one(&mut **tx, what, |row| Fields(row).text("name"))
        .await?;
    let volumes = sqlx::query("SELECT * FROM run_volume WHERE run_id = $1 ORDER BY place")
        .bind(run.id.to_string())
        .all(&mut **tx, what, volume_record)
        .await?;
    let key = run.key.as_ref().ok_or_else(|| StoreError::unreadable("the key of a run", "nothing"))?;
    let created = run.stage_started_at.unwrap_or(now);
    sqlx::query(
        "INSERT INTO image (image_id, number, job_id, run_id, server_id, server_name, description, size, created_at, \
         key_id, key_version, deleting) \
         VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM image), $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)",
    )
    .bind(image.to_string())
    .bind(run.job.to_string())
    .bind(run.id.to_string())
    .bind(job.settings.server.to_string())
    .bind(name.clone())
    .bind(format!("{name}, made by {} of {}", run.id, run.job))
    .bind(to_sql(volumes.iter().map(|v| v.figures.bytes_total).sum::<u64>()))
    .bind(created.0)
    .bind(key.id.to_string())
    .bind(i64::from(key.version))
    .run(&mut **tx, what)
    .await?;
    for (place, volume) in volumes.iter().enumerate() {
        record_image_volume(tx, run, image, &job.settings.server, created, place, volume).await?;
    }
    match job.settings.keep_images {
        None | Some(0) => Ok(()),
        Some(keep) => keep_newest(tx, &run.job, keep).await,
    }
}

/// Records one volume of an image: its place, its snapshot, the job's new baseline. There is none if the baseline that
/// the run was built on was forgotten meanwhile: blocks that it shares may be damaged.
async fn record_image_volume(
    tx: &mut Tx,
    run: &RunRecord,
    image: &ImageId,
    server: &ServerId,
    created: Timestamp,
    place: usize,
    volume: &VolumeRecord,
) -> Result<(), StoreError> {
    let what = "record an image";
    let digest = volume.root_digest.clone().ok_or_else(|| StoreError::unreadable("a root digest", "nothing"))?;
    sqlx::query(
        "INSERT INTO image_volume (image_id, volume, device, size, snapshot_id, root_digest) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(image.to_string())
    .bind(to_sql(place))
    .bind(volume.device.clone())
    .bind(to_sql(volume.figures.bytes_total))
    .bind(volume.snapshot.to_string())
    .bind(digest.clone())
    .run(&mut **tx, what)
    .await?;
    sqlx::query(
        "INSERT INTO snapshot (snapshot_id, image_id, run_id, server_id, device, size, root_digest, parent_id, \
         created_at, bytes_stored, key_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
    .bind(super::keys::id_of(run)?.to_string())
    .run(&mut **tx, what)
    .await?;
    if let Some(parent) = &volume.parent {
        let is_trusted =
            sqlx::query("SELECT run_id FROM baseline WHERE job_id = $1 AND device = $2 AND snapshot_id = $3")
                .bind(run.job.to_string())
                .bind(volume.device.clone())
                .bind(parent.to_string())
                .exists(&mut **tx, what)
                .await?;
        if !is_trusted {
            return Ok(());
        }
    }
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
    .run(&mut **tx, what)
    .await?;
    repaired(tx, &run.job, &volume.device, &volume.repairs).await
}

/// Takes the oldest images of a job off the lists, down to `keep`.
async fn keep_newest(tx: &mut Tx, job: &JobId, keep: u32) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE image SET deleting = 1 WHERE job_id = $1 AND deleting = 0 AND image_id NOT IN \
         (SELECT image_id FROM image WHERE job_id = $1 AND deleting = 0 \
         ORDER BY number DESC LIMIT $2)",
    )
    .bind(job.to_string())
    .bind(i64::from(keep))
    .run(&mut **tx, "take old images off the lists")
    .await?;
    Ok(())
}

/// An image without its volumes.
fn image_alone(row: &AnyRow) -> Result<Image, StoreError> {
    let fields = Fields(row);
    Ok(Image {
        id: fields.id("image_id")?,
        description: fields.text("description")?,
        job: fields.id("job_id")?,
        run: fields.id("run_id")?,
        server: fields.id("server_id")?,
        server_name: fields.text("server_name")?,
        created_at: fields.time("created_at")?,
        size: fields.number("size")?,
        key: fields.id("key_id")?,
        key_version: fields.number("key_version")?,
        volumes: Vec::new(),
        verification: verification(&fields)?,
    })
}

fn image_volume(row: &AnyRow) -> Result<ImageVolume, StoreError> {
    let fields = Fields(row);
    Ok(ImageVolume {
        volume: fields.number("volume")?,
        device: fields.text("device")?,
        size: fields.number("size")?,
        snapshot: fields.id("snapshot_id")?,
        root_digest: fields.text("root_digest")?,
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
        size: fields.number("size")?,
        root_digest: fields.text("root_digest")?,
        parent: fields.opt_id("parent_id")?,
        created_at: fields.time("created_at")?,
        bytes_stored: fields.number("bytes_stored")?,
        key: fields.id("key_id")?,
    })
}
