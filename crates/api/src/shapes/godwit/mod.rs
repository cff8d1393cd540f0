//! Shapes of Godwit's own operations: what the SMS API has no words for.
//!
//! Written by hand in the manner of the generated ones, and used by the command line as they are here.

use super::enums::{
    ConnectorStatus, ReplicationJobState, ReplicationRunState, ReplicationRunType, ServerCatalogStatus,
};
use super::epoch::EpochSeconds;
use super::rule::{BOOLEAN, COUNT, INTEGER, Rule, Structure, TEXT, optional, required};

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

const LICENSE: Rule = Rule::OneOf(&["AWS", "BYOL"]);

operations! {
    /// Associates a VM manager as a connector.
    AssociateConnector, [required("name", TEXT), required("type", Rule::OneOf(&["QMP"])), required("socket", TEXT)];
    /// Lists connectors with what `GetConnectors` has no room for.
    DescribeConnectors,
        [optional("connectorIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Lists servers with what `GetServers` has no room for, those that vanished too.
    DescribeServers,
        [optional("serverIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Creates a job: the seed service's members and more.
    CreateReplicationJob,
        [required("serverId", TEXT), optional("seedReplicationTime", Rule::Timestamp), optional("frequency", INTEGER),
         optional("intervalMinutes", INTEGER), optional("runOnce", BOOLEAN), optional("licenseType", LICENSE),
         optional("roleName", TEXT), optional("description", TEXT), optional("numberOfRecentAmisToKeep", INTEGER),
         optional("encrypted", BOOLEAN), optional("kmsKeyId", TEXT), optional("recipients", Rule::List(&TEXT)),
         optional("pauseOnFailure", BOOLEAN), optional("pauseAfterFailures", INTEGER)];
    /// Changes what it is sent of a job.
    UpdateReplicationJob,
        [required("replicationJobId", TEXT), optional("frequency", INTEGER), optional("intervalMinutes", INTEGER),
         optional("nextReplicationRunStartTime", Rule::Timestamp), optional("licenseType", LICENSE),
         optional("roleName", TEXT), optional("description", TEXT), optional("numberOfRecentAmisToKeep", INTEGER),
         optional("encrypted", BOOLEAN), optional("kmsKeyId", TEXT), optional("recipients", Rule::List(&TEXT)),
         optional("pauseOnFailure", BOOLEAN), optional("pauseAfterFailures", INTEGER)];
    /// A job that is paused on failure goes on.
    ResumeReplicationJob,
        [required("replicationJobId", TEXT), optional("nextReplicationRunStartTime", Rule::Timestamp)];
    /// Lists jobs with what `GetReplicationJobs` has no room for.
    DescribeReplicationJobs,
        [optional("replicationJobIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
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
    /// Creates a named key.
    CreateKey, [optional("description", TEXT), optional("alias", TEXT)];
    /// Lists keys.
    DescribeKeys,
        [optional("keyIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Changes what it is sent of a key.
    UpdateKey, [required("keyId", TEXT), optional("description", TEXT)];
    /// Makes a new version of a key, under which everything is encrypted from then on.
    RotateKey, [required("keyId", TEXT)];
    /// Lets a key be used again.
    EnableKey, [required("keyId", TEXT)];
    /// Lets nobody use a key.
    DisableKey, [required("keyId", TEXT)];
    /// Makes a key the one of all jobs that name none.
    SetDefaultKey, [required("keyId", TEXT)];
    /// Gives a key an alias.
    CreateAlias, [required("alias", TEXT), required("keyId", TEXT)];
    /// Takes an alias from its key.
    DeleteAlias, [required("alias", TEXT)];
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

mod connectors;
mod images;
mod jobs;
mod keys;
mod runs;
mod servers;

pub use connectors::*;
pub use images::*;
pub use jobs::*;
pub use keys::*;
pub use runs::*;
pub use servers::*;

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
    ReplicationJobState,
    ServerCatalogStatus,
    ReplicationRunState,
    ReplicationRunType,
    VerificationState,
    Verification,
    KeyState,
    KeyDescription
);

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
