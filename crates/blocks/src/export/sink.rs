//! The file that a writer lays out: pieces at given places, and how far it was written.

use std::io::{self, Seek, SeekFrom, Write};

/// What is written to.
pub(super) struct Sink<W> {
    out: W,
    /// Behind the last byte that was written.
    written: u64,
}

impl<W: Write + Seek> Sink<W> {
    /// All that `out` holds is taken as written.
    pub fn new(mut out: W) -> io::Result<Self> {
        let written = out.seek(SeekFrom::End(0))?;
        Ok(Self { out, written })
    }

    /// Writes `content` at `at`; what is left out before it is zeros.
    pub fn write_at(&mut self, at: u64, content: &[u8]) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(content)?;
        self.written = self.written.max(at + content.len() as u64);
        Ok(())
    }

    /// Behind the last byte that was written, which is the system's now.
    pub fn flush(&mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.written)
    }
}
