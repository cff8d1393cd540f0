//! Network block device protocol, reading side: fixed-newstyle handshake, structured replies, metadata contexts.

pub mod client;
pub mod codec;
mod handshake;
mod inflight;
