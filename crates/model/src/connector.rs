//! Connectors: what stands next to a VM manager.

use serde::{Deserialize, Serialize};

/// Whether a connector can do its work. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectorStatus {
    /// The last contact succeeded.
    Healthy,
    /// The last contact failed.
    Unhealthy,
}

/// How a connector reaches its VM manager.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectorConfig {
    /// QEMU guests and storage daemons by their QMP sockets.
    Qmp {
        /// Absolute path of a QMP socket, or of a folder of them.
        socket: String,
    },
}
