//! Writes a volume into a file: raw, qcow2, VMDK or VHDX.
//!
//! Whoever has the bytes pushes them in ascending order; the writers know nothing of stores and can run anywhere. What is
//! not pushed is zeros and takes no space.
//!
//! An unfinished file can be gone on with: [`VolumeWriter::checkpoint`] says what must be known for that. What is
//! written later does not spoil an earlier checkpoint. Headers come last, so an unfinished file is no image.

mod clusters;
mod compress;
mod direct;
mod qcow2;
mod raw;
mod sink;
#[cfg(test)]
mod tests;
mod vhdx;
mod vmdk;

use self::direct::DirectFile;
use self::qcow2::Qcow2Writer;
use self::raw::RawWriter;
use self::vhdx::VhdxWriter;
use self::vmdk::VmdkWriter;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io;

/// Takes the data of a volume in ascending order.
pub trait VolumeWriter {
    /// `bytes` are at `offset`, behind everything written before, within the volume.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Hands everything that is complete to the file, and says how to go on from here. Good once the file is durable.
    fn checkpoint(&mut self) -> io::Result<Checkpoint>;

    /// Completes the file. Without this it is not a valid image. Good once the file is durable.
    fn finish(&mut self) -> io::Result<()>;
}

/// What the file of a volume looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Format {
    /// The bytes as they are, with holes.
    Raw,
    /// QEMU's, version 3.
    Qcow2,
    /// The same with compressed clusters.
    CompressedQcow2,
    /// VMware's for transport: streamOptimized.
    Vmdk,
    /// Hyper-V's, dynamic.
    Vhdx,
}

impl Format {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 | Format::CompressedQcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vhdx => "vhdx",
        }
    }

    /// Whether data is compressed in it.
    pub const fn is_compressed(self) -> bool {
        matches!(self, Format::CompressedQcow2 | Format::Vmdk)
    }

    /// Bytes of the largest volume that it can hold.
    pub const fn limit(self) -> u64 {
        match self {
            Format::Raw => i64::MAX as u64,
            Format::Qcow2 | Format::CompressedQcow2 => qcow2::LIMIT,
            Format::Vmdk => vmdk::LIMIT,
            Format::Vhdx => vhdx::LIMIT,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::CompressedQcow2 => f.write_str("compressed qcow2"),
            _ => f.write_str(self.name()),
        }
    }
}

/// How to go on with an unfinished file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Everything of the volume before this is in the file; what is at or behind it must be pushed again.
    pub position: u64,
    /// Bytes of the file that count; what is behind them was written later.
    pub length: u64,
    tables: Tables,
}

/// What a writer knows besides the position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Tables {
    Raw,
    Qcow2(qcow2::Tables),
    Vmdk(vmdk::Tables),
    Vhdx(vhdx::Tables),
}

/// A writer of a volume of `size` bytes into `file`: from the beginning, or from where `from` was taken. `id` is random
/// and becomes the identity of a disk whose format gives it one. Nobody must read through clones of `file` any more: it
/// is written around the page cache, and reads would have to be aligned.
pub fn open(
    format: Format,
    file: File,
    size: u64,
    id: u128,
    from: Option<Checkpoint>,
) -> io::Result<Box<dyn VolumeWriter + Send>> {
    let Checkpoint { position, length, tables } = from.unwrap_or_else(|| beginning(format, size, id));
    if size > format.limit() || position > size {
        return Err(invalid("the volume does not fit into the format"));
    }
    file.set_len(length)?;
    if format == Format::Raw {
        // What is behind its end is a hole.
        file.set_len(size)?;
    }
    let file = DirectFile::new(file);
    Ok(match (format, tables) {
        (Format::Raw, Tables::Raw) => Box::new(RawWriter::new(file, size, position)?),
        (Format::Qcow2, Tables::Qcow2(tables)) => Box::new(Qcow2Writer::new(file, size, false, position, tables)?),
        (Format::CompressedQcow2, Tables::Qcow2(tables)) => {
            Box::new(Qcow2Writer::new(file, size, true, position, tables)?)
        }
        (Format::Vmdk, Tables::Vmdk(tables)) => Box::new(VmdkWriter::new(file, size, position, tables)?),
        (Format::Vhdx, Tables::Vhdx(tables)) => Box::new(VhdxWriter::new(file, size, position, tables)?),
        _ => return Err(invalid("the checkpoint is of another format")),
    })
}

fn beginning(format: Format, size: u64, id: u128) -> Checkpoint {
    let tables = match format {
        Format::Raw => Tables::Raw,
        Format::Qcow2 | Format::CompressedQcow2 => Tables::Qcow2(qcow2::Tables::new(size)),
        Format::Vmdk => Tables::Vmdk(vmdk::Tables::new(id)),
        Format::Vhdx => Tables::Vhdx(vhdx::Tables::new(id)),
    };
    Checkpoint { position: 0, length: 0, tables }
}

fn check_order(offset: u64, bytes: &[u8], position: u64, size: u64) -> io::Result<()> {
    let end = offset.checked_add(bytes.len() as u64);
    if offset < position || end.is_none_or(|end| end > size) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} bytes at {offset} do not follow {position} within {size}", bytes.len()),
        ));
    }
    Ok(())
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
