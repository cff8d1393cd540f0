//! How much of the process all callers together may take, and how long one of them may keep it.

use crate::operations::Entry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds of the API. Memory: the whole process is promised to stay small while it replicates, so what callers can make
/// it hold is some mebibytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a body may take to arrive: at most a mebibyte, perhaps through a tunnel.
    pub body_time: Duration,
    /// How long a call may take: longer than the longest bound that the service itself has, so this one is never hit
    /// unless that one fails.
    pub call_time: Duration,
    /// Bytes of bodies in memory at the same time. Most have less than one KiB; two of the largest fit.
    pub body_bytes: usize,
    /// Calls at work, and their answers on the way, at the same time: some wait for a VM manager, none holds much.
    pub calls: usize,
    /// The same for those that answer with bytes of an image: two mebibytes each, and as much again while some of them
    /// are read. Two more than an export has in flight.
    pub reads: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body_time: Duration::from_secs(30),
            call_time: Duration::from_secs(180),
            body_bytes: 2 << 20,
            calls: 32,
            reads: 8,
        }
    }
}

/// Hands out what is bounded; who comes first is served first.
pub(crate) struct Turns {
    pub bounds: Bounds,
    body_bytes: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Turns {
    pub fn new(bounds: Bounds) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            bounds,
            body_bytes: semaphore(bounds.body_bytes),
            calls: semaphore(bounds.calls),
            reads: semaphore(bounds.reads),
        }
    }

    /// Waits for the memory of a body.
    pub async fn body(&self, bytes: usize) -> OwnedSemaphorePermit {
        // More than there is would wait for ever.
        take(&self.body_bytes, bytes.min(self.bounds.body_bytes)).await
    }

    /// Waits until an operation may begin. To be held until its answer was sent.
    pub async fn call(&self, entry: &Entry) -> OwnedSemaphorePermit {
        take(if entry.answers_bytes() { &self.reads } else { &self.calls }, 1).await
    }
}

async fn take(from: &Arc<Semaphore>, permits: usize) -> OwnedSemaphorePermit {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    from.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed")
}
