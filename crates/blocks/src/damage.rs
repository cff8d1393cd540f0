//! What can be wrong with bytes that came out of the store.

use godwit_model::failure::{Code, Failure};
use object_store::path::Path;

/// Why bytes are not what was written. `part` says which part of the object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// Fewer bytes than the format needs.
    #[error("{part} is too short")]
    Short {
        /// Which part.
        part: &'static str,
    },
    /// Does not begin or end as every object of its kind does.
    #[error("{part} does not carry the mark of its format")]
    Magic {
        /// Which part.
        part: &'static str,
    },
    /// A version that this program does not know.
    #[error("{part} has format version {found}, which this release does not know")]
    Version {
        /// Which part.
        part: &'static str,
        /// The version found.
        found: u8,
    },
    /// A checksum, an authentication code or a digest differs.
    #[error("{part} is not what was written: its {proof} differs")]
    Changed {
        /// Which part.
        part: &'static str,
        /// What it was compared by.
        proof: &'static str,
    },
    /// A value that the format does not allow.
    #[error("{part} holds an impossible value: {field}")]
    Field {
        /// Which part.
        part: &'static str,
        /// Which value.
        field: &'static str,
    },
}

impl Damage {
    /// The failure that this damage of the object `path` is.
    pub fn of(&self, path: &Path) -> Failure {
        Failure::new(Code::StoreCorrupt, format!("object {path}: {self}"))
    }
}
