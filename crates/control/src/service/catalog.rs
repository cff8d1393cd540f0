//! The server catalog: import, list, clear.

use super::page::{only, paged};
use super::{Answer, ErrorCode, Page, Paged, Service, ServiceError};
pub use crate::import::{ImportFailure, ImportProgress};
use crate::store::CatalogRow;
use godwit_model::catalog::CatalogStatus;
use godwit_model::id::{JobId, ServerId};
use godwit_model::server::{DiscoveredVolume, Platform};
use godwit_model::time::Timestamp;
use std::collections::HashMap;

/// Addresses in one request at most: the answer is one page.
const LONGEST_ADDRESS_LIST: usize = 1_000;

/// Where a server is: its VM manager, and the manager's name of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VmAddress {
    /// Stable id of the VM manager.
    pub manager_id: String,
    /// The VM manager's name of the server.
    pub vm_id: String,
}

/// A server of the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its id; the same after every import.
    pub id: ServerId,
    /// Where it is.
    pub address: VmAddress,
    /// The name that people know.
    pub name: String,
    /// Where it is in the VM manager, as a path.
    pub path: String,
    /// What people call the VM manager.
    pub manager_name: String,
    /// Its disks, boot disk first.
    pub volumes: Vec<DiscoveredVolume>,
    /// What runs in it, if it is known.
    pub platform: Option<Platform>,
    /// When an import first missed it at its VM manager; `None` while it is there.
    pub missing_since: Option<Timestamp>,
    /// Its present job, or else its last one.
    pub job: Option<JobId>,
    /// Whether that job has ended by deletion or failure.
    pub job_terminated: bool,
}

/// The catalog, and a page of its servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalog {
    /// State of the catalog as a whole.
    pub status: CatalogStatus,
    /// When the catalog last changed.
    pub modified_at: Timestamp,
    /// How the import that is at work goes, or how the last one went, if this process has seen it and nothing was
    /// cleared since.
    pub import: Option<ImportProgress>,
    /// The servers.
    pub servers: Paged<Server>,
}

impl Service {
    /// `ImportServerCatalog`: returns at once; the connectors gather in the background. While an import is at work
    /// another request changes nothing.
    pub async fn import_server_catalog(&self, now: Timestamp) -> Answer<()> {
        if self.line.store.connectors(None, 1).await?.is_empty() {
            let what = "no connector is associated: associate one first (godwit connectors add)";
            return Err(ServiceError::new(ErrorCode::NoConnectorsAvailable, what));
        }
        self.line.store.begin_import(now).await?;
        self.line.wake.notify_one();
        Ok(())
    }

    /// `GetServers`. If `addresses` are given and not empty: only the servers there.
    pub async fn get_servers(&self, addresses: Option<&[VmAddress]>, page: &Page) -> Answer<Catalog> {
        if let Some(n) = addresses.map(<[VmAddress]>::len).filter(|n| *n > LONGEST_ADDRESS_LIST) {
            let what = format!("vmServerAddressList has {n} entries: give at most {LONGEST_ADDRESS_LIST}");
            return Err(ServiceError::invalid(what));
        }
        let store = &self.line.store;
        let catalog = store.catalog().await?;
        let servers = match addresses {
            Some(addresses) if !addresses.is_empty() => {
                let vm_ids: Vec<String> = addresses.iter().map(|address| address.vm_id.clone()).collect();
                let found = store.servers_called(&vm_ids).await?;
                let found: HashMap<VmAddress, Server> = found.into_iter().map(|s| (s.address.clone(), s)).collect();
                let items = addresses.iter().filter_map(|address| found.get(address).cloned()).collect();
                Paged { items, next: None }
            }
            _ => paged(page, "servers", |after, limit| store.servers(after, limit), |s| (0, s.id.to_string())).await?,
        };
        Ok(self.with_import(catalog, servers))
    }

    /// `DescribeServers`: also those that an import missed at their VM managers. If `ids` are given: exactly these, on
    /// one page.
    pub async fn describe_servers(&self, ids: Option<&[String]>, page: &Page) -> Answer<Catalog> {
        let store = &self.line.store;
        let catalog = store.catalog().await?;
        let servers = match ids {
            Some(ids) => {
                let read = async |ids: &[ServerId]| store.servers_named(ids).await;
                only(ids, "server", "all servers", page, read).await?
            }
            None => {
                let read = |after, limit| store.all_servers(after, limit);
                paged(page, "all servers", read, |s| (0, s.id.to_string())).await?
            }
        };
        Ok(self.with_import(catalog, servers))
    }

    fn with_import(&self, catalog: CatalogRow, servers: Paged<Server>) -> Catalog {
        let import = self.line.imports.of(catalog.import);
        Catalog { status: catalog.status, modified_at: catalog.modified_at, import, servers }
    }

    /// `DeleteServerCatalog`: the list is empty afterwards; jobs go on, and a later import gives the same ids.
    pub async fn delete_server_catalog(&self, now: Timestamp) -> Answer<()> {
        self.line.store.clear_catalog(now).await?;
        self.line.wake.notify_one();
        Ok(())
    }
}
