//! What Godwit talks about, and the rules that need nothing but values.
//!
//! Purpose: every id, state, range of bytes and failure has exactly one type, and every rule of the service is a
//! pure function of values, time included.
//!
//! Flow: `control` asks [`schedule::plan`] what is due and [`run::step`] / [`job::step`] what may happen next; `blocks`
//! and `sources` speak in [`extent::Extent`]s; everybody reports trouble as a [`failure::Failure`].
//!
//! Invariants: no I/O, no tokio, no clock, no randomness in this crate. Whoever needs the time passes a
//! [`time::Timestamp`] in.

pub mod cap;
pub mod catalog;
pub mod connector;
pub mod event;
pub mod extent;
pub mod failure;
pub mod figures;
pub mod forecast;
pub mod id;
pub mod job;
pub mod key;
pub mod licence;
pub mod policy;
pub mod recipient;
pub mod retention;
pub mod role;
pub mod run;
pub mod schedule;
pub mod scrub;
pub mod server;
pub mod store_use;
pub mod time;
