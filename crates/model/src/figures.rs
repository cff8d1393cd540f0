//! What a run moved, and how consistent its point in time was.

use serde::{Deserialize, Serialize};

/// Bytes of one volume in one run. All but `bytes_total` only grow, also across restarts of the service.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct VolumeFigures {
    /// Virtual size of the volume.
    pub bytes_total: u64,
    /// How far the walk over the volume has come, 0..=`bytes_total`. Holes and unchanged areas count.
    pub bytes_done: u64,
    /// Content bytes asked from the source.
    pub bytes_read: u64,
    /// Bytes handed to the store: compressed and encrypted.
    pub bytes_sent: u64,
    /// Bytes of `bytes_sent` that are durable and belong to the snapshot, its pages included.
    pub bytes_stored: u64,
    /// Bytes of `bytes_sent` that were sent although the same content had been sent in this run before.
    pub bytes_resent: u64,
    /// Bytes re-read from the store and compared by verification.
    pub bytes_verified: u64,
}

impl VolumeFigures {
    /// Field by field sum.
    pub fn plus(self, other: VolumeFigures) -> VolumeFigures {
        VolumeFigures {
            bytes_total: self.bytes_total + other.bytes_total,
            bytes_done: self.bytes_done + other.bytes_done,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_stored: self.bytes_stored + other.bytes_stored,
            bytes_resent: self.bytes_resent + other.bytes_resent,
            bytes_verified: self.bytes_verified + other.bytes_verified,
        }
    }
}

/// How the point in time of a run was taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Consistency {
    /// Like after a power cut: one instant for all volumes, caches of the guest not flushed.
    Crash,
    /// The guest's agent had flushed and frozen its file systems.
    FileSystem,
}

impl Consistency {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Consistency::Crash => "CRASH",
            Consistency::FileSystem => "FILE_SYSTEM",
        }
    }
}
