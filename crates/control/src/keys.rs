//! What the decision line asks of whoever holds the material of keys. Implemented in `server`.
//!
//! Names, aliases and states are the store's; material never comes by here. Every call may happen twice, with a crash
//! between.

use crate::control::Line;
use crate::run::{StageError, bounded};
use crate::store::{KeyRecord, StoreError};
use async_trait::async_trait;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::KeyId;
use godwit_model::key::KeyState;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Where the material of keys is.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Makes a version of a key durable, wrapped; version 1 makes the key. From then on what is encrypted with the key
    /// is encrypted under it. One that exists stays as it is.
    async fn make(&self, key: &KeyId, version: u32) -> Result<(), Failure>;

    /// Every key whose material is there, with its newest version.
    async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure>;

    /// Lets a key be used, or not: then its material is forgotten, and what is at work with it fails with
    /// `KeyDisabled`. After a start every key may be used.
    fn set_enabled(&self, key: &KeyId, enabled: bool);
}

/// What everything fails with that needs a disabled key. `what` is encrypted with it, or is to be.
pub(crate) fn disabled(what: &str, key: &KeyRecord) -> Failure {
    let named = key.aliases.first().map(|alias| format!(" ({alias})")).unwrap_or_default();
    Failure::new(Code::KeyDisabled, format!("{what} with {}{named}, which is disabled", key.id))
}

/// Brings names and material together after a start: what a crash left between the two, and keys of a database that
/// was lost. Then lets no disabled key be used.
pub(crate) async fn settle(line: &Line) -> Result<(), StoreError> {
    let never = CancellationToken::new();
    match bounded("reading the keys", line.options.register, &never, line.keys.all()).await {
        Ok(found) => {
            for key in line.store.adopt_keys(&found, line.now()).await? {
                tracing::warn!(%key, "the store holds a key that the database did not know: it is listed, and disabled");
            }
        }
        // What the database knows can be used; what it does not know is found at the next start.
        Err(StageError::Failed(failure)) => tracing::warn!(%failure, "the keys in the store could not be listed"),
        Err(StageError::Store(error)) => return Err(error),
        Err(StageError::Stopped) => {}
    }
    for key in line.store.keys(None, usize::MAX).await? {
        if key.state == KeyState::Disabled {
            line.keys.set_enabled(&key.id, false);
        }
    }
    Ok(())
}
