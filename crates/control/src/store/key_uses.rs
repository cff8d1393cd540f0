//! Every use of a key is on record: one record for each stage of a run, each verification of an image, each span of time
//! in which an image is read or the store is looked at, and each key and purpose of a sweep.

use super::{Store, StoreError, Tx};
use crate::audit::NewAuditRecord;
use godwit_model::id::{ImageId, RunId, SweepId};
use godwit_model::key::KeyUse;
use godwit_model::time::Timestamp;
use serde_json::json;

/// For whom a key was used.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum User {
    Run(RunId),
    Image(ImageId),
    /// A sweep of the store; `None`: one that could not be written down.
    Sweep(Option<SweepId>),
    /// An operation that looks at the store and changes nothing.
    Look(&'static str),
}

impl User {
    /// The member of the record's parameters that names it, and its name.
    fn named(&self) -> (&'static str, Option<&str>) {
        match self {
            User::Run(run) => ("replicationRunId", Some(run.as_str())),
            User::Image(image) => ("imageId", Some(image.as_str())),
            User::Sweep(sweep) => ("sweepId", sweep.as_ref().map(SweepId::as_str)),
            User::Look(operation) => ("operation", Some(operation)),
        }
    }
}

impl Store {
    /// Puts uses on record that change nothing else.
    pub(crate) async fn note_key_uses(&self, user: &User, uses: &[KeyUse], now: Timestamp) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for used in uses {
            note_key_use(&mut tx, user, used, now).await?;
        }
        tx.commit().await
    }
}

/// Puts a use on record: the one place through which all of them go.
pub(super) async fn note_key_use(tx: &mut Tx, user: &User, used: &KeyUse, now: Timestamp) -> Result<(), StoreError> {
    let (member, user) = user.named();
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
