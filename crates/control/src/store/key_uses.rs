//! Every use of a key is on record: one record for each stage of a run, each verification of an image, and each span of
//! time in which an image is read.

use super::{Store, StoreError, Tx};
use godwit_model::failure::Code;
use godwit_model::id::{ImageId, KeyId, RunId};
use godwit_model::time::Timestamp;

/// What a key was used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Something was encrypted with it.
    Encrypt,
    /// Something was decrypted with it.
    Decrypt,
}

/// For whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum User {
    Run(RunId),
    Image(ImageId),
}

/// A use of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyUse {
    pub key: KeyId,
    /// The latest version that was used.
    pub version: u32,
    pub purpose: Purpose,
    pub user: User,
    /// Why it came to nothing, if it did.
    pub failure: Option<Code>,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Purpose::Encrypt => "encrypt",
            Purpose::Decrypt => "decrypt",
        }
    }
}

impl Store {
    /// Puts a use on record that changes nothing else.
    pub(crate) async fn note_key_use(&self, used: &KeyUse, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        note_key_use(&mut tx, used, now).await?;
        tx.commit().await
    }
}

/// Puts a use on record: the one place through which all of them go.
pub(super) async fn note_key_use(_tx: &mut Tx, used: &KeyUse, _now: Timestamp) -> Result<(), StoreError> {
    let (user, version, purpose) = (&used.user, used.version, used.purpose.as_str());
    let user = match user {
        User::Run(run) => run.as_str(),
        User::Image(image) => image.as_str(),
    };
    let outcome = used.failure.map_or("done", Code::as_str);
    tracing::info!(key = %used.key, version, purpose, user, outcome, "a key was used");
    Ok(())
}
