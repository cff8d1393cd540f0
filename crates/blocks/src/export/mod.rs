//! Writes a volume into a file: raw or qcow2.
//!
//! Whoever has the bytes pushes them in ascending order; the writers know nothing of stores and can run anywhere. What is
//! not pushed is zeros and takes no space.

mod qcow2;

pub use qcow2::Qcow2Writer;

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Takes the data of a volume in ascending order.
pub trait VolumeWriter {
    /// `bytes` are at `offset`, behind everything written before, within the volume.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Completes the file. Without this it is not a valid image.
    fn finish(&mut self) -> io::Result<()>;
}

/// Writes a raw file with holes.
pub struct RawWriter {
    file: File,
    size: u64,
    position: u64,
}

impl RawWriter {
    /// Empties `file` and makes it a hole of `size` bytes.
    pub fn new(file: File, size: u64) -> io::Result<Self> {
        file.set_len(0)?;
        file.set_len(size)?;
        Ok(Self { file, size, position: 0 })
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

    fn finish(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
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
