//! What counts for the whole service.

use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `DescribeLimits`.
    DescribeLimitsRequest {}

    /// Answer of `DescribeLimits`.
    DescribeLimitsResponse {
        /// How fast all runs together may read; absent if as fast as it goes.
        bandwidth_cap: Option<String>,
        /// What that is at the moment, in bytes.
        bytes_per_second: Option<u64>,
        /// When it changes next.
        changes_on: Option<EpochSeconds>,
    }

    /// Request of `UpdateLimits`.
    UpdateLimitsRequest {
        /// How fast all runs together may read, in the language of caps.
        bandwidth_cap: String,
    }
}
