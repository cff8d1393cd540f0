//! The server catalog.

use super::query::{After, MOST_VALUES, Verbs, bind_all, places};
use super::row::{Fields, to_json, to_sql};
use super::{Store, StoreError, Tx};
use crate::audit::NewAuditRecord;
use crate::control::Draw;
use crate::service::{Server, VmAddress};
use godwit_model::catalog::{CatalogStatus, Event, step};
use godwit_model::id::{ConnectorId, ServerId};
use godwit_model::job::JobState;
use godwit_model::server::{DiscoveredServer, Discovery, Platform};
use godwit_model::time::Timestamp;
use sqlx::AnyExecutor;
use sqlx::any::AnyRow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A server's row with its present job, or else its last one.
pub(super) const SERVER_WITH_JOB: &str = "SELECT server.*, job.job_id AS job_id, job.state AS job_state FROM server \
    LEFT JOIN job ON job.job_id = (SELECT j.job_id FROM job j WHERE j.server_id = server.server_id \
    ORDER BY j.created_at DESC, j.job_id DESC LIMIT 1) ";

/// Servers in one statement: some hundred values, see [`MOST_VALUES`].
const BATCH: usize = MOST_VALUES / 5;

/// State of the catalog.
#[derive(Clone, Debug)]
pub(crate) struct CatalogRow {
    pub status: CatalogStatus,
    pub before: CatalogStatus,
    /// Fences imports: see the table's comment.
    pub import: i64,
    pub modified_at: Timestamp,
}

impl Store {
    pub(crate) async fn catalog(&self) -> Result<CatalogRow, StoreError> {
        read_catalog(self.reader()).await
    }

    /// Gives the catalog of a new data folder its first time of change.
    pub(crate) async fn date_catalog(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE catalog SET modified_at = $1 WHERE modified_at = 0")
            .bind(now.0)
            .run(&mut *tx, "date the catalog")
            .await?;
        tx.commit().await
    }

    /// Marks the catalog as importing. An import that is at work stays the one it is.
    pub(crate) async fn begin_import(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let was = read_catalog(&mut *tx).await?;
        if was.status == CatalogStatus::Importing {
            return Ok(());
        }
        let status = step(&was.status, Event::Import).expect("every catalog can be imported");
        write_catalog(&mut tx, status, was.status, was.import + 1, now).await?;
        tx.commit().await
    }

    /// Records what one connector found in the import of this number. Gives how many servers of it are listed.
    pub(crate) async fn import_servers(
        &self,
        import: i64,
        connector: &ConnectorId,
        found: &Discovery,
        draw: &Draw,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let mut listed = 0;
        let was = read_catalog(&mut *tx).await?;
        if was.import != import || was.status != CatalogStatus::Importing {
            return Err(StoreError::Stale);
        }
        for servers in found.servers.chunks(BATCH) {
            let elsewhere = offered_by_another(&mut tx, connector, servers).await?;
            let mut ours = BTreeMap::new();
            for server in servers {
                match elsewhere.get(&server.vm_id) {
                    // An id twice in one statement is refused by some databases; a manager has each once.
                    None => ours.insert(&server.vm_id, server),
                    Some(other) => {
                        let (name, vm_id) = (&server.name, &server.vm_id);
                        tracing::warn!(%connector, name, vm_id, "left out of the catalog: {other} offers the same machine");
                        continue;
                    }
                };
            }
            let ours: Vec<&DiscoveredServer> = ours.into_values().collect();
            upsert(&mut tx, import, connector, found, &ours, draw, now).await?;
            listed += ours.len() as u64;
        }
        sqlx::query(
            "UPDATE server SET listed = 0, missing_since = COALESCE(missing_since, $1) \
             WHERE manager_id = $2 AND import_number <> $3",
        )
        .bind(now.0)
        .bind(found.manager_id.clone())
        .bind(import)
        .run(&mut *tx, "mark servers that vanished")
        .await?;
        tx.commit().await?;
        Ok(listed)
    }

    /// Ends the import of this number. Servers whose connector is gone are not listed any more.
    pub(crate) async fn end_import(&self, import: i64, answered: bool, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let was = read_catalog(&mut *tx).await?;
        let event = if answered { Event::Imported } else { Event::ImportFailed { before: was.before } };
        let (true, Ok(status)) = (was.import == import, step(&was.status, event)) else {
            return Err(StoreError::Stale);
        };
        if answered {
            sqlx::query("UPDATE server SET listed = 0 WHERE connector_id IS NULL")
                .run(&mut *tx, "unlist servers without a connector")
                .await?;
        }
        write_catalog(&mut tx, status, was.before, import, now).await?;
        tx.commit().await
    }

    /// Empties the catalog. An import at work is void.
    pub(crate) async fn clear_catalog(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let was = read_catalog(&mut *tx).await?;
        let status = step(&was.status, Event::Clear).expect("every catalog can be cleared");
        sqlx::query("UPDATE server SET listed = 0, missing_since = NULL").run(&mut *tx, "empty the catalog").await?;
        write_catalog(&mut tx, status, was.status, was.import + 1, now).await?;
        tx.commit().await
    }

    /// Marks a catalog that was imported at `before` or earlier as expired: what it lists may be gone long since.
    pub(crate) async fn expire_catalog(&self, before: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let was = read_catalog(&mut *tx).await?;
        if was.modified_at > before {
            return Ok(());
        }
        let Ok(status) = step(&was.status, Event::Expire) else { return Ok(()) };
        sqlx::query("UPDATE server SET listed = 0").run(&mut *tx, "empty the catalog").await?;
        write_catalog(&mut tx, status, was.status, was.import, now).await?;
        let record = NewAuditRecord::of_the_service("godwit:ExpireServerCatalog", &serde_json::json!({}), now);
        Store::append_audit(&mut tx, record).await?;
        tx.commit().await
    }

    /// A server, listed or not.
    pub(crate) async fn server(&self, id: &ServerId) -> Result<Option<(Server, Option<ConnectorId>)>, StoreError> {
        sqlx::query(sqlx::AssertSqlSafe(format!("{SERVER_WITH_JOB} WHERE server.server_id = $1")))
            .bind(id.to_string())
            .find(self.reader(), "read a server", |row| Ok((server(row)?, Fields(row).opt_id("connector_id")?)))
            .await
    }

    /// Up to `limit` listed servers behind the one named, in the order of their ids: that order never changes.
    pub(crate) async fn servers(&self, after: Option<After>, limit: usize) -> Result<Vec<Server>, StoreError> {
        self.servers_where("server.listed = 1", after, limit).await
    }

    /// The same with those that vanished from their VM managers.
    pub(crate) async fn all_servers(&self, after: Option<After>, limit: usize) -> Result<Vec<Server>, StoreError> {
        self.servers_where("(server.listed = 1 OR server.missing_since IS NOT NULL)", after, limit).await
    }

    async fn servers_where(
        &self,
        condition: &'static str,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<Server>, StoreError> {
        let sql =
            format!("{SERVER_WITH_JOB} WHERE {condition} AND server.server_id > $1 ORDER BY server.server_id LIMIT $2");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(after.map(|a| a.id).unwrap_or_default())
            .bind(to_sql(limit))
            .all(self.reader(), "list servers", server)
            .await
    }
}

async fn read_catalog<'c>(at: impl AnyExecutor<'c>) -> Result<CatalogRow, StoreError> {
    sqlx::query("SELECT * FROM catalog WHERE catalog_id = 1").one(at, "read the catalog", catalog).await
}

async fn write_catalog(
    tx: &mut Tx,
    status: CatalogStatus,
    before: CatalogStatus,
    import: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE catalog SET status = $1, status_before = $2, import_number = $3, modified_at = $4 WHERE catalog_id = 1",
    )
    .bind(status.as_str())
    .bind(before.as_str())
    .bind(import)
    .bind(now.0)
    .run(&mut **tx, "write the catalog")
    .await?;
    Ok(())
}

/// The connectors through which some of these machines are listed already, by the machine. Runs through both would end
/// each other's points in time. Only ids that are one machine's in all the world can tell.
async fn offered_by_another(
    tx: &mut Tx,
    connector: &ConnectorId,
    servers: &[DiscoveredServer],
) -> Result<HashMap<String, ConnectorId>, StoreError> {
    let unique: Vec<&String> = servers.iter().map(|s| &s.vm_id).filter(|vm_id| is_uuid(vm_id)).collect();
    if unique.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT vm_id, connector_id FROM server WHERE connector_id <> $1 AND listed = 1 AND vm_id IN {}",
        places(2, unique.len())
    );
    let statement = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(connector.to_string());
    let found = bind_all(statement, &unique)
        .all(&mut **tx, "look for machines", |row| Ok((Fields(row).text("vm_id")?, Fields(row).id("connector_id")?)))
        .await?;
    Ok(found.into_iter().collect())
}

/// Whether a VM manager's id of a server is a UUID.
fn is_uuid(vm_id: &str) -> bool {
    let groups: Vec<&str> = vm_id.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Records servers of one manager, each once.
async fn upsert(
    tx: &mut Tx,
    import: i64,
    connector: &ConnectorId,
    found: &Discovery,
    servers: &[&DiscoveredServer],
    draw: &Draw,
    now: Timestamp,
) -> Result<(), StoreError> {
    if servers.is_empty() {
        return Ok(());
    }
    let ids = fresh_ids(tx, servers.len(), draw).await?;
    // What all of them have in common comes first: $1 to $5.
    let rows: Vec<String> = (0..servers.len())
        .map(|n| {
            let at = |column: usize| 6 + 6 * n + column;
            let own: Vec<String> = (0..6).map(|column| format!("${}", at(column))).collect();
            format!("({}, $1, $2, $3, 1, $4, $5, NULL)", own.join(", "))
        })
        .collect();
    let sql = format!(
        "INSERT INTO server (server_id, vm_id, name, path, volumes, platform, manager_id, connector_id, manager_name, \
         listed, import_number, created_at, missing_since) VALUES {} \
         ON CONFLICT (manager_id, vm_id) DO UPDATE SET connector_id = excluded.connector_id, \
         manager_name = excluded.manager_name, name = excluded.name, path = excluded.path, \
         volumes = excluded.volumes, listed = 1, import_number = excluded.import_number, missing_since = NULL, \
         platform = COALESCE(excluded.platform, server.platform)",
        rows.join(", ")
    );
    let mut statement = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(found.manager_id.clone())
        .bind(connector.to_string())
        .bind(found.manager_name.clone())
        .bind(import)
        .bind(now.0);
    for (server, id) in servers.iter().zip(ids) {
        statement = statement
            .bind(id.to_string())
            .bind(server.vm_id.clone())
            .bind(server.name.clone())
            .bind(server.path.clone())
            .bind(to_json(&server.volumes))
            .bind(server.platform.map(Platform::name));
    }
    statement.run(&mut **tx, "record servers").await?;
    Ok(())
}

/// Draws ids that no server has.
async fn fresh_ids(tx: &mut Tx, count: usize, draw: &Draw) -> Result<Vec<ServerId>, StoreError> {
    let mut ids: BTreeSet<ServerId> = BTreeSet::new();
    // With 32 bits and a million servers, more than a few rounds would be odd.
    for _ in 0..64 {
        let missing = count - ids.len();
        if missing == 0 {
            return Ok(ids.into_iter().collect());
        }
        let drawn: BTreeSet<ServerId> = (0..missing).map(|_| ServerId::from_bits(draw())).collect();
        let drawn: Vec<ServerId> = drawn.into_iter().filter(|id| !ids.contains(id)).collect();
        if drawn.is_empty() {
            continue;
        }
        let sql = format!("SELECT server_id FROM server WHERE server_id IN {}", places(1, drawn.len()));
        let taken: BTreeSet<ServerId> = bind_all(sqlx::query(sqlx::AssertSqlSafe(sql)), &drawn)
            .all(&mut **tx, "look for free ids", |row| Fields(row).id("server_id"))
            .await?
            .into_iter()
            .collect();
        ids.extend(drawn.into_iter().filter(|id| !taken.contains(id)));
    }
    Err(StoreError::NoFreeId)
}

fn catalog(row: &AnyRow) -> Result<CatalogRow, StoreError> {
    let fields = Fields(row);
    Ok(CatalogRow {
        status: fields.name("status", CatalogStatus::parse)?,
        before: fields.name("status_before", CatalogStatus::parse)?,
        import: fields.int("import_number")?,
        modified_at: fields.time("modified_at")?,
    })
}

pub(super) fn server(row: &AnyRow) -> Result<Server, StoreError> {
    let fields = Fields(row);
    let job_state = fields.opt_name("job_state", JobState::parse)?;
    Ok(Server {
        id: fields.id("server_id")?,
        address: VmAddress { manager_id: fields.text("manager_id")?, vm_id: fields.text("vm_id")? },
        name: fields.text("name")?,
        path: fields.text("path")?,
        manager_name: fields.text("manager_name")?,
        volumes: fields.json("volumes")?,
        platform: fields.opt_name("platform", Platform::parse)?,
        missing_since: fields.opt_time("missing_since")?,
        job: fields.opt_id("job_id")?,
        job_terminated: job_state.is_some_and(JobState::is_terminated),
    })
}
