//! Connectors.

use super::{Outcome, page};
use crate::errors::{ApiError, ErrorCode};
use crate::shapes::answers::{DisassociateConnectorResponse, GetConnectorsResponse};
use crate::shapes::enums;
use crate::shapes::godwit::{
    AssociateConnectorRequest, AssociateConnectorResponse, ConnectorDescription, ConnectorType,
    DescribeConnectorsRequest, DescribeConnectorsResponse, NoAnswer, TestConnectorRequest, TestConnectorResponse,
    UpdateConnectorRequest,
};
use crate::shapes::requests::{DisassociateConnectorRequest, GetConnectorsRequest};
use crate::shapes::structures;
use godwit_control::service::{Connector, ConnectorChanges, NewConnector, Service, ServiceError};
use godwit_model::connector::{ConnectorConfig, ConnectorStatus};
use godwit_model::failure::Code;
use godwit_model::time::Timestamp;

/// The version of the connector that is part of the service: the same as the service's.
const EMBEDDED_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Servers that a test names: enough to recognise the place, not a catalog.
const NAMED_SERVERS: usize = 10;

/// `GetConnectors`.
pub async fn get(service: &Service, _now: Timestamp, request: GetConnectorsRequest) -> Outcome<GetConnectorsResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_connectors(None, &page).await?.map(connector);
    Ok(GetConnectorsResponse { connector_list: Some(found.items), next_token: found.next })
}

/// `DisassociateConnector`.
pub async fn disassociate(
    service: &Service,
    now: Timestamp,
    request: DisassociateConnectorRequest,
) -> Outcome<DisassociateConnectorResponse> {
    service.disassociate_connector(&request.connector_id, now).await?;
    Ok(DisassociateConnectorResponse {})
}

/// `AssociateConnector`.
pub async fn associate(
    service: &Service,
    now: Timestamp,
    request: AssociateConnectorRequest,
) -> Outcome<AssociateConnectorResponse> {
    let new = NewConnector { name: request.name, config: config(request.r#type, request.socket) };
    let id = service.associate_connector(new, now).await.map_err(refusal)?;
    Ok(AssociateConnectorResponse { connector_id: id.to_string() })
}

/// `TestConnector`.
pub async fn test(service: &Service, _now: Timestamp, request: TestConnectorRequest) -> Outcome<TestConnectorResponse> {
    let test = service.test_connector(&config(request.r#type, request.socket)).await.map_err(refusal)?;
    let found = test.found;
    Ok(TestConnectorResponse {
        manager_id: found.manager_id,
        manager_name: found.manager_name,
        manager_version: found.manager_version,
        servers: found.servers.len() as u64,
        server_names: found.servers.into_iter().take(NAMED_SERVERS).map(|server| server.name).collect(),
        warnings: found.warnings,
        connector_id: test.connector.as_ref().map(|connector| connector.id.to_string()),
        connector_name: test.connector.map(|connector| connector.name),
    })
}

/// `DescribeConnectors`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeConnectorsRequest,
) -> Outcome<DescribeConnectorsResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_connectors(request.connector_ids.as_deref(), &page).await?.map(description);
    Ok(DescribeConnectorsResponse { connectors: found.items, next_token: found.next })
}

/// `UpdateConnector`.
pub async fn update(service: &Service, now: Timestamp, request: UpdateConnectorRequest) -> Outcome<NoAnswer> {
    let UpdateConnectorRequest { connector_id, name, socket, bandwidth_cap } = request;
    let changes = ConnectorChanges { name, socket, cap: bandwidth_cap };
    service.update_connector(&connector_id, changes, now).await.map_err(refusal)?;
    Ok(NoAnswer {})
}

fn config(r#type: ConnectorType, socket: String) -> ConnectorConfig {
    match r#type {
        ConnectorType::Qmp => ConnectorConfig::Qmp { socket },
    }
}

/// A VM manager that does not answer is out of reach for a run, but a wrong parameter of whoever names it here: the
/// caller is to look at the path, not to try again.
fn refusal(error: ServiceError) -> ApiError {
    let is = |code: Code| error.message.starts_with(code.as_str());
    if is(Code::SourceUnreachable) || is(Code::TimedOut) {
        return ApiError::new(ErrorCode::InvalidParameterException, format!("socket: {}", error.message));
    }
    error.into()
}

/// A connector as the seed service shows it. A manager of QEMU guests has no `vmManagerType` and no capability there:
/// the model knows none for it, and typed clients break on words that it does not know.
fn connector(connector: Connector) -> structures::Connector {
    structures::Connector {
        connector_id: Some(connector.id.to_string()),
        version: Some(EMBEDDED_VERSION.to_owned()),
        status: Some(status(connector.status)),
        capability_list: Some(vec![]),
        vm_manager_name: Some(connector.manager_name),
        vm_manager_type: None,
        vm_manager_id: Some(connector.manager_id),
        ip_address: None,
        mac_address: None,
        associated_on: Some(connector.associated_at.into()),
    }
}

fn description(connector: Connector) -> ConnectorDescription {
    let (r#type, socket) = match connector.config {
        ConnectorConfig::Qmp { socket } => (ConnectorType::Qmp, socket),
    };
    ConnectorDescription {
        connector_id: connector.id.to_string(),
        name: connector.name,
        r#type,
        socket,
        status: status(connector.status),
        status_reason: connector.status_reason,
        manager_id: connector.manager_id,
        manager_name: connector.manager_name,
        manager_version: connector.manager_version,
        associated_on: connector.associated_at.into(),
        last_contact_on: connector.last_contact_at.into(),
        bandwidth_cap: connector.cap.map(|cap| cap.to_string()),
    }
}

fn status(status: ConnectorStatus) -> enums::ConnectorStatus {
    match status {
        ConnectorStatus::Healthy => enums::ConnectorStatus::Healthy,
        ConnectorStatus::Unhealthy => enums::ConnectorStatus::Unhealthy,
    }
}
