//! Connectors: test, associate, list, change, disassociate.

use super::caps::cap;
use super::page::{only, paged};
use super::{Answer, ErrorCode, Page, Paged, Service, ServiceError};
use crate::run::{StageError, bounded};
use crate::store::{ConnectorUpdate, Removal, StoreError, Updated};
use godwit_model::cap::Cap;
use godwit_model::connector::{ConnectorConfig, ConnectorStatus};
use godwit_model::failure::{Failure, Kind};
use godwit_model::id::ConnectorId;
use godwit_model::server::Discovery;
use godwit_model::time::Timestamp;
use tokio_util::sync::CancellationToken;

/// Longest name of a connector.
const LONGEST_NAME: usize = 128;

/// A connector to associate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewConnector {
    /// What people call it: 1 to 128 characters.
    pub name: String,
    /// How it reaches its VM manager.
    pub config: ConnectorConfig,
}

/// What is to change of a connector; what is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ConnectorChanges {
    /// What people call it: 1 to 128 characters.
    pub name: Option<String>,
    /// Absolute path of its socket or folder of sockets. It has to lead to the same VM manager.
    pub socket: Option<String>,
    /// How fast all runs together may read by it, in the language of caps; an empty one is none at all.
    pub cap: Option<String>,
}

/// What a test of a connection found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionTest {
    /// What the VM manager is and offers.
    pub found: Discovery,
    /// The connector that it is associated as already.
    pub connector: Option<Connector>,
}

/// An associated connector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// What people call it.
    pub name: String,
    /// How it reaches its VM manager.
    pub config: ConnectorConfig,
    /// Whether the last contact succeeded.
    pub status: ConnectorStatus,
    /// Why it is unhealthy.
    pub status_reason: Option<String>,
    /// Stable id of the VM manager.
    pub manager_id: String,
    /// What people call the VM manager.
    pub manager_name: String,
    /// Its version.
    pub manager_version: String,
    /// When it was associated.
    pub associated_at: Timestamp,
    /// When the VM manager last answered.
    pub last_contact_at: Timestamp,
    /// How fast all runs together may read by it.
    pub cap: Option<Cap>,
}

impl Service {
    /// `TestConnector`: asks the VM manager who it is, and changes nothing.
    pub async fn test_connector(&self, config: &ConnectorConfig) -> Answer<ConnectionTest> {
        let found = self.who_answers(config).await?;
        let connector = self.line.store.connector_to(&found.manager_id).await?;
        Ok(ConnectionTest { found, connector })
    }

    /// `AssociateConnector`: asks the VM manager who it is, then records the connector.
    pub async fn associate_connector(&self, new: NewConnector, now: Timestamp) -> Answer<ConnectorId> {
        let name = name(&new.name)?;
        let found = self.who_answers(&new.config).await?;
        let connector = Connector {
            id: self.free_connector_id().await?,
            name,
            config: new.config,
            status: ConnectorStatus::Healthy,
            status_reason: None,
            manager_id: found.manager_id,
            manager_name: found.manager_name,
            manager_version: found.manager_version,
            associated_at: now,
            last_contact_at: now,
            cap: None,
        };
        if let Some(other) = self.line.store.add_connector(&connector).await? {
            let what = format!("this VM manager is associated already, as {other}: disassociate that one first");
            return Err(ServiceError::invalid(what));
        }
        self.line.sweep_behind(connector.id.clone(), []);
        self.line.wake.notify_one();
        Ok(connector.id)
    }

    /// `GetConnectors` and `DescribeConnectors`. If `ids` are given: exactly these, on one page.
    pub async fn describe_connectors(&self, ids: Option<&[String]>, page: &Page) -> Answer<Paged<Connector>> {
        let store = &self.line.store;
        if let Some(ids) = ids {
            let read = async |ids: &[ConnectorId]| store.connectors_named(ids).await;
            return only(ids, "connector", "connectors", page, read).await;
        }
        let read = |after, limit| store.connectors(after, limit);
        paged(page, "connectors", read, |c| (c.associated_at.0, c.id.to_string())).await
    }

    /// `UpdateConnector`: changes what is sent. Another socket is asked first who it is, and is taken only while no run
    /// uses the connector: a run at work goes on reading where it began, and the cap counts for where it reads.
    pub async fn update_connector(&self, id: &str, changes: ConnectorChanges, now: Timestamp) -> Answer<()> {
        let id: ConnectorId = id.parse()?;
        let name = changes.name.as_deref().map(name).transpose()?;
        let cap = changes.cap.as_deref().map(cap).transpose()?.map(|cap| cap.filter(|cap| !cap.is_none()));
        let unknown = || ServiceError::invalid(format!("there is no connector {id}"));
        let moved = match changes.socket {
            None => None,
            Some(socket) => {
                let was = self.line.store.connector(&id).await?.ok_or_else(unknown)?;
                self.moved(&was, ConnectorConfig::Qmp { socket }).await?
            }
        };
        match self.line.store.update_connector(&id, &ConnectorUpdate { name, cap, moved }, now).await? {
            Updated::Done => Ok(self.line.tell_caps().await?),
            Updated::Unknown => Err(unknown()),
            Updated::Busy(run) => Err(ServiceError::not_permitted(format!(
                "the socket of {id} stays as it is while {run} uses it: wait until that has ended; name and cap can \
                 be changed at any time"
            ))),
        }
    }

    /// Where a connector is to be found from now on, and what answers there. `None` if it is there already.
    async fn moved(&self, was: &Connector, to: ConnectorConfig) -> Answer<Option<(ConnectorConfig, Discovery)>> {
        if to == was.config {
            return Ok(None);
        }
        let found = self.who_answers(&to).await?;
        if found.manager_id != was.manager_id {
            let other = self.line.store.connector_to(&found.manager_id).await?;
            return Err(another_manager(was, &to, &found, other.as_ref()));
        }
        Ok(Some((to, found)))
    }

    /// `DisassociateConnector`: refused while a run uses it. What is ours at its VM manager is removed, if that
    /// answers; jobs of its servers stay and fail until the VM manager is associated again.
    pub async fn disassociate_connector(&self, id: &str, _now: Timestamp) -> Answer<()> {
        let id: ConnectorId = id.parse()?;
        let removed = match self.line.store.remove_connector(&id).await? {
            Removal::Removed(connector) => connector,
            Removal::Unknown => return Err(ServiceError::invalid(format!("there is no connector {id}"))),
            Removal::Busy(run) => {
                let what = format!("{id} is used by {run}: wait until that has ended, or delete its job");
                return Err(ServiceError::not_permitted(what));
            }
        };
        let ask_claims = || self.line.claims();
        let sweep = self.line.replicator.sweep_source(&removed.config, &ask_claims);
        if let Err(error) = bounded("the sweep", self.line.options.stop, &CancellationToken::new(), sweep).await {
            tracing::warn!(connector = %id, %error, "disassociated, but what is ours at the source was not removed");
        }
        Ok(())
    }

    /// Asks who answers at an address that a caller gives.
    async fn who_answers(&self, config: &ConnectorConfig) -> Answer<Discovery> {
        let ConnectorConfig::Qmp { socket } = config;
        if !socket.starts_with('/') {
            let what = format!("socket '{socket}' is not an absolute path: give the path of a QMP socket or folder");
            return Err(ServiceError::invalid(what));
        }
        let look = self.line.replicator.discover(config);
        let refuse = |failure: &Failure| match failure.code.kind() {
            Kind::Bug => ServiceError::from_failure(failure),
            // Whatever keeps it from answering: what was given is not the address of a VM manager that works.
            _ => ServiceError::invalid(format!(
                "socket '{socket}': {}; give the path of a QMP socket that answers, or of a folder of them",
                failure.evidence.trim_end_matches('.')
            )),
        };
        self.ask_or("the VM manager's answer", look, refuse).await
    }

    /// Asks the data line something that the caller waits for.
    pub(super) async fn ask<T>(&self, what: &str, work: impl Future<Output = Result<T, Failure>>) -> Answer<T> {
        self.ask_or(what, work, ServiceError::from_failure).await
    }

    /// The same; `refuse` tells the caller of a failure.
    async fn ask_or<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Failure>>,
        refuse: impl FnOnce(&Failure) -> ServiceError,
    ) -> Answer<T> {
        let asked = bounded(what, self.line.options.discover, &CancellationToken::new(), work).await;
        asked.map_err(|error| match error {
            StageError::Failed(failure) => refuse(&failure),
            StageError::Store(error) => error.into(),
            StageError::Stopped => ServiceError::new(ErrorCode::TemporarilyUnavailable, "the service is stopping"),
        })
    }

    async fn free_connector_id(&self) -> Answer<ConnectorId> {
        for _ in 0..64 {
            let id = ConnectorId::from_bits((self.line.draw)());
            if self.line.store.connector(&id).await?.is_none() {
                return Ok(id);
            }
        }
        Err(StoreError::NoFreeId.into())
    }
}

/// A name as it is kept.
fn name(given: &str) -> Answer<String> {
    let name = given.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(ServiceError::invalid(format!("name: give 1 to {LONGEST_NAME} characters")));
    }
    Ok(name.to_owned())
}

/// A connector stays with its VM manager: the servers of another one would be mistaken for its own.
fn another_manager(
    was: &Connector,
    to: &ConnectorConfig,
    found: &Discovery,
    other: Option<&Connector>,
) -> ServiceError {
    let ConnectorConfig::Qmp { socket } = to;
    let next = match other {
        Some(other) => format!("it is associated already, as {}", other.id),
        None => "associate that one as a connector of its own".to_owned(),
    };
    ServiceError::invalid(format!(
        "socket '{socket}' leads to another VM manager: {} ({}, servers: {}) instead of {} ({}); {next}",
        found.manager_name,
        found.manager_id,
        found.servers.len(),
        was.manager_name,
        was.manager_id
    ))
}
