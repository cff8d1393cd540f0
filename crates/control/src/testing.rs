//! What tests of this crate share: a world outside that outlives a kill, a gate at which to kill, a harness.

mod gate;
mod harness;
mod hold;
mod receivers;
mod world;

pub(crate) use gate::Gate;
pub(crate) use harness::{Harness, Reversing, START, until};
pub(crate) use hold::Hold;
pub(crate) use receivers::{Answer, Receivers};
pub(crate) use world::{Act, PACK, PACKS, World, server};
