//! Users and their access keys.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};
use std::fmt;

shapes! {
    /// Request of `CreateUser`.
    #[derive(Default)]
    CreateUserRequest {
        /// Its name.
        user_name: String,
        /// Its policies from the start.
        policy_names: Option<Vec<String>>,
    }

    /// Request of the operations that need to know a user and nothing else.
    UserRequest {
        /// Which user.
        user_name: String,
    }

    /// Request of `DescribeUsers`.
    #[derive(Default)]
    DescribeUsersRequest {
        /// Only these.
        user_names: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeUsers`.
    DescribeUsersResponse {
        /// The users, oldest first.
        users: Vec<UserDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A user.
    UserDescription {
        /// Its name.
        user_name: String,
        /// Whether its access keys are taken at all.
        enabled: bool,
        /// Names of its policies.
        policy_names: Vec<String>,
        /// Whether it can sign in to the console with a password.
        has_password: bool,
        /// When it was created.
        created_on: EpochSeconds,
    }

    /// Request of `AttachPolicy` and `DetachPolicy`.
    PolicyOfUserRequest {
        /// Which user.
        user_name: String,
        /// Which policy.
        policy_name: String,
    }

    /// Request of the operations that need to know an access key and nothing else.
    AccessKeyRequest {
        /// Which key.
        access_key_id: String,
    }

    /// Request of `RotateAccessKey`.
    RotateAccessKeyRequest {
        /// Which key is replaced.
        access_key_id: String,
        /// How many minutes it goes on; 0 ends it at once. If absent, the configured time: a day.
        grace_minutes: Option<i32>,
    }

    /// Request of `DescribeAccessKeys`.
    #[derive(Default)]
    DescribeAccessKeysRequest {
        /// Only of this user.
        user_name: Option<String>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeAccessKeys`.
    DescribeAccessKeysResponse {
        /// The keys, oldest first.
        access_keys: Vec<AccessKeyDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// An access key, without its secret.
    AccessKeyDescription {
        /// Its id.
        access_key_id: String,
        /// Whose it is.
        user_name: String,
        /// Whether it is taken.
        enabled: bool,
        /// When it was created.
        created_on: EpochSeconds,
        /// When it was last used, to a quarter of an hour.
        last_used_on: Option<EpochSeconds>,
        /// When it ends, if it was rotated.
        ends_on: Option<EpochSeconds>,
    }
}

/// Answer of `CreateAccessKey` and `RotateAccessKey`. The secret is told once: it is in no other answer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct NewAccessKeyResponse {
    /// Its id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Whose it is.
    pub user_name: String,
    /// When the key that it replaces ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_key_ends_on: Option<EpochSeconds>,
}

impl fmt::Debug for NewAccessKeyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccessKeyResponse").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Request of `SetPassword`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct SetPasswordRequest {
    /// Whose.
    pub user_name: String,
    /// The password from now on.
    pub password: String,
}

impl fmt::Debug for SetPasswordRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPasswordRequest").field("user_name", &self.user_name).finish_non_exhaustive()
    }
}

/// Answer of `CreateSignInLink`. What the link holds is told once: it is in no other answer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct CreateSignInLinkResponse {
    /// Who signs in with it.
    pub user_name: String,
    /// What stands behind `#link=` in the console's address.
    pub token: String,
    /// Until when it is good.
    pub expires_on: EpochSeconds,
}

impl fmt::Debug for CreateSignInLinkResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSignInLinkResponse").field("user_name", &self.user_name).finish_non_exhaustive()
    }
}
