//! What comparing two snapshots costs, and verifying one; and when a comparison is refused.

use crate::beside::Counted;
use crate::stage::{Book, Volume, noise, open, request, run, snapshot_id};
use async_trait::async_trait;
use bytes::Bytes;
use godwit_blocks::block::BlockSize;
use godwit_blocks::diff::{Differences, diff};
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::{Request, replicate};
use godwit_blocks::source::{ExtentKind, SourceExtent, VolumeReader};
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::KeyId;
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const BLOCK: u64 = BlockSize::DEFAULT.bytes();
const SIZE: u64 = 64 << 40;
const CALLS: i64 = 1_000_000;

/// A huge volume with few blocks of data, by number.
struct Islands {
    blocks: BTreeMap<u64, u64>,
    /// What "unchanged" refers to.
    base: Option<BTreeMap<u64, u64>>,
}

impl Islands {
    fn is_known(&self, block: u64) -> bool {
        self.base.as_ref().is_some_and(|base| base.get(&block) == self.blocks.get(&block))
    }
}

#[async_trait]
impl VolumeReader for Islands {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        let of_base = self.base.iter().flatten().map(|(block, _)| *block);
        let mut changed: Vec<u64> = self.blocks.keys().copied().chain(of_base).collect();
        changed.retain(|block| !self.is_known(*block));
        changed.sort_unstable();
        changed.dedup();
        let rest = if self.base.is_some() { ExtentKind::Unchanged } else { ExtentKind::Zero };
        let (mut extents, mut at) = (Vec::new(), window.offset);
        let mut push = |to: u64, kind| {
            let extent = Extent::between(at, to.clamp(at, window.end()));
            if !extent.is_empty() {
                extents.push(SourceExtent { extent, kind });
                at = extent.end();
            }
        };
        for block in changed.into_iter().filter(|block| (block + 1) * BLOCK > window.offset) {
            push(block * BLOCK, rest);
            push((block + 1) * BLOCK, ExtentKind::Data);
        }
        push(window.end(), rest);
        Ok(extents)
    }

    async fn zeros(&self, _: Extent) -> Result<Vec<Extent>, Failure> {
        Ok(Vec::new())
    }

    async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        let mut bytes = vec![0; extent.length as usize];
        for (n, block) in bytes.chunks_mut(BLOCK as usize).enumerate() {
            if let Some(seed) = self.blocks.get(&(extent.offset / BLOCK + n as u64)) {
                block.copy_from_slice(&noise(*seed, block.len()));
            }
        }
        Ok(bytes.into())
    }
}

async fn copy(store: &BlockStore, n: u128, parent: Option<u128>, islands: Islands) {
    let parent = parent.map(snapshot_id);
    let wanted = Request { parent, ..request(n, SIZE, BlockSize::DEFAULT) };
    let (book, cancel) = (Book::default(), CancellationToken::new());
    replicate(store, &wanted, Arc::new(islands), &book, &|_| {}, &cancel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_changes_of_64_tebibytes_are_found_and_verified_by_reading_the_pages_above_them() {
    let counted = Counted::dying(Arc::new(InMemory::new()), CALLS);
    let store = open(counted.clone(), 1, 16 << 20).await;
    // One island in every third gibibyte of the first tebibytes, and one at the very end.
    let blocks: BTreeMap<u64, u64> =
        (0..300).map(|n| (n * 3 * 16_384, n + 1)).chain([(SIZE / BLOCK - 1, 999)]).collect();
    copy(&store, 1, None, Islands { blocks: blocks.clone(), base: None }).await;
    let mut changed = blocks.clone();
    changed.insert(5, 7001);
    changed.remove(&(3 * 16_384));
    changed.insert(SIZE / BLOCK - 1, 7002);
    copy(&store, 2, Some(1), Islands { blocks: changed, base: Some(blocks.clone()) }).await;
    counted.after(CALLS);
    let own = verify(&store, &snapshot_id(2), Scope::OwnBlocks, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!((own.damaged.as_slice(), own.bytes_verified), (&[][..], 2 * BLOCK));
    // The manifest, the root, two pages above leaves, two leaves and their blocks: no page that the parent had.
    assert_eq!(CALLS - counted.left(), 1 + 1 + 2 + 2 + 2);
    copy(&store, 3, None, Islands { blocks, base: None }).await;

    let mut readers = Vec::new();
    for n in 1..=3 {
        readers.push(SnapshotReader::open(&store, &snapshot_id(n)).await.unwrap());
    }
    counted.after(CALLS);
    let found = diff(&readers[0], &readers[1], 0, 100).await.unwrap();
    let block = |number: u64| Extent { offset: number * BLOCK, length: BLOCK };
    let expected = vec![block(5), block(3 * 16_384), block(SIZE / BLOCK - 1)];
    assert_eq!(found, Differences { extents: expected, next: None });
    // Both roots; two pages above leaves (the first two changes share one) on both sides; three leaves, one of which is
    // all zeros in the second snapshot.
    assert_eq!(CALLS - counted.left(), 2 + 4 + 5);

    counted.after(CALLS);
    let found = diff(&readers[0], &readers[2], 0, 100).await.unwrap();
    assert_eq!(found, Differences { extents: vec![], next: None });
    assert_eq!(counted.left(), CALLS, "equal digests are equal content: nothing is read");
}

#[tokio::test]
async fn snapshots_of_other_keys_or_block_sizes_are_not_compared() {
    let store = open(Arc::new(InMemory::new()), 1, 1 << 20).await;
    let other = KeyId::from_bits(70);
    store.make_key(&other, 1).await.unwrap();
    let volume = Arc::new(Volume::new(noise(1, 100_000)));
    let sizes = [BlockSize::MIN, BlockSize::DEFAULT, BlockSize::MIN];
    for (n, block) in (1..).zip(sizes) {
        let store = if n == 3 { store.under(&other).await.unwrap() } else { store.clone() };
        run(&store, &request(n, 100_000, block), &volume, &Book::default()).await.unwrap();
    }
    let first = SnapshotReader::open(&store, &snapshot_id(1)).await.unwrap();
    for n in [2, 3] {
        let second = SnapshotReader::open(&store, &snapshot_id(n)).await.unwrap();
        assert_eq!(diff(&first, &second, 0, 10).await.unwrap_err().code, Code::Internal);
    }
}
