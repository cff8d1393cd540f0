//! Connectors.

use super::query::{After, Order, Verbs};
use super::row::{Fields, to_json};
use super::{Store, StoreError, Tx};
use crate::service::Connector;
use godwit_model::cap::Cap;
use godwit_model::connector::{ConnectorConfig, ConnectorStatus};
use godwit_model::failure::Failure;
use godwit_model::id::{ConnectorId, RunId};
use godwit_model::server::Discovery;
use godwit_model::time::Timestamp;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// What became of the wish to remove a connector.
#[derive(Debug)]
pub(crate) enum Removal {
    /// It is removed; this is what it was.
    Removed(Box<Connector>),
    /// A run uses it.
    Busy(RunId),
    /// There is none of that id.
    Unknown,
}

/// What is to change of a connector; what is absent stays.
#[derive(Debug)]
pub(crate) struct ConnectorUpdate {
    pub name: Option<String>,
    /// A cap, or the end of one.
    pub cap: Option<Option<Cap>>,
    /// Where it is found from now on, and what its VM manager said there.
    pub moved: Option<(ConnectorConfig, Discovery)>,
}

/// What became of the wish to change a connector.
#[derive(Debug)]
pub(crate) enum Updated {
    /// It is changed.
    Done,
    /// A run uses the socket that was to be changed: nothing is.
    Busy(RunId),
    /// There is none of that id.
    Unknown,
}

impl Store {
    /// Adds a connector whose id is free. Servers of its manager, from earlier associations, are its own again. If
    /// the manager has a connector already, gives that one's id and changes nothing.
    pub(crate) async fn add_connector(&self, new: &Connector) -> Result<Option<ConnectorId>, StoreError> {
        let mut tx = self.begin().await?;
        let what = "add a connector";
        let other = sqlx::query("SELECT connector_id FROM connector WHERE manager_id = $1")
            .bind(new.manager_id.clone())
            .find(&mut *tx, what, |row| Fields(row).id("connector_id"))
            .await?;
        if other.is_some() {
            return Ok(other);
        }
        sqlx::query(
            "INSERT INTO connector (connector_id, name, config, status, status_reason, manager_id, manager_name, \
             manager_version, associated_at, last_contact_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(new.id.to_string())
        .bind(new.name.clone())
        .bind(to_json(&new.config))
        .bind(new.status.as_str())
        .bind(new.status_reason.clone())
        .bind(new.manager_id.clone())
        .bind(new.manager_name.clone())
        .bind(new.manager_version.clone())
        .bind(new.associated_at.0)
        .bind(new.last_contact_at.0)
        .run(&mut *tx, what)
        .await?;
        sqlx::query("UPDATE server SET connector_id = $1 WHERE manager_id = $2")
            .bind(new.id.to_string())
            .bind(new.manager_id.clone())
            .run(&mut *tx, what)
            .await?;
        tx.commit().await?;
        Ok(None)
    }

    pub(crate) async fn connector(&self, id: &ConnectorId) -> Result<Option<Connector>, StoreError> {
        sqlx::query("SELECT * FROM connector WHERE connector_id = $1")
            .bind(id.to_string())
            .find(self.reader(), "read a connector", connector)
            .await
    }

    /// The connector that a VM manager is associated as.
    pub(crate) async fn connector_to(&self, manager_id: &str) -> Result<Option<Connector>, StoreError> {
        sqlx::query("SELECT * FROM connector WHERE manager_id = $1")
            .bind(manager_id.to_owned())
            .find(self.reader(), "look for the connector of a VM manager", connector)
            .await
    }

    /// The connectors of these ids, as far as they exist.
    pub(crate) async fn connectors_named(
        &self,
        ids: &[ConnectorId],
    ) -> Result<HashMap<ConnectorId, Connector>, StoreError> {
        self.named("SELECT * FROM connector WHERE connector_id IN ", ids, "read connectors", connector, |c| &c.id).await
    }

    /// Up to `limit` connectors behind `after`, in the order of their association.
    pub(crate) async fn connectors(&self, after: Option<After>, limit: usize) -> Result<Vec<Connector>, StoreError> {
        sqlx::query(
            "SELECT * FROM connector WHERE associated_at > $1 OR (associated_at = $1 AND connector_id > $2) \
             ORDER BY associated_at, connector_id LIMIT $3",
        )
        .page(after, Order::OldestFirst, limit)
        .all(self.reader(), "list connectors", connector)
        .await
    }

    /// Records what a contact with the VM manager showed. A connector that was removed meanwhile stays removed, and of
    /// one that was moved meanwhile nothing is said: it was asked where it is no more.
    pub(crate) async fn record_contact(
        &self,
        asked: &Connector,
        contact: &Result<Discovery, Failure>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (status, reason) = ConnectorStatus::after(contact);
        let mut tx = self.begin().await?;
        let what = "record a contact";
        sqlx::query("UPDATE connector SET status = $1, status_reason = $2 WHERE connector_id = $3 AND config = $4")
            .bind(status.as_str())
            .bind(reason)
            .bind(asked.id.to_string())
            .bind(to_json(&asked.config))
            .run(&mut *tx, what)
            .await?;
        if let Ok(discovery) = contact {
            sqlx::query(
                "UPDATE connector SET last_contact_at = $1, manager_name = $2, manager_version = $3 \
                 WHERE connector_id = $4 AND config = $5 AND last_contact_at <= $1",
            )
            .bind(now.0)
            .bind(discovery.manager_name.clone())
            .bind(discovery.manager_version.clone())
            .bind(asked.id.to_string())
            .bind(to_json(&asked.config))
            .run(&mut *tx, what)
            .await?;
        }
        tx.commit().await
    }

    /// Changes a connector, all of it or nothing. Where it is found only while no run uses it.
    pub(crate) async fn update_connector(
        &self,
        id: &ConnectorId,
        changes: &ConnectorUpdate,
        now: Timestamp,
    ) -> Result<Updated, StoreError> {
        let (mut tx, what) = (self.begin().await?, "change a connector");
        let is_there = sqlx::query("SELECT connector_id FROM connector WHERE connector_id = $1")
            .bind(id.to_string())
            .exists(&mut *tx, what)
            .await?;
        if !is_there {
            return Ok(Updated::Unknown);
        }
        if let Some(name) = &changes.name {
            sqlx::query("UPDATE connector SET name = $1 WHERE connector_id = $2")
                .bind(name.clone())
                .bind(id.to_string())
                .run(&mut *tx, what)
                .await?;
        }
        if let Some(cap) = &changes.cap {
            sqlx::query("UPDATE connector SET cap = $1 WHERE connector_id = $2")
                .bind(cap.as_ref().map(Cap::to_string))
                .bind(id.to_string())
                .run(&mut *tx, what)
                .await?;
        }
        if let Some((config, found)) = &changes.moved {
            if let Some(run) = run_through(&mut tx, id, what).await? {
                return Ok(Updated::Busy(run));
            }
            move_to(&mut tx, id, config, found, now).await?;
        }
        tx.commit().await?;
        Ok(Updated::Done)
    }

    /// Removes a connector unless a run uses it.
    pub(crate) async fn remove_connector(&self, id: &ConnectorId) -> Result<Removal, StoreError> {
        let mut tx = self.begin().await?;
        let what = "remove a connector";
        let was = sqlx::query("SELECT * FROM connector WHERE connector_id = $1")
            .bind(id.to_string())
            .find(&mut *tx, what, connector)
            .await?;
        let Some(removed) = was else { return Ok(Removal::Unknown) };
        if let Some(run) = run_through(&mut tx, id, what).await? {
            return Ok(Removal::Busy(run));
        }
        sqlx::query("UPDATE server SET connector_id = NULL WHERE connector_id = $1")
            .bind(id.to_string())
            .run(&mut *tx, what)
            .await?;
        sqlx::query("DELETE FROM connector WHERE connector_id = $1").bind(id.to_string()).run(&mut *tx, what).await?;
        tx.commit().await?;
        Ok(Removal::Removed(Box::new(removed)))
    }
}

/// A run at work that reads through a connector.
async fn run_through(tx: &mut Tx, id: &ConnectorId, what: &'static str) -> Result<Option<RunId>, StoreError> {
    sqlx::query(
        "SELECT run.run_id FROM run JOIN job ON job.job_id = run.job_id \
         JOIN server ON server.server_id = job.server_id \
         WHERE run.state IN ('ACTIVE', 'DELETING') AND server.connector_id = $1 LIMIT 1",
    )
    .bind(id.to_string())
    .find(&mut **tx, what, |row| Fields(row).id("run_id"))
    .await
}

/// The VM manager of a connector is found elsewhere from now on, and has just answered there.
async fn move_to(
    tx: &mut Tx,
    id: &ConnectorId,
    config: &ConnectorConfig,
    found: &Discovery,
    now: Timestamp,
) -> Result<(), StoreError> {
    let what = "move a connector";
    sqlx::query(
        "UPDATE connector SET config = $1, status = $2, status_reason = NULL, manager_name = $3, \
         manager_version = $4, last_contact_at = $5 WHERE connector_id = $6",
    )
    .bind(to_json(config))
    .bind(ConnectorStatus::Healthy.as_str())
    .bind(found.manager_name.clone())
    .bind(found.manager_version.clone())
    .bind(now.0)
    .bind(id.to_string())
    .run(&mut **tx, what)
    .await?;
    // Its servers say where they are; they need not wait for the next import to say it rightly.
    sqlx::query("UPDATE server SET manager_name = $1 WHERE connector_id = $2")
        .bind(found.manager_name.clone())
        .bind(id.to_string())
        .run(&mut **tx, what)
        .await?;
    Ok(())
}

fn connector(row: &AnyRow) -> Result<Connector, StoreError> {
    let fields = Fields(row);
    Ok(Connector {
        id: fields.id("connector_id")?,
        name: fields.text("name")?,
        config: fields.json("config")?,
        status: fields.name("status", ConnectorStatus::parse)?,
        status_reason: fields.opt_text("status_reason")?,
        manager_id: fields.text("manager_id")?,
        manager_name: fields.text("manager_name")?,
        manager_version: fields.text("manager_version")?,
        associated_at: fields.time("associated_at")?,
        last_contact_at: fields.time("last_contact_at")?,
        cap: fields.opt_id("cap")?,
    })
}
