//! Packs that earlier attempts of the same run and volume made durable, and that no snapshot names yet.

use crate::block::Digest;
use crate::pack::reader::{read_footer, read_index};
use crate::pack::{Footer, IndexEntry, PackSet, What};
use crate::page::{Entry, FAN_OUT};
use crate::recent::Recent;
use crate::replicate::Staged;
use crate::store::{BlockStore, FETCHES};
use crate::tree::Geometry;
use futures::{StreamExt, TryStreamExt};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::PackId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Indexes kept, at most 600 KiB each. A leaf usually lies in two or three packs, and the walk comes by each pack once.
pub(super) const KEPT_INDEXES: usize = 6;

/// What is known of the staged packs. For each pack only which blocks it spans is kept; indexes come when they are due.
#[derive(Default)]
pub(super) struct StagedPacks {
    packs: Vec<StagedPack>,
    ids: HashSet<u128>,
    used: HashSet<u128>,
    pub(super) notes: Vec<String>,
}

struct StagedPack {
    footer: Footer,
    same_point: bool,
}

/// Indexes of the packs around the walk's place.
pub(super) type Indexes = Recent<u128, Arc<Vec<IndexEntry>>>;

/// What staged packs hold of one leaf.
#[derive(Default)]
pub(super) struct StagedLeaf {
    /// Blocks that were read from the very point in time that is replicated.
    certain: HashMap<u64, Entry>,
    /// Blocks of other points in time: right if their digest is.
    possible: HashMap<u64, Vec<Entry>>,
}

impl StagedLeaf {
    /// All blocks.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.certain.values().chain(self.possible.values().flatten())
    }

    /// The block, if it need not be read.
    pub(super) fn certain(&self, block: u64) -> Option<Entry> {
        self.certain.get(&block).copied()
    }

    /// The block with this digest, if it is staged.
    pub(super) fn find(&self, block: u64, digest: Digest) -> Option<Entry> {
        let possible = self.possible.get(&block).into_iter().flatten().copied();
        self.certain(block).into_iter().chain(possible).find(|entry| entry.digest == digest)
    }
}

impl StagedPacks {
    /// Looks at the beginning and end of every pack.
    pub(super) async fn scan(store: &BlockStore, staged: &[Staged]) -> Result<Self, Failure> {
        let mut found = StagedPacks::default();
        let mut seen = HashSet::new();
        let distinct: Vec<Staged> = staged.iter().filter(|s| seen.insert(&s.pack)).cloned().collect();
        let mut footers = futures::stream::iter(distinct)
            .map(|staged| async move {
                let footer = footer_of(store, &staged.pack).await?;
                Ok((staged, footer))
            })
            .buffered(FETCHES);
        while let Some((staged, footer)) = footers.try_next().await? {
            match footer {
                Ok(footer) => found.packs.push(StagedPack { footer, same_point: staged.same_point }),
                Err(why) => found.notes.push(format!("staged pack {} is not used: {why}", staged.pack)),
            }
        }
        drop(footers);
        found.ids = found.packs.iter().map(|p| p.footer.pack).collect();
        Ok(found)
    }

    /// What is staged of the blocks of `leaf`.
    pub(super) async fn leaf(
        &mut self,
        store: &BlockStore,
        indexes: &mut Indexes,
        geometry: Geometry,
        leaf: u64,
    ) -> Result<StagedLeaf, Failure> {
        let blocks = geometry.blocks_of(0, leaf);
        let mut found = StagedLeaf::default();
        let mut damaged = Vec::new();
        for pack in &self.packs {
            let Some((first, last)) = pack.footer.blocks else { continue };
            if first >= blocks.end || last < blocks.start {
                continue;
            }
            let index = match indexes.get(&pack.footer.pack) {
                Some(index) => index,
                None => match read_index(store, pack.footer).await {
                    Ok(index) => Arc::new(index),
                    Err(failure) if failure.code == Code::StoreCorrupt => {
                        damaged.push((pack.footer.pack, failure.evidence));
                        continue;
                    }
                    Err(failure) => return Err(failure),
                },
            };
            indexes.put(pack.footer.pack, index.clone());
            for entry in index.iter().filter(|e| e.what == What::Block && blocks.contains(&e.number)) {
                if entry.place.raw != geometry.length_of(entry.number) || entry.digest == Digest::ZERO {
                    continue;
                }
                let block = Entry { digest: entry.digest, place: entry.place };
                if pack.same_point {
                    found.certain.insert(entry.number, block);
                } else {
                    found.possible.entry(entry.number).or_default().push(block);
                }
            }
        }
        for (pack, why) in damaged {
            self.packs.retain(|p| p.footer.pack != pack);
            self.notes.push(format!("staged pack {} is not used: {why}", PackId::from_bits(pack)));
        }
        debug_assert!(blocks.end - blocks.start <= FAN_OUT);
        Ok(found)
    }

    /// A block of this pack is in the new snapshot.
    pub(super) fn note_use(&mut self, pack: u128) {
        if self.ids.contains(&pack) {
            self.used.insert(pack);
        }
    }

    /// Adds the packs that the snapshot uses to `packs`; returns the sum of their bytes.
    pub(super) fn adopt(&self, packs: &mut PackSet) -> u64 {
        let used = self.packs.iter().filter(|p| self.used.contains(&p.footer.pack));
        used.map(|p| {
            packs.insert(p.footer.pack, 1);
            p.footer.pack_length()
        })
        .sum()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

async fn footer_of(store: &BlockStore, pack: &PackId) -> Result<Result<Footer, String>, Failure> {
    match read_footer(store, pack).await {
        Ok(Some(footer)) => Ok(Ok(footer)),
        Ok(None) => Ok(Err("it is not in the store".to_owned())),
        Err(failure) if failure.code == Code::StoreCorrupt => Ok(Err(failure.evidence)),
        Err(failure) => Err(failure),
    }
}
