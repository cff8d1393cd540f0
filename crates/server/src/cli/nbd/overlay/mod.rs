//! What was written over an image: a sparse file with a map of which units it holds.
//!
//! # Consistency
//! A unit is the file's as soon as its bit is set, and then wholly: who writes a part of one brings the rest. Bits are
//! only ever added. Reads and writes may come from any number of threads; each sees all that ended before it began.
//! # Retries
//! A write may be repeated, and so may a flush that found no space for the map. Once the system could not bring content to
//! the disk every flush fails: it has forgotten what that was, and the next attempt would claim to have saved it.
//! # Cancellation
//! The calls block and are not cancelled.
//! # Completion
//! When `flush` has come back, everything written before it was called survives a kill and a power cut.
//! # Crash consistency
//! Content first, pointer last: new bits stay in memory until the content that they stand for is durable. Sectors of the
//! map are written whole, and any mixture of old and new ones is valid, because bits are only added. So there is no
//! journal, and after a crash a unit that was not flushed is either what was written or what the image holds.

mod layout;
mod open;

pub use self::layout::{Identity, VolumeIdentity};
pub use self::open::{Overlay, OverlayError};

use self::layout::{Bits, Place, SECTOR_BYTES, SECTOR_UNITS};
use godwit_model::extent::Extent;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is held or not as a whole: the smallest that file systems of guests write, so that almost no write needs a part of
/// the image.
pub const UNIT: u64 = 4096;
/// Sectors with bits that are not durable: half a mebibyte of them. Beyond that a write flushes before it returns.
const MOST_NEW: usize = 1024;
/// Zeros that are written at a time where the file system cannot make holes.
const ZEROS: usize = 64 << 10;

/// A range that comes from one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where.
    pub span: Extent,
    /// Whether the overlay holds it; else the image does.
    pub is_held: bool,
}

/// One volume's part of an overlay.
pub struct Layer {
    file: Arc<File>,
    place: Place,
    bits: Mutex<NewBits>,
    /// One flush at a time.
    flushing: Mutex<()>,
    /// The system could not bring to the disk what was written.
    is_broken: AtomicBool,
}

/// Bits that are not durable yet, by the number of their sector.
#[derive(Default)]
struct NewBits {
    /// Since the last flush began.
    fresh: BTreeMap<u64, Bits>,
    /// Of the flush that is at work.
    leaving: BTreeMap<u64, Bits>,
}

impl Layer {
    fn new(file: Arc<File>, place: Place) -> Self {
        Self { file, place, bits: Mutex::default(), flushing: Mutex::default(), is_broken: AtomicBool::new(false) }
    }

    /// Where the bytes of a range come from, in order.
    pub fn parts(&self, span: Extent) -> io::Result<Vec<Part>> {
        self.parts_of(&self.locked(), span)
    }

    /// Bytes that the overlay holds.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, self.place.content + offset)
    }

    /// Where a range that the overlay holds takes no space in the file, and so is zeros; in order. File systems that do
    /// not know tell of nothing.
    pub fn holes(&self, span: Extent) -> io::Result<Vec<Extent>> {
        let (start, end) = (self.place.content + span.offset, self.place.content + span.end());
        // Beyond the last data of the file there are no more.
        let next = |wanted| match seek(&*self.file, wanted) {
            Ok(at) => Ok(at.min(end)),
            Err(Errno::NXIO) => Ok(end),
            Err(error) => Err(error),
        };
        let (mut holes, mut at) = (vec![], start);
        while at < end {
            let data = match next(SeekFrom::Data(at)) {
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![]),
                found => found?,
            };
            if data > at {
                holes.push(Extent::between(at - self.place.content, data - self.place.content));
            }
            at = if data < end { next(SeekFrom::Hole(data))? } else { end };
        }
        Ok(holes)
    }

    /// Keeps whole units; the last one of the volume may be short.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(offset.is_multiple_of(UNIT));
        self.file.write_all_at(bytes, self.place.content + offset)?;
        self.hold(&mut self.locked(), Extent { offset, length: bytes.len() as u64 })?;
        self.flush_if_much()
    }

    /// Keeps a part of one unit. `whole` is the unit as the image has it, which counts if the overlay does not hold it.
    pub fn patch(&self, offset: u64, bytes: &[u8], whole: &[u8]) -> io::Result<()> {
        let start = offset - offset % UNIT;
        // Under the lock: of two that bring the same unit, the second must not undo what the first one changed.
        let mut bits = self.locked();
        let unit = Extent { offset: start, length: whole.len() as u64 };
        if self.parts_of(&bits, unit)?.iter().all(|part| part.is_held) {
            self.file.write_all_at(bytes, self.place.content + offset)?;
        } else {
            let mut whole = whole.to_vec();
            let at = (offset - start) as usize;
            whole[at..at + bytes.len()].copy_from_slice(bytes);
            self.file.write_all_at(&whole, self.place.content + start)?;
            self.hold(&mut bits, unit)?;
        }
        drop(bits);
        self.flush_if_much()
    }

    /// Makes whole units zeros, without space for them if `as_hole`.
    pub fn zero(&self, span: Extent, as_hole: bool) -> io::Result<()> {
        debug_assert!(span.offset.is_multiple_of(UNIT));
        let at = self.place.content + span.offset;
        let flags = if as_hole {
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
        } else {
            FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE
        };
        match fallocate(&*self.file, flags, at, span.length) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.write_zeros(at, span.length)?,
            Err(error) => return Err(error.into()),
        }
        // In steps, so that the bits of a large range do not take more memory than the bound.
        for piece in span.pieces(SECTOR_UNITS * UNIT * MOST_NEW as u64 / 2) {
            self.hold(&mut self.locked(), piece)?;
            self.flush_if_much()?;
        }
        Ok(())
    }

    /// Makes durable what was written before.
    pub fn flush(&self) -> io::Result<()> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut bits = self.locked();
            bits.leaving = std::mem::take(&mut bits.fresh);
        }
        let flushed = self.flush_leaving();
        let mut bits = self.locked();
        let leaving = std::mem::take(&mut bits.leaving);
        if flushed.is_err() {
            for (sector, left) in leaving {
                bits.fresh.entry(sector).or_default().add(&left);
            }
        }
        flushed
    }

    fn flush_leaving(&self) -> io::Result<()> {
        self.sync()?;
        // Nobody else changes it while we hold `flushing`.
        let leaving: Vec<(u64, Bits)> = self.locked().leaving.iter().map(|(at, bits)| (*at, bits.clone())).collect();
        for (sector, new) in &leaving {
            let mut bits = self.stored(*sector)?;
            bits.add(new);
            let at = self.place.map + sector * SECTOR_BYTES as u64;
            self.file.write_all_at(&layout::sector(at, &bits), at)?;
        }
        if leaving.is_empty() { Ok(()) } else { self.sync() }
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other(
                "an earlier flush of the overlay failed, and what it was to save may be lost",
            ));
        }
        self.file.sync_data().inspect_err(|_| self.is_broken.store(true, Ordering::SeqCst))
    }

    fn flush_if_much(&self) -> io::Result<()> {
        if self.locked().fresh.len() < MOST_NEW / 2 { Ok(()) } else { self.flush() }
    }

    fn write_zeros(&self, at: u64, length: u64) -> io::Result<()> {
        let zeros = [0; ZEROS];
        (0..length).step_by(ZEROS).try_for_each(|done| {
            let part = (length - done).min(ZEROS as u64) as usize;
            self.file.write_all_at(&zeros[..part], at + done)
        })
    }

    fn parts_of(&self, new: &NewBits, span: Extent) -> io::Result<Vec<Part>> {
        let mut parts: Vec<Part> = vec![];
        let mut sector: Option<(u64, Bits)> = None;
        for piece in span.pieces(UNIT) {
            let unit = piece.offset / UNIT;
            let (number, unit) = (unit / SECTOR_UNITS, unit % SECTOR_UNITS);
            let known = match sector.take() {
                Some((same, bits)) if same == number => bits,
                _ => self.bits_of(new, number)?,
            };
            let is_held = known.has(unit);
            sector = Some((number, known));
            match parts.last_mut() {
                Some(last) if last.is_held == is_held => last.span.length += piece.length,
                _ => parts.push(Part { span: piece, is_held }),
            }
        }
        Ok(parts)
    }

    fn bits_of(&self, new: &NewBits, sector: u64) -> io::Result<Bits> {
        let mut bits = self.stored(sector)?;
        for more in [new.fresh.get(&sector), new.leaving.get(&sector)].into_iter().flatten() {
            bits.add(more);
        }
        Ok(bits)
    }

    /// Bits that are in the file. The operating system caches them.
    fn stored(&self, sector: u64) -> io::Result<Bits> {
        let at = self.place.map + sector * SECTOR_BYTES as u64;
        let mut bytes = [0; SECTOR_BYTES];
        self.file.read_exact_at(&mut bytes, at)?;
        let damaged = || io::Error::other(format!("the map of the overlay is damaged at byte {at} of its file"));
        layout::bits(at, &bytes).ok_or_else(damaged)
    }

    fn hold(&self, new: &mut NewBits, span: Extent) -> io::Result<()> {
        let mut sector: Option<(u64, Bits)> = None;
        for piece in span.pieces(UNIT) {
            let unit = piece.offset / UNIT;
            let (number, unit) = (unit / SECTOR_UNITS, unit % SECTOR_UNITS);
            if sector.as_ref().is_none_or(|(same, _)| *same != number) {
                sector = Some((number, self.stored(number)?));
            }
            // What is durable already needs no flush.
            if sector.as_ref().is_some_and(|(_, stored)| !stored.has(unit)) {
                new.fresh.entry(number).or_default().set(unit);
            }
        }
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, NewBits> {
        self.bits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn new_sectors(&self) -> usize {
        self.locked().fresh.len()
    }
}
