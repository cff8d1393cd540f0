//! The data line: source extents → blocks → packs → snapshot → image, and back to a file: raw, qcow2, VMDK, VHDX.
//!
//! Purpose: move the content of volumes into a store so that it is proven, small, unreadable for others and never
//! half-made; and give it back exactly.
//!
//! Flow: [`replicate::replicate`] asks a [`source::VolumeReader`] what is known of a volume, reads what must be read,
//! cuts it into [`block`]s (zero test, digest, comparison with the parent snapshot, with what earlier attempts left and with
//! what the store holds elsewhere ([`dedup`]), compression), appends what is new to encrypted [`pack`]s, hangs digests and places into the [`tree`] of a
//! [`snapshot`], and commits that by one conditional put. [`verify::verify`] re-reads what is stored; [`image`] names
//! the snapshots of all volumes of a server; [`reader::SnapshotReader`] gives bytes back, [`diff`] says where two
//! snapshots differ, [`export`] writes them down. [`sweep`] removes what nothing needs, and moves records out of packs
//! that are mostly dead; [`scrub`] looks for rot.
//!
//! Invariants:
//! - Content first, pointer last: whatever an object names was durable before the object was written. What no manifest
//!   names does not exist for readers.
//! - Objects are immutable: every put creates, none replaces. So every step may happen twice. One exception: a repack
//!   replaces a snapshot's manifest by one of the same content in other places.
//! - Nothing read from the store is believed: lengths, checksums, authentication tags and digests are compared first.
//!   A difference is the failure `StoreCorrupt` with the object's name, never wrong bytes and never a panic.
//! - Every queue is bounded, and memory does not grow with the size of a volume.
//! - A key domain has its own digests and packs: nothing is compared or shared across domains.
//! - No key is in a log, an error or a `Debug` text. Time and randomness come from the caller.
//!
//! The formats are described byte by byte in `docs/formats.md`.

pub mod block;
pub mod buffers;
pub mod crypt;
mod damage;
pub mod dedup;
pub mod diff;
mod envelope;
pub mod export;
pub mod image;
pub mod pack;
pub mod page;
pub mod reader;
mod recent;
pub mod replicate;
pub mod scrub;
pub mod snapshot;
pub mod source;
pub mod store;
pub mod sweep;
pub mod tree;
pub mod turns;
pub mod verify;
mod wrapped;

pub use damage::Damage;
