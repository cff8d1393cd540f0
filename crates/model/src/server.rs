//! Servers and their volumes, as a connector finds them.

use serde::{Deserialize, Serialize};

/// A server that a VM manager offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiscoveredServer {
    /// The VM manager's own stable name of it; with the manager's id it identifies the server for ever.
    pub vm_id: String,
    /// The name that people know.
    pub name: String,
    /// Where it is in the VM manager, as a path: `/folder/name`.
    pub path: String,
    /// Its disks, boot disk first.
    pub volumes: Vec<DiscoveredVolume>,
}

/// One disk of a server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiscoveredVolume {
    /// Stable name of the disk within its server.
    pub device: String,
    /// Virtual size in bytes.
    pub size: u64,
}

/// What a VM manager is and offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Discovery {
    /// Stable id of the VM manager.
    pub manager_id: String,
    /// What people call it.
    pub manager_name: String,
    /// Version text, for example of QEMU.
    pub manager_version: String,
    /// All servers found.
    pub servers: Vec<DiscoveredServer>,
    /// What was seen and could not be used, one sentence each: "socket … does not answer".
    pub warnings: Vec<String>,
}
