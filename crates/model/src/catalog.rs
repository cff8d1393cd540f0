//! The server catalog: what the connectors found.

use serde::{Deserialize, Serialize};

/// State of the catalog as a whole. Strings of the API model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CatalogStatus {
    /// Never imported.
    NotImported,
    /// Connectors are gathering.
    Importing,
    /// Usable.
    Available,
    /// Emptied on request.
    Deleted,
    /// Too old to rely on.
    Expired,
}
