//! Finding blocks that the store holds already, whatever volume or run they came from, within one key domain.
//!
//! ```text
//! digest ─► index: which pack may hold it ─► that pack's own index: at which place ─► read, compare ─► use
//!            in memory, bounded               cached                                   as verification does
//! ```
//!
//! # Consistency
//! The index is a hint, never a proof: a block that it leads to is read, decrypted, decompressed and compared with what
//! the source gave before anything relies on it. So a wrong, old or rotten hint costs time, not content.
//!
//! Any pack may be lent as soon as it is durable, also one that no snapshot names yet, so that clones that are copied at
//! the same time share: what removes packs looks for loans, and what does it
//! without walking all snapshots looks for the note ([`BlockStore::discard_packs`], [`crate::sweep`]).
//!
//! A pack that a run uses blocks of is *on loan* (`loans`) until the run's snapshot is committed and no sweep is at work
//! that began before. A pack on loan does not go; a pack that is about to go is not lent. Later it is a snapshot that
//! names it. That a pack was ever lent is noted beside it in the store (`loans/`), so that nobody discards it unseen.
//!
//! # Retries
//! Whatever fails here, the block is stored as if it were new.
//!
//! # Crash consistency
//! Nothing is kept: after a start the index is made anew out of the packs ([`learn`]). Loans end with the process, and so
//! does the run that held them: the next attempt looks again.
//!
//! # Memory
//! At most `index::MOST_SAMPLES` samples for each domain, which are some 10 MiB, and a few indexes of packs. When there
//! are more blocks, each second sample is dropped, and so on: what is left still leads to whole packs, whose other blocks
//! are then found beside it.

pub(crate) mod index;
pub(crate) mod loans;

use crate::pack::reader::{read_ends, read_footer, read_index};
use crate::pack::{What, key_of};
use crate::store::BlockStore;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{KeyId, PackId};
use index::Contents;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Learns what all packs hold, each for its key domain, so that later runs find it. Reads the two ends of each once. To be
/// called after a start; what is stored after that is known from its put on. What is under a key that cannot be used is
/// not learned.
pub async fn learn(store: &BlockStore, cancel: &CancellationToken) -> Result<(), Failure> {
    let mut domains: HashMap<KeyId, Option<BlockStore>> = HashMap::new();
    for fact in store.list_packs().await? {
        if cancel.is_cancelled() {
            return Err(Failure::new(Code::Cancelled, "learning what the store holds was stopped"));
        }
        let ends = read_ends(store, &PackId::from_bits(fact.pack)).await.map(|ends| ends.map(|(header, _)| header));
        let Some(header) = readable(ends)? else { continue };
        let Ok(key) = key_of(&header) else { continue };
        if !domains.contains_key(&key) {
            domains.insert(key.clone(), readable(store.under(&key).await.map(Some))?);
        }
        if let Some(Some(store)) = domains.get(&key) {
            learn_pack(store, fact.pack).await?;
        }
    }
    Ok(())
}

async fn learn_pack(store: &BlockStore, pack: u128) -> Result<(), Failure> {
    let index = store.index();
    if index.knows(pack) {
        return Ok(());
    }
    if let Some(contents) = readable(contents_of(store, pack).await)? {
        index.add(pack, contents.keys());
    }
    Ok(())
}

/// Every block of a pack and its place; `None` if there is no such pack.
pub(crate) async fn contents_of(store: &BlockStore, pack: u128) -> Result<Option<Arc<Contents>>, Failure> {
    let _turn = store.fetches().acquire().await.expect("the semaphore is never closed");
    let Some(footer) = read_footer(store, &PackId::from_bits(pack)).await? else { return Ok(None) };
    let entries = read_index(store, footer).await?;
    let blocks = entries.into_iter().filter(|entry| entry.what == What::Block);
    Ok(Some(Arc::new(blocks.map(|entry| (entry.digest, entry.place)).collect())))
}

/// What cannot be read, or not with the keys of this domain, is not learned. Only a store that does not answer is a
/// failure.
fn readable<T>(found: Result<Option<T>, Failure>) -> Result<Option<T>, Failure> {
    match found {
        Err(failure) if !matches!(failure.code, Code::StoreCorrupt | Code::KeyUnavailable | Code::KeyDisabled) => {
            Err(failure)
        }
        found => Ok(found.ok().flatten()),
    }
}
