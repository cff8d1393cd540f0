//! What a run finds of its new blocks elsewhere in the store: among those that it stored itself before, and in packs of
//! images of the same key domain.

use crate::block::Digest;
use crate::dedup::contents_of;
use crate::dedup::index::{Hint, Index};
use crate::dedup::loans::Borrowed;
use crate::pack::Place;
use crate::pack::opener::Opener;
use crate::pack::reader::{Span, Wanted, plan_spans, read_span};
use crate::page::Entry;
use crate::store::BlockStore;
use bytes::Bytes;
use godwit_model::failure::Failure;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Blocks of the run itself that are remembered, some 150 bytes each: those of the last two GiB that it stored.
const OWN: usize = 32 << 10;

/// What is known of a new block before anything was read.
pub(super) enum Look {
    /// Nothing: it is to be stored.
    Unknown,
    /// The run has stored it already.
    Own(Entry),
    /// It may be in a pack of an image.
    Hinted(Hint),
}

/// A block that may be elsewhere.
pub(super) struct Candidate {
    /// Its place among the blocks that were read with it.
    pub(super) at: usize,
    pub(super) number: u64,
    pub(super) digest: Digest,
    pub(super) content: Bytes,
    pub(super) hint: Hint,
}

/// The blocks elsewhere, and what the run has on loan.
pub(super) struct Elsewhere {
    store: BlockStore,
    index: Arc<Index>,
    own: Mutex<Own>,
    borrowed: Borrowed,
    /// The latest version of the key that something borrowed is under.
    key_version: AtomicU32,
}

#[derive(Default)]
struct Own {
    entries: HashMap<Digest, Entry>,
    /// Oldest first.
    order: VecDeque<Digest>,
}

impl Elsewhere {
    pub(super) fn new(store: &BlockStore) -> Self {
        Self {
            store: store.clone(),
            index: store.index(),
            own: Mutex::default(),
            borrowed: store.loans().open(),
            key_version: AtomicU32::new(1),
        }
    }

    /// What is known of a block of this digest.
    pub(super) fn look(&self, digest: &Digest) -> Look {
        if let Some(entry) = locked(&self.own).entries.get(digest) {
            return Look::Own(*entry);
        }
        self.index.find(digest).map_or(Look::Unknown, Look::Hinted)
    }

    /// The run has stored a block.
    pub(super) fn note(&self, entry: Entry) {
        let mut own = locked(&self.own);
        if own.entries.insert(entry.digest, entry).is_none() {
            own.order.push_back(entry.digest);
        }
        if own.order.len() > OWN
            && let Some(oldest) = own.order.pop_front()
        {
            own.entries.remove(&oldest);
        }
    }

    /// Looks after the candidates: reads what the store holds of them and compares it with what they are. Those that it
    /// does not hold come back.
    pub(super) async fn borrow(&self, candidates: Vec<Candidate>) -> (Vec<(usize, Entry)>, Vec<Candidate>) {
        let mut wanted = Vec::new();
        let mut open: HashMap<u64, Candidate> = HashMap::new();
        for candidate in candidates {
            if let Some(place) = self.place_of(&candidate).await
                && self.has_on_loan(place.pack).await
            {
                wanted.push(Wanted { block: candidate.number, digest: candidate.digest, place });
            }
            open.insert(candidate.number, candidate);
        }
        let mut found = Vec::new();
        for span in plan_spans(wanted) {
            let pack = span.pack;
            match self.compare(span, &open).await {
                Ok(equal) => {
                    for Wanted { block, digest, place } in equal {
                        self.key_version.fetch_max(place.key_version, Ordering::Relaxed);
                        found.extend(open.remove(&block).map(|candidate| (candidate.at, Entry { digest, place })));
                    }
                }
                // Gone, or unreadable: nobody else needs to try.
                Err(_) => self.index.forget(pack),
            }
        }
        let mut rest: Vec<Candidate> = open.into_values().collect();
        rest.sort_unstable_by_key(|candidate| candidate.at);
        (found, rest)
    }

    /// The latest version of the key that something borrowed is under.
    pub(super) fn key_version(&self) -> u32 {
        self.key_version.load(Ordering::Relaxed)
    }

    /// Borrows a pack, unless it is about to go. That it was ever lent is durable before anything relies on it.
    async fn has_on_loan(&self, pack: u128) -> bool {
        if self.borrowed.has(pack) {
            return true;
        }
        let is_borrowed = self.borrowed.borrow(pack) && self.store.note_loan(pack).await.is_ok();
        if is_borrowed {
            self.borrowed.keep(pack);
        }
        is_borrowed
    }

    async fn place_of(&self, candidate: &Candidate) -> Option<Place> {
        let place = match candidate.hint {
            Hint::At(place) => place,
            Hint::In(pack) => {
                let contents = match self.index.contents(pack) {
                    Some(contents) => contents,
                    None => {
                        let Ok(Some(contents)) = contents_of(&self.store, pack).await else {
                            self.index.forget(pack);
                            return None;
                        };
                        self.index.keep(pack, contents.clone());
                        contents
                    }
                };
                *contents.get(&candidate.digest)?
            }
        };
        (place.raw as usize == candidate.content.len()).then_some(place)
    }

    /// Those of a span that are what they are wanted for.
    async fn compare(&self, span: Span, open: &HashMap<u64, Candidate>) -> Result<Vec<Wanted>, Failure> {
        let bytes = {
            let _turn = self.store.fetches().acquire().await.expect("the semaphore is never closed");
            read_span(&self.store, &span).await?
        };
        let content = |wanted: &Wanted| open.get(&wanted.block).map(|candidate| candidate.content.clone());
        let contents: Vec<Option<Bytes>> = span.wanted.iter().map(content).collect();
        let compare = move |store: &BlockStore| {
            let mut opener = Opener::new(store);
            let mut is_equal = |wanted: &Wanted, content: Option<Bytes>| {
                opener.block(&span, wanted, &bytes).is_ok_and(|stored| content.is_some_and(|content| content == stored))
            };
            let both = span.wanted.iter().zip(contents);
            both.filter_map(|(wanted, content)| is_equal(wanted, content).then_some(*wanted)).collect()
        };
        self.store.cpu(compare).await
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
