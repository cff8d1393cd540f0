//! What goes over the wire beside operations: the console's session and its stream of events.

use super::epoch::EpochSeconds;
use godwit_control::changes::Kind;
use serde::{Deserialize, Serialize};

/// Body of `POST /session`: who signs in, and with what. Holds secrets, so it has no `Debug`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(untagged)]
pub enum SignInRequest {
    /// With a password.
    #[serde(rename_all = "camelCase")]
    Password {
        /// Name of the user.
        user_name: String,
        /// The user's password.
        password: String,
    },
    /// With an access key.
    #[serde(rename_all = "camelCase")]
    AccessKey {
        /// Id of the key.
        access_key_id: String,
        /// Its secret.
        secret_access_key: String,
    },
    /// With a sign-in link.
    Link {
        /// What the link holds.
        link: String,
    },
}

/// Body of `PUT /session/password`. Holds secrets, so it has no `Debug`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct ChangePasswordRequest {
    /// The password from now on.
    pub new_password: String,
    /// The password until now; not needed in a session that was begun with a sign-in link, or if there is none.
    pub current_password: Option<String>,
}

/// With what a session was begun.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub enum SignedInWith {
    /// With a password.
    Password,
    /// With an access key.
    AccessKey,
    /// With a sign-in link.
    Link,
}

/// Answer of `POST /session` and `GET /session`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionDescription {
    /// Whose session it is.
    pub user_name: String,
    /// Names of the user's policies.
    pub policy_names: Vec<String>,
    /// What the user may do, in the names of policies.
    pub actions: Vec<String>,
    /// With what the session was begun.
    pub signed_in_with: SignedInWith,
    /// Whether the user has a password.
    pub has_password: bool,
    /// The service's time.
    pub server_time: EpochSeconds,
    /// When the session was begun.
    pub created_at: EpochSeconds,
    /// When it ends if nothing is asked for meanwhile.
    pub expires_at: EpochSeconds,
    /// When it ends in any case.
    pub ends_at: EpochSeconds,
    /// The program's version.
    pub version: String,
}

/// Data of an event of `GET /events`. Its name is one of `hello`, `change`, `heartbeat`, `signed-out`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct StreamEvent {
    /// How many changes there were since the process began; absent of `signed-out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The service's time.
    pub server_time: EpochSeconds,
    /// What has changed; of `hello` and `change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<ChangeKind>>,
    /// The program's version; of `hello`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

macro_rules! change_kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What can change.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        #[cfg_attr(test, derive(ts_rs::TS))]
        #[serde(rename_all = "camelCase")]
        pub enum ChangeKind { $($(#[$doc])* $name,)* }

        impl From<Kind> for ChangeKind {
            fn from(kind: Kind) -> Self {
                match kind { $(Kind::$name => ChangeKind::$name,)* }
            }
        }
    };
}

change_kinds! {
    /// Jobs.
    Jobs,
    /// Runs.
    Runs,
    /// Figures of runs and verifications at work.
    Progress,
    /// Servers.
    Servers,
    /// The catalog and its import.
    Catalog,
    /// Connectors.
    Connectors,
    /// Images and their verification.
    Images,
    /// Snapshots.
    Snapshots,
    /// What the store holds, its sweeps and its scrub.
    Store,
    /// How much the store held, over time.
    StoreUse,
    /// Notifications.
    Notifications,
    /// Records of changes.
    Audit,
    /// Users, their access keys, passwords and policies.
    Users,
    /// Policies.
    Policies,
    /// Roles.
    Roles,
    /// Keys.
    Keys,
    /// What counts for the whole service.
    Limits,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The name of a kind as it goes over the wire.
    fn name(kind: ChangeKind) -> String {
        serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned()
    }

    /// That each kind of the decision line is one of the wire, and the other way round, the compiler sees to; the two
    /// lists that it does not know are the one that people read and the one of the console.
    #[test]
    fn every_kind_of_change_is_told_documented_and_known_to_the_console() {
        let told: Vec<String> = Kind::ALL.iter().map(|kind| name((*kind).into())).collect();
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), Kind::ALL.len(), "two kinds have one name");
        let page = include_str!("../../../../docs/console-api.md");
        let listed = page.split_once("\nKinds: ").and_then(|(_, rest)| rest.split_once(".\n")).expect("a list").0;
        let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, told, "the list in docs/console-api.md");
        let console = include_str!("../../../../console/src/api/session.ts");
        let known = console.split_once("KINDS = [").and_then(|(_, rest)| rest.split_once(']')).expect("a list").0;
        let known: Vec<&str> = known.split('\'').skip(1).step_by(2).collect();
        assert_eq!(known, told, "the list in console/src/api/session.ts");
    }
}
