//! Random histories of one volume against a map of arrays: what is read, what is data and what differs is what the arrays
//! say, whatever was copied, deleted and swept before.

use crate::stage::{Book, Volume, noise, open, request, run, runtime, snapshot_id};
use crate::sweep::{BLOCK, EARLY, LATE, PACK, known, sweep};
use godwit_blocks::diff::diff;
use godwit_blocks::pack::PackSet;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::Request;
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::Claims;
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a block.
const BYTES: usize = BLOCK.bytes() as usize;

/// What happens to a range of the volume.
#[derive(Clone, Debug)]
enum Write {
    Noise(u64),
    Text(u8),
    Zeros,
}

#[derive(Clone, Debug)]
enum Step {
    /// The volume changes, and is copied on top of its last snapshot.
    Copy {
        size: Option<usize>,
        writes: Vec<(Index, usize, Write)>,
        tracked: bool,
    },
    Delete(Index),
    Sweep {
        late: bool,
    },
}

fn size() -> impl Strategy<Value = usize> {
    // One leaf, or two: then the tree is higher.
    prop_oneof![3 => 1usize..300_000, 1 => 4_190_000usize..4_500_000]
}

fn step() -> impl Strategy<Value = Step> {
    let write = prop_oneof![
        3 => (0u64..1000).prop_map(Write::Noise),
        1 => (1u8..255).prop_map(Write::Text),
        1 => Just(Write::Zeros),
    ];
    let writes = proptest::collection::vec((any::<Index>(), 1usize..60_000, write), 0..5);
    prop_oneof![
        5 => (proptest::option::weighted(0.3, size()), writes, any::<bool>())
            .prop_map(|(size, writes, tracked)| Step::Copy { size, writes, tracked }),
        2 => any::<Index>().prop_map(Step::Delete),
        2 => any::<bool>().prop_map(|late| Step::Sweep { late }),
    ]
}

/// A piece of a snapshot to be read.
type Piece = (Index, Index, Index);

struct History {
    store: BlockStore,
    volume: Vec<u8>,
    snapshots: BTreeMap<u128, Vec<u8>>,
    released: PackSet,
    n: u128,
}

impl History {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Copy { size, writes, tracked } => self.copy(*size, writes, *tracked).await,
            Step::Delete(index) => {
                let Some(n) = index_of(index, self.snapshots.keys()) else { return };
                self.snapshots.remove(&n);
                let manifest = snapshot::load(&self.store, &snapshot_id(n)).await.unwrap().unwrap();
                manifest.packs.ranges().for_each(|(first, count)| self.released.add(first, count));
                snapshot::delete(&self.store, &snapshot_id(n)).await.unwrap();
            }
            Step::Sweep { late } => {
                let ids = self.snapshots.keys().map(|n| snapshot_id(*n));
                let claims = Claims { released: self.released.clone(), ..known(ids) };
                let swept = sweep(&self.store, &claims, if *late { LATE } else { EARLY }).await.unwrap();
                assert_eq!(swept.left, 0, "{swept:?}");
                swept.repacked.emptied.iter().for_each(|pack| self.released.add(pack, 1));
            }
        }
    }

    async fn copy(&mut self, size: Option<usize>, writes: &[(Index, usize, Write)], tracked: bool) {
        if let Some(size) = size {
            self.volume.resize(size, 0);
        }
        for (at, length, write) in writes {
            let start = at.index(self.volume.len());
            let range = &mut self.volume[start..];
            let length = (*length).min(range.len());
            match write {
                Write::Noise(seed) => range[..length].copy_from_slice(&noise(*seed, length)),
                Write::Text(letter) => range[..length].fill(*letter),
                Write::Zeros => range[..length].fill(0),
            }
        }
        self.n += 1;
        let parent = self.snapshots.last_key_value();
        let base = parent.map(|(_, base)| base).filter(|base| tracked && base.len() == self.volume.len());
        let source = Volume { base: base.cloned(), ..Volume::new(self.volume.clone()) };
        let parent = parent.map(|(n, _)| snapshot_id(*n));
        let wanted = Request { parent, tracked, ..request(self.n, self.volume.len() as u64, BLOCK) };
        run(&self.store, &wanted, &Arc::new(source), &Book::default()).await.unwrap();
        self.snapshots.insert(self.n, self.volume.clone());
    }

    async fn check(&self, pieces: &[Piece]) {
        for (of, start, end) in pieces {
            let Some(n) = index_of(of, self.snapshots.keys()) else { return };
            let model = &self.snapshots[&n];
            let (start, end) = (start.index(model.len() + 1), end.index(model.len() + 1));
            let extent = Extent::between(start.min(end) as u64, start.max(end) as u64);
            let reader = SnapshotReader::open(&self.store, &snapshot_id(n)).await.unwrap();
            let bytes = reader.read(extent).await.unwrap();
            assert!(bytes == model[extent.offset as usize..extent.end() as usize], "{extent:?} of {n}");
        }
    }

    /// Everything about every snapshot and every pair of them.
    async fn check_all(&self, from: Index, limit: usize) {
        let mut readers = Vec::new();
        for (n, model) in &self.snapshots {
            let reader = SnapshotReader::open(&self.store, &snapshot_id(*n)).await.unwrap();
            assert!(reader.read(Extent::between(0, model.len() as u64)).await.unwrap() == model, "{n}");
            let from = from.index(model.len()) as u64;
            let found = all(from, async |at| {
                let found = reader.data_extents(at, limit).await?;
                assert!(found.extents.len() <= limit);
                Ok((found.extents, found.next))
            });
            let zeros = vec![0; model.len()];
            assert_eq!(found.await, differing(&zeros, model, from), "data of {n} from {from}");
            readers.push((reader, model));
        }
        for (old, was) in &readers {
            for (new, is) in &readers {
                let from = from.index(was.len().max(is.len())) as u64;
                let found = all(from, async |at| {
                    let found = diff(old, new, at, limit).await?;
                    assert!(found.extents.len() <= limit);
                    Ok((found.extents, found.next))
                });
                assert_eq!(found.await, differing(was, is, from), "from {from}: {} and {}", was.len(), is.len());
            }
        }
    }
}

fn index_of<'a>(index: &Index, mut keys: impl ExactSizeIterator<Item = &'a u128>) -> Option<u128> {
    if keys.len() == 0 { None } else { keys.nth(index.index(keys.len())).copied() }
}

/// All pieces of a list, joined.
async fn all(from: u64, more: impl AsyncFn(u64) -> Result<(Vec<Extent>, Option<u64>), Failure>) -> Vec<Extent> {
    let (mut joined, mut at) = (Vec::new(), Some(from));
    while let Some(from) = at {
        let (extents, next) = more(from).await.unwrap();
        assert!(next.is_none_or(|next| next > from), "it goes on");
        extents.into_iter().for_each(|extent| join(&mut joined, extent));
        at = next;
    }
    joined
}

fn join(extents: &mut Vec<Extent>, extent: Extent) {
    match extents.last_mut() {
        Some(last) if last.end() == extent.offset => last.length += extent.length,
        _ => extents.push(extent),
    }
}

/// Blocks in which two arrays differ, behind whose ends are zeros.
fn differing(a: &[u8], b: &[u8], from: u64) -> Vec<Extent> {
    let size = a.len().max(b.len());
    let mut extents = Vec::new();
    for start in (0..size).step_by(BYTES) {
        let end = (start + BYTES).min(size);
        let at = |array: &[u8], n: usize| array.get(n).copied().unwrap_or(0);
        let extent = Extent::between((start as u64).max(from), (end as u64).max(from));
        if !extent.is_empty() && (start..end).any(|n| at(a, n) != at(b, n)) {
            join(&mut extents, extent);
        }
    }
    extents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn histories_are_what_a_map_of_arrays_says(
        first in size(),
        steps in proptest::collection::vec(step(), 1..10),
        pieces in proptest::collection::vec(any::<Piece>(), 3),
        from in any::<Index>(),
        limit in 1usize..6,
    ) {
        runtime().block_on(async {
            let store = open(Arc::new(InMemory::new()), 1, PACK).await;
            let volume = vec![0; first];
            let mut history = History { store, volume, snapshots: BTreeMap::new(), released: PackSet::default(), n: 0 };
            for step in &steps {
                history.take(step).await;
                history.check(&pieces).await;
            }
            history.check_all(from, limit).await;
        });
    }
}
