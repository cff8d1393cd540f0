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

const LICENSE: Rule = Rule::OneOf(&["AWS", "BYOL", "AUTO"]);

operations! {
    /// Associates a VM manager as a connector.
    AssociateConnector, [required("name", TEXT), required("type", Rule::OneOf(&["QMP"])), required("socket", TEXT)];
    /// Lists connectors with what `GetConnectors` has no room for.
    DescribeConnectors,
        [optional("connectorIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Changes what it is sent of a connector.
    UpdateConnector,
        [required("connectorId", TEXT), optional("name", TEXT), optional("socket", TEXT), optional("bandwidthCap", TEXT)];
    /// Asks a VM manager who it is and what it offers, and associates nothing. Not called by a verb that reads: it lets
    /// the service open whatever path it is given, which is more than to show what is there.
    TestConnector, [required("type", Rule::OneOf(&["QMP"])), required("socket", TEXT)];
    /// Lists servers with what `GetServers` has no room for, those that vanished too.
    DescribeServers,
        [optional("serverIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Creates a job: the seed service's members and more.
    CreateReplicationJob,
        [required("serverId", TEXT), optional("seedReplicationTime", Rule::Timestamp), optional("frequency", INTEGER),
         optional("intervalMinutes", INTEGER), optional("runOnce", BOOLEAN), optional("licenseType", LICENSE),
         optional("roleName", TEXT), optional("description", TEXT), optional("numberOfRecentAmisToKeep", INTEGER),
         optional("encrypted", BOOLEAN), optional("kmsKeyId", TEXT), optional("recipients", Rule::List(&TEXT)),
         optional("pauseOnFailure", BOOLEAN), optional("pauseAfterFailures", INTEGER),
         optional("bandwidthCap", TEXT)];
    /// Changes what it is sent of a job.
    UpdateReplicationJob,
        [required("replicationJobId", TEXT), optional("frequency", INTEGER), optional("intervalMinutes", INTEGER),
         optional("nextReplicationRunStartTime", Rule::Timestamp), optional("licenseType", LICENSE),
         optional("roleName", TEXT), optional("description", TEXT), optional("numberOfRecentAmisToKeep", INTEGER),
         optional("encrypted", BOOLEAN), optional("kmsKeyId", TEXT), optional("recipients", Rule::List(&TEXT)),
         optional("pauseOnFailure", BOOLEAN), optional("pauseAfterFailures", INTEGER),
         optional("bandwidthCap", TEXT)];
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
    /// Changes a run that is at work or still to come.
    UpdateReplicationRun, [required("replicationRunId", TEXT), required("bandwidthCap", TEXT)];
    /// Says what a job's runs will read, store and take.
    GetForecast, [required("replicationJobId", TEXT)];
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
    /// Says where a volume of an image is another than in an image before.
    ListImageChanges,
        [required("imageId", TEXT), required("volume", COUNT), required("baseImageId", TEXT), optional("from", COUNT),
         optional("maxResults", INTEGER)];
    /// Reads bytes of a volume of an image. The answer's body is these bytes.
    ReadImage,
        [required("imageId", TEXT), required("volume", COUNT), required("offset", COUNT), required("length", COUNT)];
    /// Removes an image and its snapshots.
    DeleteImage, [required("imageId", TEXT)];
    /// Lists what was told to whom, newest first.
    DescribeNotifications,
        [optional("notificationIds", Rule::List(&TEXT)), optional("replicationJobId", TEXT),
         optional("state", Rule::OneOf(&["PENDING", "DELIVERED", "GIVEN_UP"])),
         optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Delivers a notification again, whatever became of it.
    RedeliverNotification, [required("notificationId", TEXT)];
    /// Sends a message that says that it is a test, and says whether it arrived.
    SendTestNotification, [required("recipient", TEXT)];
    /// Says what counts for the whole service.
    DescribeLimits, [];
    /// Changes what counts for the whole service.
    UpdateLimits, [required("bandwidthCap", TEXT)];
    /// Says what the store holds and what for.
    DescribeStore, [];
    /// Says what the store held over time.
    DescribeStoreUse,
        [optional("from", Rule::Timestamp), optional("to", Rule::Timestamp), optional("maxPoints", INTEGER)];
    /// Says which settings the service works with, and where each was set.
    DescribeSettings, [];
    /// Says what a sweep of the store would free now. Changes nothing.
    PreviewSweep, [];
    /// Sweeps the store in the background.
    StartSweep, [];
    /// Lists sweeps of the store.
    DescribeSweeps,
        [optional("sweepIds", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Reads the whole store once in the background and looks for rot.
    StartScrub, [];
    /// Says how far the scrub of the store is, and what it found.
    DescribeScrub, [];
    /// Lists what is on record, newest first.
    DescribeAuditRecords,
        [optional("since", Rule::Timestamp), optional("until", Rule::Timestamp), optional("who", TEXT),
         optional("what", TEXT), optional("outcome", TEXT), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Checks that nothing on record was changed, removed or put between.
    VerifyAuditTrail, [optional("number", COUNT), optional("hash", TEXT)];
    /// Creates a user, without an access key.
    CreateUser, [required("userName", TEXT), optional("policyNames", Rule::List(&TEXT))];
    /// Lists users with their policies.
    DescribeUsers,
        [optional("userNames", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// A user's access keys are taken again.
    EnableUser, [required("userName", TEXT)];
    /// A user's access keys are not taken any more.
    DisableUser, [required("userName", TEXT)];
    /// Removes a user and its access keys.
    DeleteUser, [required("userName", TEXT)];
    /// Gives a policy to a user.
    AttachPolicy, [required("userName", TEXT), required("policyName", TEXT)];
    /// Takes a policy from a user.
    DetachPolicy, [required("userName", TEXT), required("policyName", TEXT)];
    /// Makes an access key; its secret is in this answer and nowhere else.
    CreateAccessKey, [required("userName", TEXT)];
    /// Makes an access key in place of another one, which goes on for a while.
    RotateAccessKey, [required("accessKeyId", TEXT), optional("graceMinutes", INTEGER)];
    /// An access key is taken again.
    EnableAccessKey, [required("accessKeyId", TEXT)];
    /// An access key is not taken any more.
    DisableAccessKey, [required("accessKeyId", TEXT)];
    /// Removes an access key.
    DeleteAccessKey, [required("accessKeyId", TEXT)];
    /// Lists access keys, without their secrets.
    DescribeAccessKeys,
        [optional("userName", TEXT), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Sets a user's password.
    SetPassword, [required("userName", TEXT), required("password", TEXT)];
    /// Removes a user's password.
    DeletePassword, [required("userName", TEXT)];
    /// Makes a link that is good for one sign-in to the console.
    CreateSignInLink, [required("userName", TEXT)];
    /// Writes a policy.
    CreatePolicy,
        [required("policyName", TEXT), required("policyDocument", TEXT), optional("description", TEXT)];
    /// Changes a policy, for all who have it.
    UpdatePolicy,
        [required("policyName", TEXT), optional("policyDocument", TEXT), optional("description", TEXT)];
    /// Removes a policy that nobody has.
    DeletePolicy, [required("policyName", TEXT)];
    /// Lists policies, the built-in ones first.
    DescribePolicies,
        [optional("policyNames", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
    /// Writes a role that jobs can run under.
    CreateRole, [required("roleName", TEXT), required("policyDocument", TEXT), optional("description", TEXT)];
    /// Changes a role, for all its jobs.
    UpdateRole, [required("roleName", TEXT), optional("policyDocument", TEXT), optional("description", TEXT)];
    /// Removes a role that no live job uses.
    DeleteRole, [required("roleName", TEXT)];
    /// Lists roles.
    DescribeRoles,
        [optional("roleNames", Rule::List(&TEXT)), optional("nextToken", TEXT), optional("maxResults", INTEGER)];
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
        #[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
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

mod audit;
mod connectors;
mod forecasts;
mod images;
mod jobs;
mod keys;
mod limits;
mod notifications;
mod policies;
mod runs;
mod scrub;
mod servers;
mod settings;
mod store;
mod store_use;
mod users;

pub use audit::*;
pub use connectors::*;
pub use forecasts::*;
pub use images::*;
pub use jobs::*;
pub use keys::*;
pub use limits::*;
pub use notifications::*;
pub use policies::*;
pub use runs::*;
pub use scrub::*;
pub use servers::*;
pub use settings::*;
pub use store::*;
pub use store_use::*;
pub use users::*;

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
    NotificationState,
    VerificationState,
    Verification,
    SweepState,
    SetIn,
    PackCount,
    PreviewSweepResponse,
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
