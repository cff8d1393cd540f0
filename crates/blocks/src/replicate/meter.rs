//! Figures of a replication while it goes on.

use godwit_model::figures::VolumeFigures;
use std::sync::{Mutex, PoisonError};

/// Counts from where earlier attempts ended, and tells after each step.
pub(super) struct Meter<'a> {
    figures: Mutex<VolumeFigures>,
    tell: &'a (dyn Fn(VolumeFigures) + Send + Sync),
}

impl<'a> Meter<'a> {
    /// Goes on from `earlier` for a volume of `size` bytes.
    pub(super) fn new(earlier: VolumeFigures, size: u64, tell: &'a (dyn Fn(VolumeFigures) + Send + Sync)) -> Self {
        let figures = VolumeFigures { bytes_total: size, bytes_done: earlier.bytes_done.min(size), ..earlier };
        Self { figures: Mutex::new(figures), tell }
    }

    /// The walk has come to `position`.
    pub(super) fn done(&self, position: u64) {
        // An earlier attempt may have come further: figures do not go back.
        self.change(|f| f.bytes_done = f.bytes_done.max(position.min(f.bytes_total)));
    }

    /// Bytes came from the source, and the walk has come to `position`.
    pub(super) fn read(&self, bytes: u64, position: u64) {
        self.change(|f| {
            f.bytes_read += bytes;
            f.bytes_done = f.bytes_done.max(position.min(f.bytes_total));
        });
    }

    /// Bytes go to the store.
    pub(super) fn sent(&self, bytes: u64) {
        self.change(|f| f.bytes_sent += bytes);
    }

    /// Bytes are durable in the store.
    pub(super) fn stored(&self, bytes: u64) {
        self.change(|f| f.bytes_stored += bytes);
    }

    /// The figures at the end, with what the snapshot really keeps.
    pub(super) fn finish(&self, manifest: u64, stored: u64) -> VolumeFigures {
        self.change(|f| {
            f.bytes_done = f.bytes_total;
            f.bytes_sent += manifest;
            f.bytes_stored = stored;
        });
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut VolumeFigures)) {
        let figures = {
            let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut figures);
            *figures
        };
        (self.tell)(figures);
    }
}
