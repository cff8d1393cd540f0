//! The audit trail.

use super::{Outcome, page, signed};
use crate::errors::{ApiError, ErrorCode};
use crate::shapes::godwit::{
    AuditRecordDescription, DescribeAuditRecordsRequest, DescribeAuditRecordsResponse, VerifyAuditTrailRequest,
    VerifyAuditTrailResponse,
};
use godwit_control::audit::AuditRecord;
use godwit_control::service::{AuditFilter, Service};
use godwit_model::time::Timestamp;

/// `DescribeAuditRecords`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeAuditRecordsRequest,
) -> Outcome<DescribeAuditRecordsResponse> {
    let filter = AuditFilter {
        since: request.since.map(Into::into),
        until: request.until.map(Into::into),
        who: request.who,
        what: request.what,
        outcome: request.outcome,
    };
    let page = page(request.next_token, request.max_results);
    let found = service.describe_audit_records(&filter, &page).await?.map(description);
    Ok(DescribeAuditRecordsResponse { records: found.items, next_token: found.next })
}

/// `VerifyAuditTrail`.
pub async fn verify(
    service: &Service,
    _now: Timestamp,
    request: VerifyAuditTrailRequest,
) -> Outcome<VerifyAuditTrailResponse> {
    let expected = match (request.number, request.hash) {
        (None, None) => None,
        (Some(number), Some(hash)) => Some((signed(number), hash)),
        _ => {
            let message = "number and hash belong together: give both, or neither.";
            return Err(ApiError::new(ErrorCode::MissingRequiredParameterException, message));
        }
    };
    let report = service.verify_audit_trail(expected).await?;
    let (broken_number, reason) = report.broken.map(|b| (unsigned(b.number), b.reason)).unzip();
    Ok(VerifyAuditTrailResponse {
        intact: reason.is_none(),
        records: report.records,
        pruned_up_to: unsigned(report.anchor.number),
        last_number: unsigned(report.last.number),
        last_hash: report.last.hash.to_string(),
        broken_number,
        reason,
    })
}

fn description(record: AuditRecord) -> AuditRecordDescription {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    AuditRecordDescription {
        number: unsigned(record.number),
        at: record.what.at.into(),
        user: record.what.caller.user,
        access_key_id: given(record.what.caller.access_key_id),
        action: record.what.action,
        parameters: record.what.parameters,
        outcome: record.what.outcome,
        message: given(record.what.message),
        request_id: given(record.what.request_id),
        source: given(record.what.source),
        previous_hash: record.previous.to_string(),
        hash: record.hash.to_string(),
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
