//! The decision line: API call → service → store → scheduler → run → connector.

pub mod replicator;
