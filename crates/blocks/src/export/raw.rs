//! Writes a raw file with holes.

use super::{Checkpoint, Tables, VolumeWriter, check_order};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Writes a raw file with holes.
pub(super) struct RawWriter {
    file: File,
    size: u64,
    position: u64,
}

impl RawWriter {
    /// Makes `file` one of `size` bytes; what is behind its end is a hole.
    pub fn new(file: File, size: u64, position: u64) -> io::Result<Self> {
        file.set_len(size)?;
        Ok(Self { file, size, position })
    }
}

impl VolumeWriter for RawWriter {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_order(offset, bytes, self.position, self.size)?;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)?;
        self.position = offset + bytes.len() as u64;
        Ok(())
    }

    fn checkpoint(&mut self) -> io::Result<Checkpoint> {
        Ok(Checkpoint { position: self.position, length: self.position, tables: Tables::Raw })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}
