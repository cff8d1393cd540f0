//! The server catalog.

use super::{Outcome, page};
use crate::shapes::answers::{DeleteServerCatalogResponse, GetServersResponse, ImportServerCatalogResponse};
use crate::shapes::enums::{ServerCatalogStatus, ServerType};
use crate::shapes::godwit::{
    CatalogImport, CatalogImportFailure, DescribeServersRequest, DescribeServersResponse, ServerDescription,
    ServerVolume,
};
use crate::shapes::requests::{DeleteServerCatalogRequest, GetServersRequest, ImportServerCatalogRequest};
use crate::shapes::structures::{self, VmServer, VmServerAddress};
use godwit_control::service::{ImportFailure, ImportProgress, Server, Service, VmAddress};
use godwit_model::catalog::CatalogStatus;
use godwit_model::time::Timestamp;

/// `ImportServerCatalog`.
pub async fn import_catalog(
    service: &Service,
    now: Timestamp,
    _request: ImportServerCatalogRequest,
) -> Outcome<ImportServerCatalogResponse> {
    service.import_server_catalog(now).await?;
    Ok(ImportServerCatalogResponse {})
}

/// `DeleteServerCatalog`.
pub async fn delete_catalog(
    service: &Service,
    now: Timestamp,
    _request: DeleteServerCatalogRequest,
) -> Outcome<DeleteServerCatalogResponse> {
    service.delete_server_catalog(now).await?;
    Ok(DeleteServerCatalogResponse {})
}

/// `GetServers`.
pub async fn get(service: &Service, _now: Timestamp, request: GetServersRequest) -> Outcome<GetServersResponse> {
    let addresses: Option<Vec<VmAddress>> =
        request.vm_server_address_list.map(|list| list.into_iter().map(address).collect());
    let page = page(request.next_token, request.max_results);
    let catalog = service.get_servers(addresses.as_deref(), &page).await?;
    let servers = catalog.servers.map(server);
    Ok(GetServersResponse {
        last_modified_on: Some(catalog.modified_at.into()),
        server_catalog_status: Some(status(catalog.status)),
        server_list: Some(servers.items),
        next_token: servers.next,
    })
}

/// `DescribeServers`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeServersRequest,
) -> Outcome<DescribeServersResponse> {
    let page = page(request.next_token, request.max_results);
    let catalog = service.describe_servers(request.server_ids.as_deref(), &page).await?;
    let servers = catalog.servers.map(description);
    Ok(DescribeServersResponse {
        server_catalog_status: status(catalog.status),
        last_modified_on: catalog.modified_at.into(),
        catalog_import: catalog.import.map(import),
        servers: servers.items,
        next_token: servers.next,
    })
}

fn import(import: ImportProgress) -> CatalogImport {
    let failure = |failure: ImportFailure| CatalogImportFailure {
        connector_id: failure.connector.to_string(),
        connector_name: failure.name,
        reason: failure.reason,
    };
    CatalogImport {
        began_on: import.began_at.into(),
        ended_on: import.ended_at.map(Into::into),
        connectors: import.connectors,
        answered: import.answered,
        failed: import.failed,
        failures: import.failures.into_iter().map(failure).collect(),
        servers: import.servers,
    }
}

fn description(server: Server) -> ServerDescription {
    ServerDescription {
        server_id: server.id.to_string(),
        name: server.name,
        path: server.path,
        manager_id: server.address.manager_id,
        manager_name: server.manager_name,
        vm_id: server.address.vm_id,
        platform: server.platform.map(|platform| platform.name().to_owned()),
        missing_since: server.missing_since.map(Into::into),
        volumes: server.volumes.into_iter().map(|v| ServerVolume { device: v.device, size: v.size }).collect(),
        replication_job_terminated: server.job.is_some().then_some(server.job_terminated),
        replication_job_id: server.job.map(|id| id.to_string()),
    }
}

/// A server of the catalog.
pub fn server(server: Server) -> structures::Server {
    // Only servers that have or had a job say something about it.
    let terminated = server.job.is_some().then_some(server.job_terminated);
    structures::Server {
        server_id: Some(server.id.to_string()),
        server_type: Some(ServerType::VirtualMachine),
        replication_job_id: server.job.as_ref().map(ToString::to_string),
        replication_job_terminated: terminated,
        vm_server: Some(vm_server(server)),
    }
}

/// Where a server is and what it is called.
pub fn vm_server(server: Server) -> VmServer {
    VmServer {
        vm_server_address: Some(VmServerAddress {
            vm_manager_id: Some(server.address.manager_id),
            vm_id: Some(server.address.vm_id),
        }),
        vm_name: Some(server.name),
        vm_manager_name: Some(server.manager_name),
        vm_manager_type: None,
        vm_path: Some(server.path),
    }
}

fn address(address: VmServerAddress) -> VmAddress {
    VmAddress { manager_id: address.vm_manager_id.unwrap_or_default(), vm_id: address.vm_id.unwrap_or_default() }
}

fn status(status: CatalogStatus) -> ServerCatalogStatus {
    match status {
        CatalogStatus::NotImported => ServerCatalogStatus::NotImported,
        CatalogStatus::Importing => ServerCatalogStatus::Importing,
        CatalogStatus::Available => ServerCatalogStatus::Available,
        CatalogStatus::Deleted => ServerCatalogStatus::Deleted,
        CatalogStatus::Expired => ServerCatalogStatus::Expired,
    }
}
