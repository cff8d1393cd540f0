//! Asking connectors what they see: imports of the catalog, and heartbeats.

mod progress;

pub use progress::{ImportFailure, ImportProgress};

pub(crate) use progress::Imports;

use crate::control::Line;
use crate::driver::Ended;
use crate::run::{StageError, bounded};
use crate::service::Connector;
use crate::store::StoreError;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::ConnectorId;
use godwit_model::server::Discovery;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Gathers the servers of all connectors for the import of this number. Connectors work at the same time, so that one
/// that does not answer costs its bound once. Repeatable: servers are known by where they are.
pub(crate) async fn import(line: Arc<Line>, number: i64, cancel: CancellationToken) -> Result<Ended, StoreError> {
    let connectors = line.store.connectors(None, usize::MAX).await?;
    line.imports.begin(number, connectors.len() as u64, line.now());
    let mut unheard: BTreeMap<ConnectorId, Connector> = connectors.into_iter().map(|c| (c.id.clone(), c)).collect();
    let mut asked = JoinSet::new();
    for connector in unheard.values().cloned() {
        let (line, cancel) = (line.clone(), cancel.clone());
        asked.spawn(async move {
            let contact = contact(&line, &connector, &cancel).await?;
            Ok::<_, StoreError>((connector, contact))
        });
    }
    let mut answered = false;
    while let Some(joined) = asked.join_next().await {
        // A task that broke says not even whose it was: see below.
        let Ok(outcome) = joined else { continue };
        let (connector, contact) = outcome?;
        unheard.remove(&connector.id);
        match contact {
            None => return Ok(Ended::Done),
            Some(Err(failure)) => {
                tracing::warn!(connector = %connector.id, %failure, "a connector gave no servers");
                line.imports.failed(number, &connector, &failure);
            }
            Some(Ok(found)) => {
                for warning in &found.warnings {
                    tracing::warn!(connector = %connector.id, "found, but not usable: {warning}");
                }
                match line.store.import_servers(number, &connector.id, &found, &line.draw, line.now()).await {
                    // Cleared, or imported anew, meanwhile.
                    Err(StoreError::Stale) => return Ok(Ended::Done),
                    other => line.imports.answered(number, other?),
                }
                answered = true;
            }
        }
    }
    for connector in unheard.values() {
        let broke =
            Failure::new(Code::Internal, format!("asking {} broke off: the service's log says more", connector.name));
        line.imports.failed(number, connector, &broke);
    }
    match line.store.end_import(number, answered, line.now()).await {
        Err(StoreError::Stale) => return Ok(Ended::Done),
        other => other?,
    }
    line.imports.ended(number, line.now());
    Ok(Ended::Done)
}

/// Asks a connector whether it is well, and records that.
pub(crate) async fn heartbeat(
    line: Arc<Line>,
    connector: ConnectorId,
    cancel: CancellationToken,
) -> Result<Ended, StoreError> {
    let Some(record) = line.store.connector(&connector).await? else { return Ok(Ended::Done) };
    contact(&line, &record, &cancel).await?;
    Ok(Ended::Done)
}

/// Asks and records; `None` if the token was cancelled. A manager that answers under another id is not the one that
/// was associated: its servers would be mistaken for others.
async fn contact(
    line: &Line,
    connector: &Connector,
    cancel: &CancellationToken,
) -> Result<Option<Result<Discovery, Failure>>, StoreError> {
    let look = line.replicator.discover(&connector.config);
    let contact = match bounded("asking the VM manager what it offers", line.options.discover, cancel, look).await {
        Ok(found) if found.manager_id == connector.manager_id => Ok(found),
        Ok(found) => Err(another_manager(connector, &found)),
        Err(StageError::Failed(failure)) => Err(failure),
        Err(StageError::Stopped) => return Ok(None),
        Err(StageError::Store(error)) => return Err(error),
    };
    line.store.record_contact(connector, &contact, line.now()).await?;
    Ok(Some(contact))
}

fn another_manager(connector: &Connector, found: &Discovery) -> Failure {
    let evidence = format!(
        "at {}'s address another VM manager answers: {} instead of {}",
        connector.name, found.manager_id, connector.manager_id
    );
    Failure::new(Code::SourceProtocol, evidence)
}
