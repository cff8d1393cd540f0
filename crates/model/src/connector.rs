//! Connectors: what stands next to a VM manager.

use crate::failure::Failure;
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
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectorConfig {
    /// QEMU guests and storage daemons by their QMP sockets.
    Qmp {
        /// Absolute path of a QMP socket, or of a folder of them.
        socket: String,
    },
}

impl ConnectorStatus {
    /// As in the API model.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConnectorStatus::Healthy => "HEALTHY",
            ConnectorStatus::Unhealthy => "UNHEALTHY",
        }
    }

    /// The status of that name.
    pub fn parse(text: &str) -> Option<ConnectorStatus> {
        [ConnectorStatus::Healthy, ConnectorStatus::Unhealthy].into_iter().find(|s| s.as_str() == text)
    }

    /// What a contact shows: the status, and the reason if it is not well. The last contact decides alone.
    pub fn after<T>(contact: &Result<T, Failure>) -> (ConnectorStatus, Option<String>) {
        match contact {
            Ok(_) => (ConnectorStatus::Healthy, None),
            Err(failure) => (ConnectorStatus::Unhealthy, Some(failure.message())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    #[test]
    fn names_are_those_of_the_model() {
        for status in [ConnectorStatus::Healthy, ConnectorStatus::Unhealthy] {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
            assert_eq!(ConnectorStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn an_unhealthy_connector_says_why() {
        let failed: Result<(), Failure> = Err(Failure::new(Code::SourceUnreachable, "socket /x does not answer"));
        let (status, reason) = ConnectorStatus::after(&failed);
        assert_eq!(status, ConnectorStatus::Unhealthy);
        assert!(reason.unwrap().contains("socket /x does not answer"));
        assert_eq!(ConnectorStatus::after(&Ok(1)), (ConnectorStatus::Healthy, None));
    }
}
