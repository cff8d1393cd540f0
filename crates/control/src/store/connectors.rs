//! Connectors.

use super::query::{After, Order, Verbs};
use super::row::{Fields, to_json};
use super::{Store, StoreError};
use crate::service::Connector;
use godwit_model::connector::ConnectorStatus;
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

    /// Records what a contact with the VM manager showed. A connector that was removed meanwhile stays removed.
    pub(crate) async fn record_contact(
        &self,
        id: &ConnectorId,
        contact: &Result<Discovery, Failure>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (status, reason) = ConnectorStatus::after(contact);
        let mut tx = self.begin().await?;
        let what = "record a contact";
        sqlx::query("UPDATE connector SET status = $1, status_reason = $2 WHERE connector_id = $3")
            .bind(status.as_str())
            .bind(reason)
            .bind(id.to_string())
            .run(&mut *tx, what)
            .await?;
        if let Ok(discovery) = contact {
            sqlx::query(
                "UPDATE connector SET last_contact_at = $1, manager_name = $2, manager_version = $3 \
                 WHERE connector_id = $4 AND last_contact_at <= $1",
            )
            .bind(now.0)
            .bind(discovery.manager_name.clone())
            .bind(discovery.manager_version.clone())
            .bind(id.to_string())
            .run(&mut *tx, what)
            .await?;
        }
        tx.commit().await
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
        let busy = sqlx::query(
            "SELECT run.run_id FROM run JOIN job ON job.job_id = run.job_id \
             JOIN server ON server.server_id = job.server_id \
             WHERE run.state IN ('ACTIVE', 'DELETING') AND server.connector_id = $1 LIMIT 1",
        )
        .bind(id.to_string())
        .find(&mut *tx, what, |row| Fields(row).id("run_id"))
        .await?;
        if let Some(run) = busy {
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
