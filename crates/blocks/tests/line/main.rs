//! The data line as a whole: from a scripted volume into a store and back, with everything that can go wrong on the way.
#![allow(clippy::unwrap_used)] // Tests: a panic is the report.

mod answers;
mod beside;
mod costs;
mod damage;
mod dedup;
mod diff;
mod faults;
mod images;
mod keys;
mod model;
mod regions;
mod resume;
mod rot;
mod round_trip;
mod stage;
mod sweep;
mod sweep_beside;
mod sweep_history;
mod sweep_keys;
mod sweep_uses;
