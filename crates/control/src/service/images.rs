//! Images and snapshots: list, verify, read, delete.

use super::page::{only, paged};
use super::{Answer, MAX_READ, Page, Paged, Service, ServiceError};
use bytes::Bytes;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, JobId, KeyId, RunId, ServerId, SnapshotId};
use godwit_model::time::Timestamp;

/// Extents on a page if the caller does not say.
const DEFAULT_EXTENTS: i64 = 1_000;

/// Extents on a page at most: an answer stays below a megabyte.
const MOST_EXTENTS: usize = 10_000;

/// Which images.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ImagesFilter {
    /// Exactly these, on one page.
    pub image_ids: Option<Vec<String>>,
    /// Only those of this job.
    pub job_id: Option<String>,
}

/// Which snapshots.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SnapshotsFilter {
    /// Exactly these, on one page.
    pub snapshot_ids: Option<Vec<String>>,
    /// Only those of this image.
    pub image_id: Option<String>,
}

/// A bootable image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// For people: which server, job and run.
    pub description: String,
    /// The job that made it.
    pub job: JobId,
    /// The run that made it.
    pub run: RunId,
    /// Of which server.
    pub server: ServerId,
    /// The server's name then.
    pub server_name: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Sum of its volumes' sizes.
    pub size: u64,
    /// What it is encrypted with.
    pub key: KeyId,
    /// The latest version of the key that a pack of its run is under.
    pub key_version: u32,
    /// Its volumes, boot disk first.
    pub volumes: Vec<ImageVolume>,
    /// The last verification that was asked for.
    pub verification: Verification,
}

/// A volume of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageVolume {
    /// Its place in the image, from 0.
    pub volume: u32,
    /// The device's name within the server.
    pub device: String,
    /// Size in bytes.
    pub size: u64,
    /// Its snapshot.
    pub snapshot: SnapshotId,
    /// Digest over the whole volume.
    pub root_digest: String,
}

/// State of an image's verification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VerificationState {
    /// Nobody asked for it. (The run that made the image verified what it stored.)
    Unverified,
    /// At work.
    Running,
    /// Every block is what was read from the source.
    Verified,
    /// Some are not: see the damaged ranges.
    Damaged,
    /// It could not be found out: see the message.
    Failed,
}

impl VerificationState {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerificationState::Unverified => "UNVERIFIED",
            VerificationState::Running => "RUNNING",
            VerificationState::Verified => "VERIFIED",
            VerificationState::Damaged => "DAMAGED",
            VerificationState::Failed => "FAILED",
        }
    }
}

/// What the last verification found, or how far it has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// State.
    pub state: VerificationState,
    /// When it ended.
    pub verified_at: Option<Timestamp>,
    /// Bytes re-read so far.
    pub bytes_verified: Option<u64>,
    /// Bytes to re-read.
    pub bytes_total: Option<u64>,
    /// Ranges that are damaged.
    pub damaged: Vec<DamagedRange>,
    /// What went wrong.
    pub message: Option<String>,
}

/// A damaged range of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DamagedRange {
    /// Which volume.
    pub volume: u32,
    /// Which bytes.
    pub extent: Extent,
}

/// The content of one volume at one point in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The image it belongs to; `None` once that is deleted.
    pub image: Option<ImageId>,
    /// The run that made it.
    pub run: RunId,
    /// Of which server.
    pub server: ServerId,
    /// Of which device.
    pub device: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest over the whole volume.
    pub root_digest: String,
    /// The snapshot it was made against.
    pub parent: Option<SnapshotId>,
    /// When it was committed.
    pub created_at: Timestamp,
    /// Bytes that it added to the store.
    pub bytes_stored: u64,
    /// What it is encrypted with.
    pub key: KeyId,
}

/// A page of where a volume of an image holds data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtentList {
    /// Size of the volume.
    pub size: u64,
    /// Sorted, not touching; what lies between is zeros.
    pub extents: Vec<Extent>,
    /// Where to go on; `None` at the end of the volume.
    pub next: Option<u64>,
}

impl Service {
    /// `DescribeImages`: newest first.
    pub async fn describe_images(&self, filter: &ImagesFilter, page: &Page) -> Answer<Paged<Image>> {
        let store = &self.line.store;
        if let Some(ids) = &filter.image_ids {
            let read = async |ids: &[ImageId]| store.images_named(ids).await;
            let found = only(ids, "image", "images", page, read).await?;
            return Ok(found.map(|image| self.with_progress(image)));
        }
        let job = match &filter.job_id {
            Some(id) => Some(self.job_named(id).await?.id),
            None => None,
        };
        let read = |after, limit| store.images(job.as_ref(), after, limit);
        let rows = paged(page, "images", read, |i| (i.created_at.0, i.id.to_string())).await?;
        Ok(rows.map(|image| self.with_progress(image)))
    }

    /// `DescribeSnapshots`: newest first.
    pub async fn describe_snapshots(&self, filter: &SnapshotsFilter, page: &Page) -> Answer<Paged<Snapshot>> {
        let store = &self.line.store;
        if let Some(ids) = &filter.snapshot_ids {
            let read = async |ids: &[SnapshotId]| store.snapshots_named(ids).await;
            return only(ids, "snapshot", "snapshots", page, read).await;
        }
        let image = match &filter.image_id {
            Some(id) => Some(self.image_named(id).await?.id),
            None => None,
        };
        let read = |after, limit| store.snapshots(image.as_ref(), after, limit);
        paged(page, "snapshots", read, |s| (s.created_at.0, s.id.to_string())).await
    }

    /// `StartImageVerification`: re-reads everything in the background. While one is at work another request changes
    /// nothing.
    pub async fn start_image_verification(&self, image_id: &str, now: Timestamp) -> Answer<()> {
        let image = self.image_named(image_id).await?;
        self.check_readable(&image, now).await?;
        if !self.line.store.begin_verification(&image.id, now).await? {
            return Err(no_such_image(&image.id));
        }
        self.line.wake.notify_one();
        Ok(())
    }

    /// `ListImageExtents`: up to `limit` (1,000 if absent, 10,000 at most) extents of data from `from` on.
    pub async fn list_image_extents(
        &self,
        image_id: &str,
        volume: i64,
        from: Option<i64>,
        limit: Option<i64>,
    ) -> Answer<ExtentList> {
        let volume = self.volume(image_id, volume).await?;
        let (from, limit) = piece(from, limit, volume.size)?;
        let page =
            self.ask("the list of extents", self.line.images.data_extents(&volume.snapshot, from, limit)).await?;
        Ok(ExtentList { size: volume.size, extents: page.extents, next: page.next })
    }

    /// `ListImageChanges`: where a volume of an image is another than the volume of the same device in `base_id`, an image
    /// of the same key: pieces like those of [`Service::list_image_extents`], of the larger of the two.
    pub async fn list_image_changes(
        &self,
        base_id: &str,
        image_id: &str,
        volume: i64,
        from: Option<i64>,
        limit: Option<i64>,
    ) -> Answer<ExtentList> {
        let (base, image) = (self.image_named(base_id).await?, self.image_named(image_id).await?);
        let volume = volume_of(&image, volume)?;
        let was = base.volumes.iter().find(|v| v.device == volume.device).ok_or_else(|| {
            let devices: Vec<_> = base.volumes.iter().map(|v| v.device.as_str()).collect();
            let what = format!("{base_id} has no volume of device {}: it has {}", volume.device, devices.join(", "));
            ServiceError::invalid(what)
        })?;
        if base.key != image.key {
            let what = format!(
                "{base_id} is encrypted with {} and {image_id} with {}: digests compare under one key only; read both \
                 and compare the bytes",
                base.key, image.key
            );
            return Err(ServiceError::not_permitted(what));
        }
        let size = was.size.max(volume.size);
        let (from, limit) = piece(from, limit, size)?;
        self.begin_read(&base).await?;
        self.begin_read(&image).await?;
        let images = &self.line.images;
        let compared = images.changed_extents(&was.snapshot, &volume.snapshot, from, limit);
        let page = self.ask("the comparison", compared).await?;
        Ok(ExtentList { size, extents: page.extents, next: page.next })
    }

    /// `ReadImage`: exactly `length` bytes (1 to [`super::MAX_READ`]) of a volume.
    pub async fn read_image(&self, image_id: &str, volume: i64, offset: i64, length: i64) -> Answer<Bytes> {
        let volume = self.volume(image_id, volume).await?;
        let extent = match (u64::try_from(offset), u64::try_from(length)) {
            (Ok(offset), Ok(length)) if (1..=MAX_READ).contains(&length) => Extent::new(offset, length),
            _ => None,
        };
        let extent = extent.filter(|e| e.end() <= volume.size).ok_or_else(|| {
            ServiceError::invalid(format!(
                "offset {offset} and length {length}: give 1 to {MAX_READ} bytes within the {} of the volume",
                volume.size
            ))
        })?;
        let read = async {
            let bytes = self.line.images.read(&volume.snapshot, extent).await;
            if bytes.as_ref().is_err_and(|failure| failure.code == Code::StoreCorrupt) {
                self.suspect(image_id, &volume.device, extent).await;
            }
            bytes
        };
        let bytes = self.ask("reading the image", read).await?;
        if bytes.len() as u64 != extent.length {
            let what = format!("the store gave {} of {} bytes", bytes.len(), extent.length);
            return Err(ServiceError::from_failure(&Failure::new(Code::Internal, what)));
        }
        Ok(bytes)
    }

    /// `DeleteImage`: gone from all lists at once; removed from the store in the background.
    pub async fn delete_image(&self, image_id: &str, _now: Timestamp) -> Answer<()> {
        let id: ImageId = image_id.parse()?;
        if !self.line.store.begin_image_deletion(&id).await? {
            return Err(no_such_image(&id));
        }
        self.line.wake.notify_one();
        Ok(())
    }

    /// What is damaged may be shared with the newest snapshot of the image's job: its next run does not build on it.
    async fn suspect(&self, image_id: &str, device: &str, extent: Extent) {
        let Ok(image) = image_id.parse() else { return };
        if let Err(error) = self.line.store.suspect_of_image(&image, device, &[extent]).await {
            tracing::warn!(%image, error = %error.to_failure(), "the next run may build on damaged data");
        }
    }

    async fn image_named(&self, id: &str) -> Answer<Image> {
        let id: ImageId = id.parse()?;
        self.line.store.image(&id).await?.ok_or_else(|| no_such_image(&id))
    }

    async fn volume(&self, image_id: &str, volume: i64) -> Answer<ImageVolume> {
        let image = self.image_named(image_id).await?;
        self.begin_read(&image).await?;
        volume_of(&image, volume).cloned()
    }

    /// Refuses to read an image whose key is disabled, and puts on record that it is read.
    async fn begin_read(&self, image: &Image) -> Answer<()> {
        let now = self.line.now();
        self.check_readable(image, now).await?;
        self.note_read(image, None, now).await
    }

    fn with_progress(&self, mut image: Image) -> Image {
        if image.verification.state == VerificationState::Running
            && let Some(bytes) = self.line.progress.image(&image.id)
        {
            image.verification.bytes_verified = Some(bytes);
        }
        image
    }
}

/// The volume of this number.
fn volume_of(image: &Image, volume: i64) -> Answer<&ImageVolume> {
    image.volumes.iter().find(|v| i64::from(v.volume) == volume).ok_or_else(|| {
        let last = image.volumes.len().saturating_sub(1);
        ServiceError::invalid(format!("{} has no volume {volume}: give 0 to {last}", image.id))
    })
}

/// From where on in a volume of `size` bytes, and how many extents at most.
fn piece(from: Option<i64>, limit: Option<i64>, size: u64) -> Answer<(u64, usize)> {
    let from = u64::try_from(from.unwrap_or(0)).ok().filter(|f| *f <= size);
    let from = from.ok_or_else(|| ServiceError::invalid(format!("from: give 0 to {size}")))?;
    let limit = usize::try_from(limit.unwrap_or(DEFAULT_EXTENTS)).ok().filter(|n| *n >= 1);
    let limit = limit.ok_or_else(|| ServiceError::invalid("maxResults: give a number from 1 on"))?;
    Ok((from, limit.min(MOST_EXTENTS)))
}

fn no_such_image(id: &ImageId) -> ServiceError {
    ServiceError::invalid(format!("there is no image {id}"))
}
