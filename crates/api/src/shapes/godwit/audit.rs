//! The audit trail.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `DescribeAuditRecords`.
    #[derive(Default)]
    DescribeAuditRecordsRequest {
        /// Not before this.
        since: Option<EpochSeconds>,
        /// Before this.
        until: Option<EpochSeconds>,
        /// A user's name or an access key's id.
        who: Option<String>,
        /// An action: `sms:GetServers`, or `GetServers` alone.
        what: Option<String>,
        /// `OK`, `UNKNOWN`, the code of an error, or `FAILED` for everything but `OK`.
        outcome: Option<String>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeAuditRecords`.
    DescribeAuditRecordsResponse {
        /// The records, newest first.
        records: Vec<AuditRecordDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// A call, or something that the service did by itself.
    AuditRecordDescription {
        /// Its place in the trail, from 1.
        number: u64,
        /// When it began.
        at: EpochSeconds,
        /// The user's name; `godwit` for the service itself.
        user: Option<String>,
        /// The access key that signed the call.
        access_key_id: Option<String>,
        /// What, as policies name it.
        action: String,
        /// With which parameters: JSON, without secrets.
        parameters: String,
        /// `OK`, the code of the error, or `UNKNOWN` if the service stopped meanwhile.
        outcome: String,
        /// The error's message.
        message: Option<String>,
        /// The id that its reply carries.
        request_id: Option<String>,
        /// The address that it came from.
        source: Option<String>,
        /// Hash of the record before.
        previous_hash: String,
        /// Hash of this one.
        hash: String,
    }

    /// Request of `VerifyAuditTrail`: number and hash of a record that was noted elsewhere, to compare.
    #[derive(Default)]
    VerifyAuditTrailRequest {
        /// Its number.
        number: Option<u64>,
        /// Its hash.
        hash: Option<String>,
    }

    /// Answer of `VerifyAuditTrail`.
    VerifyAuditTrailResponse {
        /// Whether nothing was changed, removed or put between.
        intact: bool,
        /// How many records are in order, from the first one that is kept.
        records: u64,
        /// The last record that was pruned; 0 if none was.
        pruned_up_to: u64,
        /// The last record that is in order.
        last_number: u64,
        /// Its hash: kept elsewhere, it proves later that nothing up to it was changed.
        last_hash: String,
        /// The first record that is not in order.
        broken_number: Option<u64>,
        /// What is wrong with it.
        reason: Option<String>,
    }
}
