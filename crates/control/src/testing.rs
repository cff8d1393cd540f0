//! What tests of this crate share: a world outside that outlives a kill, a gate at which to kill, a harness.

mod database;
mod gate;
mod harness;
mod world;

pub(crate) use database::{Database, at_once, let_go};
pub(crate) use gate::Gate;
pub(crate) use harness::{Harness, Reversing, START, until};
pub(crate) use world::{Act, PACK, PACKS, World, server};
