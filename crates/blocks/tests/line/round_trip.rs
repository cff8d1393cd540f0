//! Whatever is written to a volume over several generations comes back byte by byte, whichever way it was found.

use crate::stage::{Book, SECTOR, Volume, content, noise, open, request, run, runtime};
use godwit_blocks::block::{BlockSize, is_zero};
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::{Extent, total};
use godwit_model::id::SnapshotId;
use godwit_model::key::first_key;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use proptest::prelude::*;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug)]
struct Write {
    at: proptest::sample::Index,
    length: usize,
    /// 0 zeros, 1 text, 2 noise, 3 what was there.
    fill: u8,
}

#[derive(Clone, Debug)]
struct Generation {
    writes: Vec<Write>,
    tracked: bool,
    vagueness: u8,
    /// The volume grows or shrinks by so many sectors.
    resize: i64,
    /// It ends here and grows again before anything is written.
    cut: Option<proptest::sample::Index>,
    /// The key gets a new version before.
    rotated: bool,
}

fn write() -> impl Strategy<Value = Write> {
    let length = prop_oneof![1usize..5000, 1usize..100_000, 1usize..3_000_000];
    (any::<proptest::sample::Index>(), length, 0u8..4).prop_map(|(at, length, fill)| Write { at, length, fill })
}

fn generation() -> impl Strategy<Value = Generation> {
    let resize = prop_oneof![6 => Just(0i64), 1 => -500i64..2000];
    let cut = proptest::option::weighted(0.2, any::<proptest::sample::Index>());
    (proptest::collection::vec(write(), 0..8), any::<bool>(), any::<u8>(), resize, cut, any::<bool>()).prop_map(
        |(writes, tracked, vagueness, resize, cut, rotated)| Generation {
            writes,
            tracked,
            vagueness,
            resize,
            cut,
            rotated,
        },
    )
}

/// Gives where the volume was cut off.
fn apply(content: &mut Vec<u8>, generation: &Generation, seed: u64) -> Option<usize> {
    let cut = generation.cut.map(|cut| cut.index(content.len()) / SECTOR as usize * SECTOR as usize);
    if let Some(cut) = cut {
        content[cut..].fill(0);
    }
    let size = (content.len() as i64 + generation.resize * SECTOR as i64).max(SECTOR as i64);
    content.resize(size as usize, 0);
    for (n, write) in generation.writes.iter().enumerate() {
        let start = write.at.index(content.len());
        let target = &mut content[start..(start + write.length).min(size as usize)];
        match write.fill {
            0 => target.fill(0),
            1 => target.iter_mut().zip(b"some words that repeat. ".iter().cycle()).for_each(|(to, from)| *to = *from),
            2 => target.copy_from_slice(&noise(seed * 100 + n as u64, target.len())),
            _ => {}
        }
    }
    cut
}

async fn check(store: &BlockStore, snapshot: &SnapshotId, model: &[u8], block: u64) {
    let back = content(store, snapshot).await.unwrap();
    assert!(back == model, "content differs at {:?}", back.iter().zip(model).position(|(a, b)| a != b));
    let reader = SnapshotReader::open(store, snapshot).await.unwrap();

    // The data extents are exactly the blocks that are not zero, however they are asked for.
    for limit in [1, 3, 1000] {
        let mut extents: Vec<Extent> = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let page = reader.data_extents(at, limit).await.unwrap();
            assert!(page.extents.len() <= limit && page.next.is_none_or(|next| next > at));
            extents.extend(page.extents);
            from = page.next;
        }
        let expected: u64 = model.chunks(block as usize).filter(|c| !is_zero(c)).map(|c| c.len() as u64).sum();
        assert_eq!(total(&extents), expected);
        assert!(extents.windows(2).all(|w| w[0].end() <= w[1].offset));
    }

    for scope in [Scope::OwnBlocks, Scope::Everything] {
        let verified = verify(store, snapshot, scope, &|_, _| {}, &CancellationToken::new()).await.unwrap();
        assert_eq!((&verified.damaged, &verified.first_problem), (&Vec::new(), &None));
        assert_eq!(verified.root_digest, reader.manifest().root_digest);
        if scope == Scope::Everything {
            let stored: u64 = model.chunks(block as usize).filter(|c| !is_zero(c)).map(|c| c.len() as u64).sum();
            assert_eq!(verified.bytes_verified, stored);
        }
    }
}

async fn play(objects: Arc<dyn ObjectStore>, block: BlockSize, size: usize, generations: &[Generation]) {
    let mut store = open(objects, 1, 200_000).await;
    let mut model = vec![0; size];
    let mut before: Option<(Vec<u8>, SnapshotId)> = None;
    for (n, generation) in generations.iter().enumerate() {
        if generation.rotated {
            let versions = store.all_keys().await.unwrap()[&first_key()];
            store.make_key(&first_key(), versions + 1).await.unwrap();
            store = store.under(&first_key()).await.unwrap();
        }
        let cut = apply(&mut model, generation, n as u64);
        let mut volume = match &before {
            Some((base, _)) if generation.tracked && base.len() == model.len() => Volume::since(model.clone(), base),
            _ => Volume::new(model.clone()),
        };
        (volume.vagueness, volume.cut) = (generation.vagueness, cut);
        let volume = Arc::new(volume);
        let mut request = request(n as u128 + 1, model.len() as u64, block);
        request.parent = before.as_ref().map(|(_, snapshot)| snapshot.clone());
        let done = run(&store, &request, &volume, &Book::default()).await.unwrap();
        assert!(done.notes.iter().all(|note| cut.is_some() && note.contains("cut off")), "{:?}", done.notes);
        assert_eq!((done.figures.bytes_done, done.figures.bytes_total), (model.len() as u64, model.len() as u64));
        assert_eq!(done.figures.bytes_read, volume.bytes_read());
        check(&store, &request.snapshot, &model, block.bytes()).await;

        // The same content found the hard way has the same digest.
        let mut fresh = request.clone();
        (fresh.snapshot, fresh.parent) = (SnapshotId::from_bits(1000 + n as u128), None);
        let again = run(&store, &fresh, &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
        assert_eq!(again.root_digest, done.root_digest);
        before = Some((model.clone(), request.snapshot));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn volumes_come_back_as_they_were(
        size in prop_oneof![1usize..20_000, 1usize..14_000_000],
        generations in proptest::collection::vec(generation(), 1..5),
        large_blocks: bool,
        on_disk: bool,
    ) {
        let block = if large_blocks { BlockSize::DEFAULT } else { BlockSize::MIN };
        runtime().block_on(async {
            if on_disk {
                let folder = tempfile::tempdir().unwrap();
                let objects = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
                play(Arc::new(objects), block, size, &generations).await;
            } else {
                play(Arc::new(InMemory::new()), block, size, &generations).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_size_and_odd_ranges_work() {
    for block in [4096, 8192, 65536, 1 << 20].map(|n| BlockSize::new(n).unwrap()) {
        let store = open(Arc::new(InMemory::new()), 4, 16 << 20).await;
        let mut model = noise(9, 5_000_123);
        model[1_000_000..3_000_000].fill(0);
        let request = request(1, model.len() as u64, block);
        run(&store, &request, &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
        let reader = SnapshotReader::open(&store, &request.snapshot).await.unwrap();
        for (start, end) in
            [(0, 1), (4095, 4097), (999_999, 1_000_001), (2_500_000, 3_500_000), (5_000_122, 5_000_123), (7, 7)]
        {
            let bytes = reader.read(Extent::between(start, end)).await.unwrap();
            assert_eq!(&bytes[..], &model[start as usize..end as usize]);
        }
        assert!(reader.read(Extent::between(5_000_000, 5_000_124)).await.is_err());
        check(&store, &request.snapshot, &model, block.bytes()).await;
    }
}

#[tokio::test]
async fn what_a_read_gives_shows_nothing_of_what_was_read_into_the_same_memory_before() {
    let store = open(Arc::new(InMemory::new()), 4, 16 << 20).await;
    let mut model = noise(9, 3_000_123);
    model[1_000_000..2_000_000].fill(0);
    let request = request(1, model.len() as u64, BlockSize::DEFAULT);
    run(&store, &request, &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
    let reader = SnapshotReader::open(&store, &request.snapshot).await.unwrap();
    let mut uses = Vec::new();
    for start in [0, 900_000, 1_100_000, 1_500_001, 2_300_123] {
        let bytes = reader.read(Extent::between(start, start + 700_000)).await.unwrap();
        assert!(bytes == model[start as usize..][..700_000], "at {start}");
        uses.push(bytes.as_ptr());
    }
    assert!(uses.iter().all(|at| *at == uses[0]), "the same memory");
}
