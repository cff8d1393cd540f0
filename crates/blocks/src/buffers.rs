//! Large buffers, used again and again. A fresh one of a megabyte costs a page fault for every page of it, which for what
//! streams through the data line is as much work as digesting it.

use bytes::Bytes;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the bytes of every buffer begin: a multiple of this, as requests around the page cache want it. No disk in use
/// has larger sectors.
pub const ALIGNMENT: usize = 4096;

/// Buffers that nobody uses at the moment.
#[derive(Debug)]
pub struct Buffers {
    kept: Mutex<Vec<Buffer>>,
    most: usize,
    longest: usize,
}

/// Some bytes that whoever holds them may write to. What is in them is left from an earlier use.
#[derive(Debug)]
pub struct Buffer {
    room: Vec<u8>,
    start: usize,
}

impl Buffers {
    /// Keeps at most `most` buffers, and none of more than `longest` bytes.
    pub const fn new(most: usize, longest: usize) -> Self {
        Self { kept: Mutex::new(Vec::new()), most, longest }
    }

    /// One of at least `length` bytes.
    pub fn take(&self, length: usize) -> Buffer {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = kept.iter().position(|buffer| buffer.length() >= length);
        fitting.map(|at| kept.swap_remove(at)).unwrap_or_else(|| Buffer::new(length))
    }

    /// Takes a buffer that is not needed any more.
    pub fn give_back(&self, buffer: Buffer) {
        if buffer.length() > self.longest {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.most {
            kept.push(buffer);
        } else if let Some(shorter) = kept.iter_mut().find(|other| other.length() < buffer.length()) {
            *shorter = buffer;
        }
    }

    /// The bytes `range` of `buffer`, which comes back when nobody looks at them any more.
    pub fn lend(self: &Arc<Self>, buffer: Buffer, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Lent { buffer: Some(buffer), range, home: self.clone() })
    }
}

impl Buffer {
    /// One of `length` bytes, all zeros.
    pub fn new(length: usize) -> Self {
        let room = vec![0; length + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT);
        Self { room, start }
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.room.len() - ALIGNMENT
    }

    /// The first `length` of its bytes.
    pub fn bytes(&mut self, length: usize) -> &mut [u8] {
        &mut self.room[self.start..self.start + length]
    }
}

struct Lent {
    buffer: Option<Buffer>,
    range: Range<usize>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.room[buffer.start..][self.range.clone()])
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.home.give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_only_a_few_are_kept() {
        let buffers = Buffers::new(2, 5000);
        let first = buffers.take(4000);
        let address = first.room.as_ptr();
        buffers.give_back(first);
        assert_eq!(buffers.take(3000).room.as_ptr(), address);
        for length in [100, 200, 300, 5001] {
            buffers.give_back(Buffer::new(length));
        }
        let mut kept: Vec<usize> = buffers.kept.lock().unwrap().iter().map(Buffer::length).collect();
        kept.sort_unstable();
        assert_eq!(kept, [200, 300]);
    }

    #[test]
    fn what_is_lent_comes_back_with_the_last_look() {
        let buffers = Arc::new(Buffers::new(1, 5000));
        let mut buffer = buffers.take(10);
        buffer.bytes(10).copy_from_slice(b"0123456789");
        let bytes = buffers.lend(buffer, 2..6);
        let part = bytes.slice(1..3);
        assert_eq!((&bytes[..], &part[..]), (&b"2345"[..], &b"34"[..]));
        drop(bytes);
        assert!(buffers.kept.lock().unwrap().is_empty());
        drop(part);
        assert_eq!(buffers.kept.lock().unwrap().len(), 1);
    }

    #[test]
    fn bytes_begin_where_disks_want_them() {
        for length in [0, 1, 4096, 1 << 20] {
            assert!(Buffer::new(length).bytes(length).as_ptr().addr().is_multiple_of(ALIGNMENT));
        }
    }
}
