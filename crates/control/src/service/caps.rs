//! Caps: how fast may be read, of a run, of everything. Those of jobs and connectors are among what they are.

use super::{Answer, Service, ServiceError};
use crate::store::RunCapDenied;
use godwit_model::cap::{Cap, Rate};
use godwit_model::id::RunId;
use godwit_model::time::Timestamp;

/// What counts for the whole service.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// How fast all runs together may read.
    pub cap: Option<Cap>,
    /// What that is at the moment.
    pub rate: Rate,
    /// When it changes next.
    pub changes_at: Option<Timestamp>,
}

impl Service {
    /// `DescribeLimits`.
    pub async fn describe_limits(&self, now: Timestamp) -> Answer<Limits> {
        let cap = self.line.store.total_cap().await?;
        let rate = cap.as_ref().map_or(Rate::Unlimited, |cap| cap.rate(now));
        let changes_at = cap.as_ref().and_then(|cap| cap.next_change(now));
        Ok(Limits { cap, rate, changes_at })
    }

    /// `UpdateLimits`.
    pub async fn update_limits(&self, wanted: &str) -> Answer<()> {
        let cap = cap(wanted)?.filter(|cap| !cap.is_none());
        self.line.store.set_total_cap(cap.as_ref()).await?;
        Ok(self.line.tell_caps().await?)
    }

    /// `UpdateReplicationRun`: instead of what its job says; an empty one is what the job says again.
    pub async fn update_replication_run(&self, id: &str, wanted: &str) -> Answer<()> {
        let id: RunId = id.parse()?;
        match self.line.store.set_run_cap(&id, cap(wanted)?.as_ref()).await? {
            Ok(()) => Ok(self.line.tell_caps().await?),
            Err(RunCapDenied::Unknown) => Err(ServiceError::invalid(format!("there is no replication run {id}"))),
            Err(RunCapDenied::Ended(state)) => {
                let what = format!("{id} is {}: only a run that is at work or still to come has a cap", state.as_str());
                Err(ServiceError::not_permitted(what))
            }
        }
    }
}

/// A cap that a caller gives; an empty one is none at all.
pub(super) fn cap(given: &str) -> Answer<Option<Cap>> {
    match given {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|why: String| ServiceError::invalid(format!("bandwidthCap: {why}"))),
    }
}
