//! One look of the driver and one import of the catalog without the world around them, for whoever wants to know what
//! would be done, or what it costs.

use crate::control::Draw;
use crate::store::{Store, StoreError};
use godwit_model::id::ConnectorId;
use godwit_model::schedule::{Decision, Limits, plan};
use godwit_model::server::Discovery;
use godwit_model::time::Timestamp;

/// What is to be done at `now`, and when to look again at the latest. Nothing is changed.
pub async fn look(
    store: &Store,
    limits: &Limits,
    now: Timestamp,
) -> Result<(Vec<Decision>, Option<Timestamp>), StoreError> {
    let facts = store.facts(limits, now).await?;
    Ok((plan(&facts.jobs, &facts.runs, limits, now), store.next_due(now).await?))
}

/// Imports what a connector found as an import of the catalog does it.
pub async fn import_found(
    store: &Store,
    connector: &ConnectorId,
    found: &Discovery,
    draw: &Draw,
    now: Timestamp,
) -> Result<(), StoreError> {
    store.begin_import(now).await?;
    let number = store.catalog().await?.import;
    store.import_servers(number, connector, found, draw, now).await?;
    store.end_import(number, true, now).await
}
