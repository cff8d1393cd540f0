//! A file that is written around the page cache, as far as its file system can do that.
//!
//! What goes through the cache costs a page of it for every 4 KiB, which is more processor time than all else that an
//! export does here, and pushes out what others need. So what comes is put together into pieces that begin and end at
//! multiples of [`ALIGNMENT`]; the ends of the rest go through the cache.
//!
//! # Completion
//! What was written is the file's once it was flushed; durable once the file was synced, which this does not do.
//! # Crash consistency
//! What was flushed is never written again with other bytes, unless somebody asks for it.

use crate::buffers::{ALIGNMENT, Buffer};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are put together: disks are at their full speed from here on.
const PIECE: usize = 1 << 20;
/// What is written as it comes, if it lies as it must: below, a request to the disk costs more than a copy.
const AS_IT_COMES: usize = 256 << 10;
const UNIT: u64 = ALIGNMENT as u64;

/// Puts what is written together, and writes it around the cache.
pub(super) struct DirectFile {
    target: Target,
    /// Where the next byte goes.
    position: u64,
    /// Its first byte belongs at `base` in the file, a multiple of [`ALIGNMENT`].
    buffer: Buffer,
    base: u64,
    /// What of the buffer is not in the file yet. Ends at `position`, unless it is empty.
    filled: Range<usize>,
}

impl DirectFile {
    /// Writes to `file`. What else has the same open file, as clones have, must not read from it any more.
    pub fn new(file: File) -> Self {
        let target = Target { file, way: Way::Through };
        Self { target, position: 0, buffer: Buffer::new(PIECE), base: 0, filled: 0..0 }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let Range { start, end } = std::mem::take(&mut self.filled);
        let last = end - end % ALIGNMENT;
        let first = start.next_multiple_of(ALIGNMENT);
        let (head, rest) = if first < last { (start..first, last..end) } else { (start..end, end..end) };
        for (range, is_aligned) in [(head, false), (first..last, true), (rest, false)] {
            if !range.is_empty() {
                let at = self.base + range.start as u64;
                self.target.write(&self.buffer.bytes(PIECE)[range], at, is_aligned)?;
            }
        }
        Ok(())
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_aligned = self.position.is_multiple_of(UNIT) && bytes.as_ptr().addr().is_multiple_of(ALIGNMENT);
        if is_aligned && bytes.len() >= AS_IT_COMES {
            self.write_out()?;
            let whole = bytes.len() - bytes.len() % ALIGNMENT;
            self.target.write(&bytes[..whole], self.position, true)?;
            self.position += whole as u64;
            return Ok(whole);
        }
        if self.filled.is_empty() {
            let within = (self.position % UNIT) as usize;
            (self.base, self.filled) = (self.position - within as u64, within..within);
        }
        let to = self.filled.end;
        let length = bytes.len().min(PIECE - to);
        self.buffer.bytes(PIECE)[to..to + length].copy_from_slice(&bytes[..length]);
        self.filled.end += length;
        self.position += length as u64;
        if self.filled.end == PIECE {
            self.write_out()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()
    }
}

impl Seek for DirectFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => {
                self.write_out()?;
                self.target.file.metadata()?.len().checked_add_signed(by)
            }
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        if to != self.position {
            self.write_out()?;
            self.position = to;
        }
        Ok(to)
    }
}

/// Where bytes go.
struct Target {
    file: File,
    way: Way,
}

/// How what is written gets to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Around the cache: only what is aligned.
    Around,
    /// Through it.
    Through,
    /// The file system knows no other.
    AlwaysThrough,
}

impl Target {
    fn write(&mut self, bytes: &[u8], at: u64, is_aligned: bool) -> io::Result<()> {
        if is_aligned && self.turn(Way::Around)? {
            match self.file.write_all_at(bytes, at) {
                // Of larger sectors than we know, or one that says only now that it cannot.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    self.turn(Way::Through)?;
                    self.way = Way::AlwaysThrough;
                }
                outcome => return outcome,
            }
        }
        self.turn(Way::Through)?;
        self.file.write_all_at(bytes, at)
    }

    /// Whether the file is written `way` from now on.
    fn turn(&mut self, way: Way) -> io::Result<bool> {
        if self.way == way || self.way == Way::AlwaysThrough {
            return Ok(self.way == way);
        }
        let mut flags = fcntl_getfl(&self.file)?;
        flags.set(OFlags::DIRECT, way == Way::Around);
        match fcntl_setfl(&self.file, flags) {
            Err(Errno::INVAL | Errno::OPNOTSUPP) if way == Way::Around => {
                self.way = Way::AlwaysThrough;
                Ok(false)
            }
            outcome => {
                self.way = way;
                Ok(outcome.map(|()| true)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A write of so many bytes, perhaps of memory that begins where disks want it, so far behind the last one.
    fn steps() -> impl Strategy<Value = Vec<(u64, usize, bool, bool)>> {
        let gap = prop_oneof![4 => Just(0u64), 1 => 0u64..9000, 1 => (0u64..40).prop_map(|n| n * UNIT)];
        let length = prop_oneof![1usize..9000, (1usize..16).prop_map(|n| n << 16), 900_000usize..2_500_000];
        proptest::collection::vec((gap, length, any::<bool>(), prop::bool::weighted(0.2)), 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_file_holds_what_was_written_wherever_and_however_long(steps in steps(), start in 0u64..5000) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut file = DirectFile::new(File::create(&path).unwrap());
            let (mut wanted, mut at) = (Vec::new(), start);
            for (nth, (gap, length, is_aligned, flushes)) in steps.into_iter().enumerate() {
                at += gap;
                let mut buffer = Buffer::new(length + 1);
                let content = &mut buffer.bytes(length + 1)[usize::from(!is_aligned)..][..length];
                content.iter_mut().enumerate().for_each(|(n, byte)| *byte = (n * 31 + nth * 7 + 1) as u8);
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(content).unwrap();
                wanted.resize(at as usize, 0);
                wanted.extend_from_slice(content);
                at += length as u64;
                if flushes {
                    file.flush().unwrap();
                    prop_assert!(std::fs::read(&path).unwrap() == wanted, "step {}", nth);
                }
            }
            prop_assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), at);
            // What is written behind others, like headers.
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(b"header").unwrap();
            file.flush().unwrap();
            wanted[..6.min(at as usize)].copy_from_slice(&b"header"[..6.min(at as usize)]);
            let found = std::fs::read(&path).unwrap();
            prop_assert!(found[..wanted.len()] == wanted);
        }
    }

    #[test]
    fn a_file_system_that_knows_only_its_cache_is_written_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut target = Target { file: File::create(&path).unwrap(), way: Way::AlwaysThrough };
        target.write(&[7; 5000], 1, true).unwrap();
        assert!(target.way == Way::AlwaysThrough && std::fs::read(&path).unwrap()[1..] == [7; 5000]);
        // As it is found out: nothing of the memory or the place is what the disk wants.
        let mut target = Target { file: File::create(&path).unwrap(), way: Way::Through };
        target.write(&[8; 5000], 1, true).unwrap();
        assert!(target.way == Way::AlwaysThrough && std::fs::read(&path).unwrap()[1..] == [8; 5000]);
    }
}
