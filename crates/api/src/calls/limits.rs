//! What counts for the whole service.

use super::Outcome;
use crate::shapes::godwit::{DescribeLimitsRequest, DescribeLimitsResponse, NoAnswer, UpdateLimitsRequest};
use godwit_control::service::Service;
use godwit_model::time::Timestamp;

/// `DescribeLimits`.
pub async fn describe(service: &Service, now: Timestamp, _: DescribeLimitsRequest) -> Outcome<DescribeLimitsResponse> {
    let limits = service.describe_limits(now).await?;
    Ok(DescribeLimitsResponse {
        bandwidth_cap: limits.cap.map(|cap| cap.to_string()),
        bytes_per_second: limits.rate.bytes_per_second(),
        changes_on: limits.changes_at.map(Into::into),
    })
}

/// `UpdateLimits`.
pub async fn update(service: &Service, _now: Timestamp, request: UpdateLimitsRequest) -> Outcome<NoAnswer> {
    service.update_limits(&request.bandwidth_cap).await?;
    Ok(NoAnswer {})
}
