//! Named keys. Their material is in no answer.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

/// Whether a key may be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyState {
    /// It encrypts and decrypts.
    Enabled,
    /// Nothing is encrypted with it, and nothing that is can be read.
    Disabled,
}

impl KeyState {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Enabled => "ENABLED",
            KeyState::Disabled => "DISABLED",
        }
    }
}

shapes! {
    /// Request of `CreateKey`.
    #[derive(Default)]
    CreateKeyRequest {
        /// For people.
        description: Option<String>,
        /// What it is called: `alias/…`.
        alias: Option<String>,
    }

    /// Answer of `CreateKey`.
    CreateKeyResponse {
        /// The new key.
        key: KeyDescription,
    }

    /// Request of `DescribeKeys`.
    #[derive(Default)]
    DescribeKeysRequest {
        /// Only these: ids, aliases, or ARNs of either.
        key_ids: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeKeys`.
    DescribeKeysResponse {
        /// The keys, oldest first.
        keys: Vec<KeyDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A key.
    KeyDescription {
        /// Its id.
        key_id: String,
        /// Its id as an ARN.
        arn: String,
        /// What it is called, sorted.
        aliases: Vec<String>,
        /// For people.
        description: Option<String>,
        /// Whether it may be used.
        state: KeyState,
        /// Since when it is in that state.
        state_since: EpochSeconds,
        /// Whether it is the one of jobs that name none.
        default: bool,
        /// Its newest version.
        version: u32,
        /// When that was made, if it is not the first.
        rotated_on: Option<EpochSeconds>,
        /// When it was created.
        created_on: EpochSeconds,
    }

    /// Request of `UpdateKey`: what is absent stays as it is.
    #[derive(Default)]
    UpdateKeyRequest {
        /// Which key: its id, an alias, or the ARN of either.
        key_id: String,
        /// For people; an empty one removes it.
        description: Option<String>,
    }

    /// Request of `RotateKey`, `EnableKey`, `DisableKey` and `SetDefaultKey`.
    KeyRequest {
        /// Which key: its id, an alias, or the ARN of either.
        key_id: String,
    }

    /// Answer of `RotateKey`.
    RotateKeyResponse {
        /// The new version.
        version: u32,
    }

    /// Request of `CreateAlias`.
    CreateAliasRequest {
        /// The alias: `alias/…`.
        alias: String,
        /// Which key gets it: its id, another alias, or the ARN of either.
        key_id: String,
    }

    /// Request of `DeleteAlias`.
    DeleteAliasRequest {
        /// The alias: `alias/…`.
        alias: String,
    }
}
