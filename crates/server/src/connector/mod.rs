//! The embedded connector: joins the decision line to the data line.
//!
//! ```text
//! control ── Replicator ──► Connector ──► QmpSource (points in time)  ──► VM manager
//!         └─ ImageStore ──► Images    ──► BlockStore (snapshots)      ──► objects
//! ```
//!
//! Invariants: nothing here decides; nothing here is needed after a restart. What is kept in memory (sources, open
//! views, open readers) only saves the way to it; guards begin again when a point in time is opened again.

mod guards;
mod images;
mod keys;
mod replicate;
mod sweeps;
mod views;

pub use images::Images;
pub use keys::Keys;
pub use replicate::{Connector, ConnectorParts, MakeSource};
