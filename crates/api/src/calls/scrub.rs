//! The scrub of the store.

use super::Outcome;
use crate::shapes::godwit::{DescribeScrubRequest, ScrubDescription, StartScrubRequest, StartScrubResponse};
use godwit_control::service::Service;
use godwit_model::time::Timestamp;

/// `StartScrub`.
pub async fn start(service: &Service, _now: Timestamp, _: StartScrubRequest) -> Outcome<StartScrubResponse> {
    Ok(StartScrubResponse { round: service.start_scrub().await? })
}

/// `DescribeScrub`.
pub async fn describe(service: &Service, _now: Timestamp, _: DescribeScrubRequest) -> Outcome<ScrubDescription> {
    let found = service.describe_scrub().await?;
    let scrub = found.scrub;
    Ok(ScrubDescription {
        round: scrub.round,
        open: scrub.course.is_open,
        on_demand: scrub.course.on_demand,
        began_on: scrub.course.began_at.map(Into::into),
        ended_on: scrub.ended_at.map(Into::into),
        next_on: found.next.map(Into::into),
        packs_checked: scrub.packs,
        bytes_checked: scrub.course.bytes,
        bytes_total: scrub.bytes_total,
        packs_skipped: scrub.skipped,
        damaged_packs: scrub.damaged_packs,
        problem: scrub.problem,
        message: scrub.message,
    })
}
