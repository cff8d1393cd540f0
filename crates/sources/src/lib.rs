//! Where servers run today: discovery, point-in-time views and reads.
//!
//! Purpose: speak the protocols of VM managers and give `blocks` what it asks for in [`godwit_blocks::source`].
//!
//! Flow: [`qmp::source::QmpSource`] finds guests by their QMP sockets, lets the guest agent ([`qga`], [`freeze`]) hold
//! the file systems still for a moment, makes one transaction over all disks, and gives a [`reader::NbdVolume`] per
//! disk, which reads the point in time over [`nbd`].
//!
//! Invariants: codecs ([`nbd::codec`], [`qmp::codec`], [`qmp::inventory`], [`qmp::tracking`]) are pure. Every wait has
//! a bound. Everything created at a VM manager carries a name of [`qmp::names`], so that cleaning needs no memory of
//! what was made. A change tracker is never advanced before the run that used it has committed, and a tracker that is
//! in doubt is not believed.

pub mod freeze;
pub mod nbd;
pub mod qga;
pub mod qmp;
pub mod reader;

mod wire;
