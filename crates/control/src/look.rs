//! One look of the driver without its acts, for whoever wants to know what would be done, or what a look costs.

use crate::store::{Store, StoreError};
use godwit_model::schedule::{Decision, Limits, plan};
use godwit_model::time::Timestamp;

/// What is to be done at `now`, and when to look again at the latest. Nothing is changed.
pub async fn look(
    store: &Store,
    limits: &Limits,
    now: Timestamp,
) -> Result<(Vec<Decision>, Option<Timestamp>), StoreError> {
    let facts = store.facts(now).await?;
    Ok((plan(&facts.jobs, &facts.runs, limits, now), store.next_due(now).await?))
}
