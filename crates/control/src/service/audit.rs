//! The audit trail: calls are put on it, people look at it and check it.

use super::page::paged;
use super::{Answer, ErrorCode, Page, Paged, Service, ServiceError};
use crate::audit::recorder::NotRecorded;
use crate::audit::{AuditRecord, NewAuditRecord};
use crate::audit::{Hash, Link};
use crate::store::{AuditQuery, TrailReport};
use godwit_model::time::Timestamp;

/// Which records are wanted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AuditFilter {
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// A user's name or an access key's id.
    pub who: Option<String>,
    /// An action, `sms:GetServers` or only `GetServers`.
    pub what: Option<String>,
    /// `OK`, `UNKNOWN`, an error's code, or `FAILED` for everything but `OK`.
    pub outcome: Option<String>,
}

impl Service {
    /// A call that may change something begins; refused if that cannot be put on record. [`Service::audit_end`] or the
    /// next start ends it.
    pub async fn audit_begin(&self, call: &NewAuditRecord) -> Answer<()> {
        Ok(self.line.recorder.begin(call).await?)
    }

    /// A call that began has ended. It is on record when this returns.
    pub async fn audit_end(&self, call: NewAuditRecord) {
        self.line.recorder.end(call).await;
    }

    /// Bytes of a volume are about to be sent. That the caller reads it is on record when this returns; this very call
    /// in a moment, if another one was on record a moment ago. Refused if it cannot be.
    pub async fn audit_disclose(&self, call: NewAuditRecord, volume: &str) -> Answer<()> {
        Ok(self.line.recorder.disclose(call, volume).await?)
    }

    /// A call that changed nothing has ended. It is on record in a moment; refused if it cannot be.
    pub async fn audit_note(&self, call: NewAuditRecord) -> Answer<()> {
        Ok(self.line.recorder.note(call).await?)
    }

    /// A request was refused before it was known whose it is: it is counted. `key` is the access key that it names.
    pub fn audit_refused(&self, code: &'static str, key: Option<&str>) {
        self.line.recorder.refused(code, key);
    }

    /// Records, newest first.
    pub async fn describe_audit_records(&self, filter: &AuditFilter, page: &Page) -> Answer<Paged<AuditRecord>> {
        let query = AuditQuery {
            since: filter.since.unwrap_or(Timestamp(i64::MIN)),
            until: filter.until.unwrap_or(Timestamp(i64::MAX)),
            who: filter.who.clone().unwrap_or_default(),
            what: filter.what.clone().unwrap_or_default(),
            outcome: filter.outcome.clone().unwrap_or_default(),
        };
        let store = &self.line.store;
        let read = |after: Option<crate::store::After>, limit| async move {
            store.audit_records(&query, after.map_or(i64::MAX, |after| after.key), limit).await
        };
        paged(page, "audit", read, |record| (record.number, String::new())).await
    }

    /// Checks the whole trail. `expected` is the number and the hash of a record that was noted elsewhere.
    pub async fn verify_audit_trail(&self, expected: Option<(i64, String)>) -> Answer<TrailReport> {
        let expected = match expected {
            None => None,
            Some((number, hash)) => {
                let hash = Hash::parse(&hash)
                    .ok_or_else(|| ServiceError::invalid("hash: give the 64 hexadecimal digits that were shown"))?;
                Some(Link { number, hash })
            }
        };
        Ok(self.line.store.check_trail(expected).await?)
    }
}

impl From<NotRecorded> for ServiceError {
    fn from(_: NotRecorded) -> Self {
        ServiceError::new(
            ErrorCode::TemporarilyUnavailable,
            "the call cannot be put on record, so it is not carried out: try again later; the service's log says why",
        )
    }
}
