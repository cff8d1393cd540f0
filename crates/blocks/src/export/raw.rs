//! Writes a raw file with holes.

use super::sink::Sink;
use super::{Checkpoint, Tables, VolumeWriter, check_order};
use std::io::{self, Seek, Write};

/// Writes a raw file with holes.
pub(super) struct RawWriter<W> {
    out: Sink<W>,
    size: u64,
    position: u64,
}

impl<W: Write + Seek> RawWriter<W> {
    /// Writes to `out`, which has `size` bytes already; what nobody writes is a hole.
    pub fn new(out: W, size: u64, position: u64) -> io::Result<Self> {
        Ok(Self { out: Sink::new(out)?, size, position })
    }
}

impl<W: Write + Seek> VolumeWriter for RawWriter<W> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_order(offset, bytes, self.position, self.size)?;
        self.out.write_at(offset, bytes)?;
        self.position = offset + bytes.len() as u64;
        Ok(())
    }

    fn checkpoint(&mut self) -> io::Result<Checkpoint> {
        self.out.flush()?;
        Ok(Checkpoint { position: self.position, length: self.position, tables: Tables::Raw })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush().map(|_| ())
    }
}
