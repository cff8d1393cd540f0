//! Every use of a key is on record: one record for each stage of a run, each verification of an image, and each span of
//! time in which an image is read.

use super::{Store, StoreError, Tx};
use crate::audit::NewAuditRecord;
use godwit_model::failure::Code;
use godwit_model::id::{ImageId, KeyId, RunId};
use godwit_model::time::Timestamp;
use serde_json::json;

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
pub(super) async fn note_key_use(tx: &mut Tx, used: &KeyUse, now: Timestamp) -> Result<(), StoreError> {
    let (member, user) = match &used.user {
        User::Run(run) => ("replicationRunId", run.as_str()),
        User::Image(image) => ("imageId", image.as_str()),
    };
    let parameters = json!({
        "keyId": used.key.as_str(), "version": used.version, "purpose": used.purpose.as_str(), member: user,
    });
    let mut record = NewAuditRecord::of_the_service("godwit:UseKey", &parameters, now);
    if let Some(code) = used.failure {
        record.outcome = code.as_str().to_owned();
    }
    Store::append_audit(tx, record).await?;
    Ok(())
}
