//! The decision line: API call → service → store → scheduler → run → connector.
//!
//! Purpose: decide what is replicated when, see to it that it happens once and entirely, and remember it.
//!
//! Flow: [`service::Service`] checks a request, writes it to the [`store::Store`] and wakes the driver. The driver reads
//! the store, asks `model::schedule::plan` what is due, and keeps exactly one task for everything that the store says
//! is at work. A run goes through its stages by calling the traits of [`replicator`], each stage recorded before it
//! begins. [`Control`] puts these together, starts and stops them.
//!
//! Invariants: only `run` starts or stops replication; only `store` changes a row, and the rules of `model` decide
//! which changes there are. What is at work after a crash follows from the store alone. Nothing here knows blocks or
//! sources, reads a clock or draws a random number: time and randomness come in as closures.

pub mod audit;
mod caps;
pub mod changes;
mod control;
mod driver;
mod hex;
mod images;
mod import;
mod key_uses;
mod keys;
mod look;
mod recover;
mod run;
mod scrub;
#[cfg(test)]
mod sim;
mod store_sweep;
mod store_use;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub mod notify;
pub mod options;
pub mod replicator;
pub mod service;
pub mod store;

pub use control::{Clock, Control, Draw, Parts};
pub use keys::KeyStore;
pub use look::{import_found, look};
pub use store_sweep::Sweeping;
