//! What tests of this crate share: a world outside that outlives a kill, a gate at which to kill, a harness.

mod database;
mod disk;
mod gate;
mod harness;
mod probe;
mod receivers;
mod uses;
mod world;

pub(crate) use database::{Database, at_once, let_go};
pub(crate) use disk::{Disk, Room};
pub(crate) use gate::Gate;
pub(crate) use harness::{Harness, Reversing, START, until};
pub(crate) use probe::Probe;
pub(crate) use receivers::{Answer, Receivers};
pub(crate) use world::{Act, PACK, PACKS, World, server};
