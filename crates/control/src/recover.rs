//! What a start has to do about the process before, and the sweep of sources.
//!
//! Little is left to do here, because the driver reads everything from the store: runs that are ACTIVE go on from
//! their recorded stage, jobs that are DELETING or FAILING are ended, imports and verifications that were at work are
//! made again, what fell due meanwhile is missed by the plan. Packs that were begun are settled when their volume's
//! transfer goes on. What remains is what the store cannot know: objects at the sources that belong to nothing.

use crate::control::Line;
use crate::driver::Ended;
use crate::run::bounded;
use crate::store::StoreError;
use godwit_model::id::{ConnectorId, RunId};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Says what goes on, and asks for a sweep of every source.
pub(crate) async fn pick_up(line: &Line) -> Result<(), StoreError> {
    for (run, job) in line.store.active_runs().await? {
        tracing::info!(%run, %job, "the run goes on from its record");
    }
    for connector in line.store.connectors(None, usize::MAX).await? {
        line.sweep_behind(connector.id, []);
    }
    Ok(())
}

/// Removes everything of ours at a source but what is claimed. It comes `behind` these runs: if it fails, so does the
/// next one.
pub(crate) async fn sweep(
    line: Arc<Line>,
    connector: ConnectorId,
    behind: BTreeSet<RunId>,
    cancel: CancellationToken,
) -> Result<Ended, StoreError> {
    let record = match line.store.connector(&connector).await {
        Ok(record) => record,
        Err(error) => {
            line.sweep_behind(connector, behind);
            return Err(error);
        }
    };
    let Some(record) = record else { return Ok(Ended::Done) };
    let ask_claims = || line.claims();
    let work = line.replicator.sweep_source(&record.config, &ask_claims);
    match bounded("the sweep of the source", line.options.settle, &cancel, work).await {
        Ok(removed) => {
            for what in removed {
                tracing::info!(%connector, "swept: {what}");
            }
            Ok(Ended::Done)
        }
        Err(error) => {
            tracing::debug!(%connector, %error, "the source was not swept; tried again later");
            line.sweep_behind(connector, behind);
            Ok(Ended::Later)
        }
    }
}
