//! Images and snapshots.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

/// State of an image's verification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VerificationState {
    /// Nobody asked for it since the run that made the image verified what it stored.
    Unverified,
    /// At work.
    Running,
    /// Every block is what was read from the source.
    Verified,
    /// Some are not.
    Damaged,
    /// It could not be found out.
    Failed,
}

shapes! {
    /// Request of `DescribeImages`.
    #[derive(Default)]
    DescribeImagesRequest {
        /// Only these.
        image_ids: Option<Vec<String>>,
        /// Only those of this job.
        replication_job_id: Option<String>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeImages`.
    DescribeImagesResponse {
        /// The images, newest first.
        images: Vec<ImageDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// An image.
    ImageDescription {
        /// Its id.
        image_id: String,
        /// Which job and run made it, in the seed service's words.
        description: String,
        /// The job that made it.
        replication_job_id: String,
        /// The run that made it.
        replication_run_id: String,
        /// Of which server.
        server_id: String,
        /// The server's name then.
        server_name: String,
        /// When it was registered.
        created_on: EpochSeconds,
        /// Sum of its volumes' sizes.
        size_bytes: u64,
        /// What it is encrypted with.
        key_id: Option<String>,
        /// The latest version of the key that a part of what its run stored is under.
        key_version: Option<u32>,
        /// Its volumes, boot disk first.
        volumes: Vec<ImageVolumeDescription>,
        /// What is known of its being undamaged.
        verification: Verification,
    }

    /// A volume of an image.
    ImageVolumeDescription {
        /// Its place in the image, from 0.
        volume: u32,
        /// The device's name within the server.
        device: String,
        /// Size in bytes.
        size: u64,
        /// Its snapshot.
        snapshot_id: String,
        /// Digest over the whole volume.
        root_digest: String,
    }

    /// What the last verification found, or how far it has come.
    Verification {
        /// State.
        state: VerificationState,
        /// When it ended.
        verified_on: Option<EpochSeconds>,
        /// Bytes re-read so far.
        bytes_verified: Option<u64>,
        /// Bytes to re-read.
        bytes_total: Option<u64>,
        /// Ranges that are damaged.
        damaged: Vec<DamagedRange>,
        /// What went wrong.
        message: Option<String>,
    }

    /// A damaged range of a volume.
    DamagedRange {
        /// Which volume.
        volume: u32,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    }

    /// Request of `DescribeSnapshots`.
    #[derive(Default)]
    DescribeSnapshotsRequest {
        /// Only these.
        snapshot_ids: Option<Vec<String>>,
        /// Only those of this image.
        image_id: Option<String>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeSnapshots`.
    DescribeSnapshotsResponse {
        /// The snapshots, newest first.
        snapshots: Vec<SnapshotDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A snapshot.
    SnapshotDescription {
        /// Its id.
        snapshot_id: String,
        /// The image it belongs to; absent once that is deleted.
        image_id: Option<String>,
        /// The run that made it.
        replication_run_id: String,
        /// Of which server.
        server_id: String,
        /// Of which device.
        device: String,
        /// Size in bytes.
        size: u64,
        /// Digest over the whole volume.
        root_digest: String,
        /// The snapshot it was made against.
        parent_snapshot_id: Option<String>,
        /// When it was committed.
        created_on: EpochSeconds,
        /// Bytes that it added to the store.
        bytes_stored: u64,
        /// What it is encrypted with.
        key_id: Option<String>,
    }

    /// Request of `StartImageVerification` and of `DeleteImage`.
    ImageRequest {
        /// Which image.
        image_id: String,
    }

    /// Answer of the operations that have nothing to say.
    NoAnswer {}

    /// Request of `ListImageExtents`.
    #[derive(Default)]
    ListImageExtentsRequest {
        /// Which image.
        image_id: String,
        /// Which volume, from 0.
        volume: u64,
        /// From which byte on.
        from: Option<u64>,
        /// How many extents at most.
        max_results: Option<i32>,
    }

    /// Answer of `ListImageExtents`.
    ListImageExtentsResponse {
        /// Size of the volume.
        size: u64,
        /// Where it holds data, sorted; what lies between is zeros.
        extents: Vec<DataExtent>,
        /// From which byte to go on; absent at the end of the volume.
        next: Option<u64>,
    }

    /// Request of `ListImageChanges`.
    #[derive(Default)]
    ListImageChangesRequest {
        /// Which image.
        image_id: String,
        /// Which volume of it, from 0.
        volume: u64,
        /// The image that it is compared with, by the volume of the same device; of the same key.
        base_image_id: String,
        /// From which byte on.
        from: Option<u64>,
        /// How many extents at most.
        max_results: Option<i32>,
    }

    /// Answer of `ListImageChanges`.
    ListImageChangesResponse {
        /// Size of the larger one of the two volumes.
        size: u64,
        /// Where the contents differ, in whole blocks, sorted. What is behind the end of a volume counts as zeros.
        changes: Vec<DataExtent>,
        /// From which byte to go on; absent at the end of the volumes.
        next: Option<u64>,
    }

    /// A range of bytes.
    DataExtent {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    }

    /// Request of `ReadImage`. The answer is the bytes themselves.
    ReadImageRequest {
        /// Which image.
        image_id: String,
        /// Which volume, from 0.
        volume: u64,
        /// First byte.
        offset: u64,
        /// How many bytes, at most two mebibytes.
        length: u64,
    }
}
