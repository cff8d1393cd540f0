//! The audit trail: who did what, in a chain of records that shows whether any of them was changed.
//!
//! `chain` says what a record's hash covers and checks a chain, without any I/O. `recorder` puts calls on record as
//! they end, many in one transaction. The rows are in `store::audit`; what can be asked is in `service::audit`.

mod chain;
pub(crate) mod recorder;

use crate::service::ServiceError;
pub use chain::{Break, Hash, Link};
use godwit_model::time::{Millis, Timestamp};
use recorder::NotRecorded;

/// The outcome of what succeeded.
pub const OK: &str = "OK";

/// The outcome of a call that was at work when the service stopped: it may have happened or not.
pub const UNKNOWN: &str = "UNKNOWN";

/// The user of what the service did by itself.
pub const SERVICE: &str = "godwit";

/// Who a call came from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Caller {
    /// The user's name, if the key belongs to one.
    pub user: Option<String>,
    /// Id of the access key that signed the call; empty for what the service did by itself.
    pub access_key_id: String,
}

/// What is to be put on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAuditRecord {
    /// When it began.
    pub at: Timestamp,
    /// Who.
    pub caller: Caller,
    /// What, as policies name it: `sms:CreateReplicationJob`.
    pub action: String,
    /// With which parameters, as JSON without secrets.
    pub parameters: String,
    /// [`OK`], [`UNKNOWN`], or the code of the error.
    pub outcome: String,
    /// What was told to the caller about the error.
    pub message: String,
    /// The id that the reply carries; empty for what the service did by itself.
    pub request_id: String,
    /// Address that the call came from, if it is known.
    pub source: String,
}

impl NewAuditRecord {
    /// The same call, refused because it could not be put on record in time.
    pub(crate) fn refused(self) -> Self {
        let error = ServiceError::from(NotRecorded);
        Self { outcome: error.code.as_str().to_owned(), message: error.message, ..self }
    }

    /// Something that the service did by itself, and that succeeded.
    pub fn of_the_service(action: &str, parameters: &serde_json::Value, at: Timestamp) -> Self {
        Self {
            at,
            caller: Caller { user: Some(SERVICE.to_owned()), access_key_id: String::new() },
            action: action.to_owned(),
            parameters: parameters.to_string(),
            outcome: OK.to_owned(),
            message: String::new(),
            request_id: String::new(),
            source: String::new(),
        }
    }
}

/// What is on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    /// Its place in the chain, counted from 1.
    pub number: i64,
    /// What happened.
    pub what: NewAuditRecord,
    /// Hash of the record before.
    pub previous: Hash,
    /// Hash of this one.
    pub hash: Hash,
}

/// How much of the trail is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditLimits {
    /// For how long; `None` is for ever.
    pub keep: Option<Millis>,
    /// How many records at most: whoever may only read must not be able to fill the disk.
    pub most: u64,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { keep: Some(Millis::DAY.times(365)), most: 10_000_000 }
    }
}
