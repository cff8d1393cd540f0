//! The server catalog: what the connectors found.
//!
//! ```text
//!  NOT_IMPORTED, AVAILABLE, DELETED, EXPIRED ── Import ──► IMPORTING ── Imported ──► AVAILABLE ── Expire ──► EXPIRED
//!                                                             └── ImportFailed ──► what it was before the import
//!  every state ── Clear ──► DELETED
//! ```
//!
//! An import that nobody answered leaves the catalog as it was. One that was cleared meanwhile ends without effect.

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

/// What happens to the catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Somebody wants it filled.
    Import,
    /// At least one connector answered.
    Imported,
    /// No connector answered.
    ImportFailed {
        /// What the catalog was when the import began.
        before: CatalogStatus,
    },
    /// Somebody wants it empty.
    Clear,
    /// It is too old.
    Expire,
}

/// An event that a status does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a catalog that is {} does not take the event {event:?}", status.as_str())]
pub struct Denied {
    /// What it is, and stays.
    pub status: CatalogStatus,
    /// What was tried.
    pub event: Event,
}

impl CatalogStatus {
    /// Every status.
    pub const ALL: [CatalogStatus; 5] = [
        CatalogStatus::NotImported,
        CatalogStatus::Importing,
        CatalogStatus::Available,
        CatalogStatus::Deleted,
        CatalogStatus::Expired,
    ];

    /// As in the API model.
    pub const fn as_str(self) -> &'static str {
        match self {
            CatalogStatus::NotImported => "NOT_IMPORTED",
            CatalogStatus::Importing => "IMPORTING",
            CatalogStatus::Available => "AVAILABLE",
            CatalogStatus::Deleted => "DELETED",
            CatalogStatus::Expired => "EXPIRED",
        }
    }

    /// The status of that name.
    pub fn parse(text: &str) -> Option<CatalogStatus> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// What becomes of a catalog that is `status` when `event` happens.
pub fn step(status: &CatalogStatus, event: Event) -> Result<CatalogStatus, Denied> {
    use CatalogStatus::{Available, Deleted, Expired, Importing};
    Ok(match (*status, event) {
        (_, Event::Import) => Importing,
        (Importing, Event::Imported) => Available,
        (Importing, Event::ImportFailed { before: Importing }) => {
            return Err(Denied { status: Importing, event });
        }
        (Importing, Event::ImportFailed { before }) => before,
        (_, Event::Clear) => Deleted,
        (Available, Event::Expire) => Expired,
        (status, event) => return Err(Denied { status, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_model() {
        for status in CatalogStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
            assert_eq!(CatalogStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn every_pair_of_status_and_event_is_decided() {
        for status in CatalogStatus::ALL {
            assert_eq!(step(&status, Event::Import), Ok(CatalogStatus::Importing));
            assert_eq!(step(&status, Event::Clear), Ok(CatalogStatus::Deleted));
            let importing = status == CatalogStatus::Importing;
            assert_eq!(step(&status, Event::Imported).is_ok(), importing);
            assert_eq!(step(&status, Event::Expire).is_ok(), status == CatalogStatus::Available);
            for before in CatalogStatus::ALL {
                let after = step(&status, Event::ImportFailed { before });
                assert_eq!(after.ok(), (importing && before != CatalogStatus::Importing).then_some(before));
            }
        }
    }
}
