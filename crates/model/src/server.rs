//! Servers and their volumes, as a connector finds them.

use serde::{Deserialize, Serialize};

/// What runs in a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Platform {
    /// Any Linux.
    Linux,
    /// An edition of Windows for servers.
    WindowsServer,
    /// An edition of Windows for workplaces.
    WindowsClient,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Platform; 3] = [Platform::Linux, Platform::WindowsServer, Platform::WindowsClient];

    /// In the API and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Platform::Linux => "LINUX",
            Platform::WindowsServer => "WINDOWS_SERVER",
            Platform::WindowsClient => "WINDOWS_CLIENT",
        }
    }

    /// The platform of that name.
    pub fn parse(text: &str) -> Option<Platform> {
        Self::ALL.into_iter().find(|p| p.name() == text)
    }

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Platform::Linux => "Linux",
            Platform::WindowsServer => "Windows server",
            Platform::WindowsClient => "Windows client",
        }
    }
}

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
    /// What runs in it, if that could be found out: a server that is off, or has no agent, does not tell.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// One disk of a server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiscoveredVolume {
    /// Stable name of the disk within its server.
    pub device: String,
    /// Virtual size in bytes.
    pub size: u64,
    /// Bytes that hold it where it lies, if the VM manager tells: a hint of how much there is to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u64>,
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
