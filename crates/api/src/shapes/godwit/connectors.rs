//! Connectors.

use super::super::enums::ConnectorStatus;
use super::super::epoch::EpochSeconds;
use super::Absent;
use serde::{Deserialize, Serialize};

/// Kind of a connector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectorType {
    /// QEMU guests and storage daemons by their QMP sockets.
    Qmp,
}

shapes! {
    /// Request of `AssociateConnector`.
    AssociateConnectorRequest {
        /// What people call it.
        name: String,
        /// Kind.
        r#type: ConnectorType,
        /// Absolute path of a QMP socket, or of a folder of them, where the service runs.
        socket: String,
    }

    /// Answer of `AssociateConnector`.
    AssociateConnectorResponse {
        /// The new connector's id.
        connector_id: String,
    }

    /// Request of `DescribeConnectors`.
    #[derive(Default)]
    DescribeConnectorsRequest {
        /// Only these.
        connector_ids: Option<Vec<String>>,
        /// Token of the page before.
        next_token: Option<String>,
        /// How many at most.
        max_results: Option<i32>,
    }

    /// Answer of `DescribeConnectors`.
    DescribeConnectorsResponse {
        /// The connectors.
        connectors: Vec<ConnectorDescription>,
        /// Token of the next page; absent on the last.
        next_token: Option<String>,
    }

    /// Request of `UpdateConnector`: what is absent stays as it is.
    UpdateConnectorRequest {
        /// Which.
        connector_id: String,
        /// What people call it.
        name: Option<String>,
        /// Absolute path of its socket or folder of sockets; it must lead to the same VM manager.
        socket: Option<String>,
        /// How fast all runs together may read by it, in the language of caps.
        bandwidth_cap: Option<String>,
    }

    /// Request of `TestConnector`.
    TestConnectorRequest {
        /// Kind.
        r#type: ConnectorType,
        /// Absolute path of a QMP socket, or of a folder of them, where the service runs.
        socket: String,
    }

    /// Answer of `TestConnector`: what would be associated.
    TestConnectorResponse {
        /// Stable id of the VM manager.
        manager_id: String,
        /// What people call the VM manager.
        manager_name: String,
        /// The VM manager's version; empty if nothing answered that could tell.
        manager_version: String,
        /// Servers found.
        servers: u64,
        /// Names of the first of them.
        server_names: Vec<String>,
        /// What was seen and cannot be used, one sentence each.
        warnings: Vec<String>,
        /// The connector that the VM manager is associated as already.
        connector_id: Option<String>,
        /// What people call that one.
        connector_name: Option<String>,
    }

    /// A connector.
    ConnectorDescription {
        /// Its id.
        connector_id: String,
        /// What people call it.
        name: String,
        /// Kind.
        r#type: ConnectorType,
        /// Path of its socket or folder of sockets.
        socket: String,
        /// Whether the last contact succeeded.
        status: ConnectorStatus,
        /// Why it is unhealthy.
        status_reason: Option<String>,
        /// Stable id of the VM manager.
        manager_id: String,
        /// What people call the VM manager.
        manager_name: String,
        /// The VM manager's version.
        manager_version: String,
        /// When it was associated.
        associated_on: EpochSeconds,
        /// When the VM manager last answered.
        last_contact_on: EpochSeconds,
        /// How fast all runs together may read by it; absent if as fast as it goes.
        bandwidth_cap: Option<String>,
    }
}
