//! Shapes of Godwit's own operations: what the SMS API has no words for.
//!
//! Written by hand in the manner of the generated ones, and used by the command line as they are here.

use super::enums::{ConnectorStatus, ReplicationRunState, ReplicationRunType};
use super::epoch::EpochSeconds;
use super::rule::{COUNT, INTEGER, Rule, Structure, TEXT, optional, required};
use serde::{Deserialize, Serialize};

/// What precedes the operation's name in `X-Amz-Target`.
pub const TARGET_PREFIX: &str = "Godwit_V1";

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident, [$($member:expr),*];)*) => {
        /// One of our own operations.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum OwnOperation { $($(#[$doc])* $name,)* }

        impl OwnOperation {
            /// Every one, in the order of this file.
            pub const ALL: &[OwnOperation] = &[$(OwnOperation::$name,)*];

            /// Its name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(OwnOperation::$name => stringify!($name),)* }
            }

            /// What its request must obey.
            pub const fn rules(self) -> &'static Structure {
                match self {
                    $(OwnOperation::$name => {
                        static RULES: Structure = Structure(&[$($member),*]);
                        &RULES
                    })*
                }
            }
        }
    };
}

operations! {
    /// Associates a VM manager as a connector.
    AssociateConnector, [required("name", TEXT), required("type", Rule::OneOf(&["QMP"])), required("socket", TEXT)];
    /// Lists connectors with what `GetConnectors` has no room for.
    DescribeConnectors,
        [optional("connectorIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Lists runs with their figures.
    DescribeReplicationRuns,
        [optional("replicationRunIds", Rule::List(&TEXT)), optional("replicationJobId", TEXT),
         optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Lists images with their verification.
    DescribeImages,
        [optional("imageIds", Rule::List(&TEXT)), optional("replicationJobId", TEXT),
         optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Lists snapshots.
    DescribeSnapshots,
        [optional("snapshotIds", Rule::List(&TEXT)), optional("imageId", TEXT),
         optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Begins to re-read a whole image and to compare it with the digests taken from the source.
    StartImageVerification, [required("imageId", TEXT)];
    /// Says where a volume of an image holds data.
    ListImageExtents,
        [required("imageId", TEXT), required("volume", COUNT), optional("from", COUNT), optional("maxResults", INTEGER)];
    /// Reads bytes of a volume of an image. The answer's body is these bytes.
    ReadImage,
        [required("imageId", TEXT), required("volume", COUNT), required("offset", COUNT), required("length", COUNT)];
    /// Removes an image and its snapshots.
    DeleteImage, [required("imageId", TEXT)];
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "Absent::is_absent")]
                pub $field: $type,
            )*
        }
    )*};
}

/// Whether a member is left out of the JSON.
trait Absent {
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {}

macro_rules! always_written {
    ($($type:ty),*) => {$(impl Absent for $type {})*};
}

always_written!(String, bool, u32, u64, f64, EpochSeconds);
always_written!(
    ConnectorType,
    ConnectorStatus,
    ReplicationRunState,
    ReplicationRunType,
    VerificationState,
    Verification
);

/// Kind of a connector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectorType {
    /// QEMU guests and storage daemons by their QMP sockets.
    Qmp,
}

/// State of an image's verification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
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
    /// Request of `AssociateConnector`.
    AssociateConnectorRequest {
        /// What people call it.
        name: String,
        /// Kind.
        r#type: ConnectorType,
        /// Absolute path of a QMP socket, or of a folder of them, where the service runs.
        socket: String,
    }

    /// Answer of `AssociateConnector`.
    AssociateConnectorResponse {
        /// The new connector's id.
        connector_id: String,
    }

    /// Request of `DescribeConnectors`.
    #[derive(Default)]
    DescribeConnectorsRequest {
        /// Only these.
        connector_ids: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeConnectors`.
    DescribeConnectorsResponse {
        /// The connectors.
        connectors: Vec<ConnectorDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A connector.
    ConnectorDescription {
        /// Its id.
        connector_id: String,
        /// What people call it.
        name: String,
        /// Kind.
        r#type: ConnectorType,
        /// Path of its socket or folder of sockets.
        socket: String,
        /// Whether the last contact succeeded.
        status: ConnectorStatus,
        /// Why it is unhealthy.
        status_reason: Option<String>,
        /// Stable id of the VM manager.
        manager_id: String,
        /// What people call the VM manager.
        manager_name: String,
        /// The VM manager's version.
        manager_version: String,
        /// When it was associated.
        associated_on: EpochSeconds,
        /// When the VM manager last answered.
        last_contact_on: EpochSeconds,
    }

    /// Request of `DescribeReplicationRuns`.
    #[derive(Default)]
    DescribeReplicationRunsRequest {
        /// Only these.
        replication_run_ids: Option<Vec<String>>,
        /// Only those of this job.
        replication_job_id: Option<String>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeReplicationRuns`.
    DescribeReplicationRunsResponse {
        /// The runs, newest first.
        runs: Vec<RunDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A run with its figures.
    RunDescription {
        /// Its id.
        replication_run_id: String,
        /// Its job.
        replication_job_id: String,
        /// State.
        state: ReplicationRunState,
        /// What started it.
        r#type: ReplicationRunType,
        /// For people.
        description: Option<String>,
        /// The stage at work, or the one that a failed run ended in.
        stage: Option<String>,
        /// When that stage began.
        stage_started_on: Option<EpochSeconds>,
        /// How far the stage has come, 0 to 100.
        percent: f64,
        /// Pace over the last seconds.
        bytes_per_second: Option<f64>,
        /// How long the stage still takes at that pace.
        seconds_left: Option<f64>,
        /// When it is or was due.
        scheduled_start_time: EpochSeconds,
        /// When it began.
        started_on: Option<EpochSeconds>,
        /// When it ended.
        completed_time: Option<EpochSeconds>,
        /// The image it made.
        image_id: Option<String>,
        /// `CRASH` or `FILE_SYSTEM`.
        consistency: Option<String>,
        /// When the point in time was taken.
        point_in_time: Option<EpochSeconds>,
        /// What the operator should know.
        notes: Vec<String>,
        /// The failure that is being waited out before the stage is tried again.
        retrying_after: Option<String>,
        /// Why it failed.
        failure: Option<FailureDescription>,
        /// Its volumes, boot disk first.
        volumes: Vec<RunVolumeDescription>,
    }

    /// Why something failed, and what to do.
    FailureDescription {
        /// Stable code.
        code: String,
        /// What was seen.
        evidence: String,
        /// What to do.
        next_step: String,
    }

    /// A volume in a run.
    RunVolumeDescription {
        /// Stable name within the server.
        device: String,
        /// Its snapshot, once committed.
        snapshot_id: Option<String>,
        /// Virtual size.
        bytes_total: u64,
        /// How far the walk over the volume has come.
        bytes_done: u64,
        /// Bytes asked from the source.
        bytes_read: u64,
        /// Bytes handed to the store.
        bytes_sent: u64,
        /// Bytes of those that are durable and belong to the snapshot.
        bytes_stored: u64,
        /// Bytes that had been on their way before and were sent again.
        bytes_resent: u64,
        /// Bytes re-read and compared.
        bytes_verified: u64,
        /// Digest over the whole volume, once committed.
        root_digest: Option<String>,
        /// The run's: all volumes show the same moment.
        consistency: Option<String>,
        /// Whether only tracked changes were read.
        tracked: bool,
        /// What the operator should know.
        notes: Vec<String>,
    }

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

    /// A range of bytes that hold data.
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
        /// How many bytes, at most a mebibyte.
        length: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out_and_lists_are_always_there() {
        let verification = Verification {
            state: VerificationState::Unverified,
            verified_on: None,
            bytes_verified: None,
            bytes_total: Some(7),
            damaged: vec![],
            message: None,
        };
        let text = r#"{"state":"UNVERIFIED","bytesTotal":7,"damaged":[]}"#;
        assert_eq!(serde_json::to_string(&verification).unwrap(), text);
        assert_eq!(serde_json::from_str::<Verification>(text).unwrap(), verification);
        assert_eq!(serde_json::to_string(&DescribeImagesRequest::default()).unwrap(), "{}");
        assert_eq!(serde_json::to_string(&NoAnswer {}).unwrap(), "{}");
    }

    #[test]
    fn the_socket_of_a_connector_is_named_as_documented() {
        let text = r#"{"name":"n","type":"QMP","socket":"/run/qmp"}"#;
        let request: AssociateConnectorRequest = serde_json::from_str(text).unwrap();
        assert_eq!((request.r#type, request.socket.as_str()), (ConnectorType::Qmp, "/run/qmp"));
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}
