//! QEMU by its machine protocol: `qemu-system-*` and `qemu-storage-daemon` alike.

pub mod client;
pub mod codec;
pub mod discover;
pub mod inventory;
pub mod names;
pub mod source;
pub mod tracking;

mod clean;
mod platform;
mod quiesce;
mod scratch;
mod server;
mod session;
mod view;
