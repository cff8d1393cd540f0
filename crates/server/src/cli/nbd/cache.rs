//! What was read of an image is kept for a while, and what will be read next is read ahead.
//!
//! A boot reads the same small pieces again and again, all over the disk; a copy reads everything once, in order. So what
//! is asked for out of the blue is fetched in small pieces, and what follows on something that was read lately in large
//! ones, ahead of the reader. Both are kept, and those that were not used for longest go first.
//!
//! # Consistency
//! An image never changes, so whatever is kept stays right.
//! # Retries
//! The client's. Who waits for a piece that could not be had asks for it anew, so that a failure is never kept.
//! # Cancellation
//! A read may be dropped: what others wait for is fetched in a task of its own.
//! # Completion
//! All bytes that were asked for, or an error.
//! # Crash consistency
//! Nothing is durable here.

use crate::cli::nbd::origin::{Chapter, Origin};
use crate::client::ClientError;
use bytes::Bytes;
use godwit_model::extent::Extent;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// What is fetched if nothing says that more will be wanted: a few blocks.
const SMALL: u64 = 256 << 10;
/// What is fetched of a sequence: half of what the service gives at once, so that who reads on has it soon.
const LARGE: u64 = 1 << 20;
/// Bytes that are kept: what a boot reads twice, and all that is read ahead.
const MOST_BYTES: u64 = 64 << 20;
/// Reads of the service at a time: half of those that it serves.
const IN_FLIGHT: usize = 4;
/// How far a sequence is read ahead: the reader waits for one piece while the others come.
const AHEAD: u64 = 3;
/// Answers about where data is that are kept: each holds a few thousand extents at most, so a few mebibytes together.
const MOST_CHAPTERS: usize = 64;

/// A piece of a volume: a range of small or large size, at a multiple of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    volume: u32,
    span: Extent,
}

/// A piece that is there, or on its way.
type Cell = Arc<OnceCell<Bytes>>;

struct Kept {
    cell: Cell,
    used: u64,
}

#[derive(Default)]
struct State {
    pieces: HashMap<Key, Kept>,
    /// Bytes of all pieces, those on their way included.
    bytes: u64,
    chapters: Vec<(u32, Arc<Chapter>, u64)>,
    /// Counts uses.
    clock: u64,
}

/// Reads an image through what is kept of it. Copies share everything.
pub struct Cache<O> {
    inner: Arc<Inner<O>>,
}

struct Inner<O> {
    origin: O,
    state: Mutex<State>,
    reads: Arc<Semaphore>,
}

impl<O> Clone for Cache<O> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<O: Origin> Cache<O> {
    /// Nothing is kept yet.
    pub fn new(origin: O) -> Self {
        let reads = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { inner: Arc::new(Inner { origin, state: Mutex::default(), reads }) }
    }

    /// Where data is in a range of a volume of `size` bytes, in order.
    pub async fn data(&self, volume: u32, size: u64, span: Extent) -> Result<Vec<Extent>, ClientError> {
        let mut found = vec![];
        let mut at = span.offset;
        while at < span.end() {
            let chapter = self.chapter(volume, at).await?;
            let told = Extent::between(at, chapter.span.end().min(size));
            let wanted = told.intersect(span);
            let first = chapter.data.partition_point(|extent| extent.end() <= wanted.offset);
            let data = chapter.data[first..].iter().map(|extent| extent.intersect(wanted));
            found.extend(data.take_while(|extent| !extent.is_empty()));
            at = told.end();
        }
        Ok(found)
    }

    /// Fills `into` with the bytes from `offset` on. `size` is the volume's.
    pub async fn read(&self, volume: u32, size: u64, offset: u64, into: &mut [u8]) -> Result<(), ClientError> {
        let span = Extent { offset, length: into.len() as u64 };
        let slots: Vec<Extent> = span.pieces(SMALL).collect();
        // All that is needed is on its way, and held, before the first is waited for.
        let keys: Vec<Key> = slots.iter().map(|slot| self.key(volume, size, slot.offset, span.length)).collect();
        let pieces: Vec<(Key, Cell)> = keys.into_iter().map(|key| (key, self.fetch_aside(key))).collect();
        for (slot, (key, cell)) in slots.into_iter().zip(pieces) {
            let bytes = self.piece(key, cell).await?;
            let from = (slot.offset - key.span.offset) as usize;
            let to = (slot.offset - offset) as usize;
            let length = slot.length as usize;
            into[to..to + length].copy_from_slice(&bytes[from..from + length]);
        }
        Ok(())
    }

    /// The piece to take a byte from: one that is there, else a large one if what is before it was read lately.
    fn key(&self, volume: u32, size: u64, offset: u64, wanted: u64) -> Key {
        let of = |at: u64, unit: u64| {
            let start = at - at % unit;
            Key { volume, span: Extent::between(start, (start + unit).min(size)) }
        };
        let (small, large) = (of(offset, SMALL), of(offset, LARGE));
        let state = self.locked();
        let before = small.span.offset.checked_sub(1);
        let follows = before.is_some_and(|before| {
            state.pieces.contains_key(&of(before, LARGE)) || state.pieces.contains_key(&of(before, SMALL))
        });
        if state.pieces.contains_key(&large) {
            drop(state);
            if follows {
                self.read_ahead(volume, size, large.span);
            }
            return large;
        }
        if state.pieces.contains_key(&small) || !(follows || wanted >= LARGE) {
            return small;
        }
        drop(state);
        self.read_ahead(volume, size, large.span);
        large
    }

    /// Fetches what comes behind `span`, as far as nobody waits for the service.
    fn read_ahead(&self, volume: u32, size: u64, span: Extent) {
        let all = (1..=AHEAD).map(|n| span.offset + n * LARGE).take_while(|at| *at < size);
        for at in all {
            let key = Key { volume, span: Extent::between(at, (at + LARGE).min(size)) };
            if self.locked().pieces.contains_key(&key) {
                continue;
            }
            // One turn stays free for whoever needs something at once.
            if self.inner.reads.available_permits() < 2 {
                break;
            }
            let known = self.known(volume, at);
            // Holes are not read; where nothing is known yet, the reader will ask first.
            let is_worth_it = known.is_some_and(|chapter| {
                let first = chapter.data.partition_point(|extent| extent.end() <= at);
                chapter.data.get(first).is_some_and(|extent| extent.offset < key.span.end())
            });
            if is_worth_it {
                self.fetch_aside(key);
            }
        }
    }

    /// Sees to it that a piece comes, without waiting for it.
    fn fetch_aside(&self, key: Key) -> Cell {
        let (cell, is_new) = self.cell(key);
        if is_new {
            let (this, cell) = (self.clone(), cell.clone());
            // What becomes of it is seen by whoever needs it.
            tokio::spawn(async move { this.fill(key, &cell).await.map(drop) });
        }
        cell
    }

    async fn piece(&self, key: Key, cell: Cell) -> Result<Bytes, ClientError> {
        if let Some(bytes) = cell.get() {
            return Ok(bytes.clone());
        }
        let this = self.clone();
        // A task of its own: it goes on while the reader does something else.
        let filled = tokio::spawn(async move { this.fill(key, &cell).await });
        filled.await.map_err(|error| ClientError::Signing(error.to_string()))?
    }

    async fn fill(&self, key: Key, cell: &Cell) -> Result<Bytes, ClientError> {
        let fetch = async {
            let _turn = self.inner.reads.acquire().await.expect("the semaphore is never closed");
            self.inner.origin.read(key.volume, key.span).await
        };
        let filled = cell.get_or_try_init(|| fetch).await.cloned();
        if filled.is_err() {
            self.forget(key, cell);
        }
        filled
    }

    /// A failure is not kept.
    fn forget(&self, key: Key, cell: &Cell) {
        let mut state = self.locked();
        if state.pieces.get(&key).is_some_and(|kept| Arc::ptr_eq(&kept.cell, cell) && !cell.initialized()) {
            state.pieces.remove(&key);
            state.bytes -= key.span.length;
        }
    }

    fn cell(&self, key: Key) -> (Cell, bool) {
        let mut state = self.locked();
        state.clock += 1;
        let now = state.clock;
        if let Some(kept) = state.pieces.get_mut(&key) {
            kept.used = now;
            return (kept.cell.clone(), false);
        }
        let cell = Cell::default();
        state.pieces.insert(key, Kept { cell: cell.clone(), used: now });
        state.bytes += key.span.length;
        // There are a few hundred at most, and this happens once for each read of the service.
        while state.bytes > MOST_BYTES {
            let oldest = state.pieces.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key);
            let Some(oldest) = oldest.filter(|oldest| *oldest != key) else { break };
            state.pieces.remove(&oldest);
            state.bytes -= oldest.span.length;
        }
        (cell, true)
    }

    async fn chapter(&self, volume: u32, at: u64) -> Result<Arc<Chapter>, ClientError> {
        if let Some(known) = self.known(volume, at) {
            return Ok(known);
        }
        let chapter = Arc::new(self.inner.origin.chapter(volume, at).await?);
        let mut state = self.locked();
        state.clock += 1;
        let now = state.clock;
        if state.chapters.len() >= MOST_CHAPTERS {
            let oldest = (0..state.chapters.len()).min_by_key(|n| state.chapters[*n].2).unwrap_or_default();
            state.chapters.swap_remove(oldest);
        }
        state.chapters.push((volume, chapter.clone(), now));
        Ok(chapter)
    }

    fn known(&self, volume: u32, at: u64) -> Option<Arc<Chapter>> {
        let mut state = self.locked();
        state.clock += 1;
        let now = state.clock;
        let tells = |chapter: &Chapter| chapter.span.offset <= at && at < chapter.span.end();
        let (_, chapter, used) = state.chapters.iter_mut().find(|(of, chapter, _)| *of == volume && tells(chapter))?;
        *used = now;
        Some(chapter.clone())
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> u64 {
        self.locked().bytes
    }
}
