//! Servers of the catalog.

use super::super::enums::ServerCatalogStatus;
use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

shapes! {
    /// Request of `DescribeServers`.
    #[derive(Default)]
    DescribeServersRequest {
        /// Only these.
        server_ids: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeServers`.
    DescribeServersResponse {
        /// State of the catalog as a whole.
        server_catalog_status: ServerCatalogStatus,
        /// When the catalog last changed.
        last_modified_on: EpochSeconds,
        /// The import that is at work, or else the last one; absent if there was none since the service started or the
        /// catalog was cleared.
        catalog_import: Option<CatalogImport>,
        /// The servers, those that vanished from their VM managers too.
        servers: Vec<ServerDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// How an import of the catalog goes, or went.
    CatalogImport {
        /// When it began.
        began_on: EpochSeconds,
        /// When it ended; absent while it is at work.
        ended_on: Option<EpochSeconds>,
        /// Connectors that are asked.
        connectors: u64,
        /// Of these, those that have answered.
        answered: u64,
        /// Those that gave no servers.
        failed: u64,
        /// Why they did not; the first ones only if they are very many.
        failures: Vec<CatalogImportFailure>,
        /// Servers that are listed so far.
        servers: u64,
    }

    /// A connector that gave no servers to an import.
    CatalogImportFailure {
        /// Which.
        connector_id: String,
        /// What people call it.
        connector_name: String,
        /// Why, and what to do.
        reason: String,
    }

    /// A server.
    ServerDescription {
        /// Its id; the same after every import.
        server_id: String,
        /// The name that people know.
        name: String,
        /// Where it is in the VM manager, as a path.
        path: String,
        /// Stable id of the VM manager.
        manager_id: String,
        /// What people call the VM manager.
        manager_name: String,
        /// The VM manager's name of it.
        vm_id: String,
        /// `LINUX`, `WINDOWS_SERVER` or `WINDOWS_CLIENT`, if it is known.
        platform: Option<String>,
        /// When an import first missed it; absent while it is there.
        missing_since: Option<EpochSeconds>,
        /// Its disks, boot disk first.
        volumes: Vec<ServerVolume>,
        /// Its present job, or else its last one.
        replication_job_id: Option<String>,
        /// Whether that has ended by deletion or failure.
        replication_job_terminated: Option<bool>,
    }

    /// A disk of a server.
    ServerVolume {
        /// Stable name within the server.
        device: String,
        /// Size in bytes.
        size: u64,
    }
}
