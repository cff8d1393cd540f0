//! What is stored and read for small changes, and that the steps of a copy overlap.

use crate::beside::Counted;
use crate::stage::{Book, Volume, noise, objects, open, request, run, snapshot_id};
use async_trait::async_trait;
use bytes::Bytes;
use godwit_blocks::block::BlockSize;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::{Request, replicate};
use godwit_blocks::source::{SourceExtent, VolumeReader};
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const BLOCK: usize = 64 << 10;

async fn stored(objects_store: &Arc<dyn ObjectStore>) -> u64 {
    objects(&**objects_store).await.iter().map(|(_, size)| size).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_changed_costs_less_than_eight_kibibytes() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 16 << 20).await;
    let mut disk = vec![0; 200 << 20];
    for at in (0..disk.len()).step_by(10 << 20) {
        disk[at..at + 2_000_000].copy_from_slice(&noise(at as u64, 2_000_000));
    }
    let first = request(1, disk.len() as u64, BlockSize::DEFAULT);
    run(&store, &first, &Arc::new(Volume::new(disk.clone())), &Book::default()).await.unwrap();
    let mut before = stored(&objects).await;
    let tracked = Volume::since(disk.clone(), &disk);
    for (n, volume) in [(2, tracked), (3, Volume::new(disk.clone()))] {
        let is_tracked = volume.base.is_some();
        let volume = Arc::new(volume);
        let mut request = request(n, disk.len() as u64, BlockSize::DEFAULT);
        request.parent = Some(first.snapshot.clone());
        let done = run(&store, &request, &volume, &Book::default()).await.unwrap();
        let after = stored(&objects).await;
        assert!(after - before <= 8 << 10, "{} bytes", after - before);
        assert_eq!(done.figures.bytes_stored, after - before, "figures tell what the store holds");
        assert_eq!(done.figures.bytes_sent, after - before);
        assert_eq!(volume.bytes_read() == 0, is_tracked);
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scattered_changes_cost_two_percent_more_than_themselves() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 16 << 20).await;
    // Full of blocks that differ and compress to nearly nothing: pages are as large as they get, packs are small.
    let mut disk = vec![0; 256 << 20];
    for (n, block) in disk.chunks_exact_mut(BLOCK).enumerate() {
        block.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&(n as u64 + 1).to_le_bytes()));
    }
    let first = request(1, disk.len() as u64, BlockSize::DEFAULT);
    run(&store, &first, &Arc::new(Volume::new(disk.clone())), &Book::default()).await.unwrap();
    let before = stored(&objects).await;

    let base = disk.clone();
    let n_blocks = disk.len() / BLOCK;
    let n_changes = n_blocks / 20;
    for n in 0..n_changes {
        let at = n * 20 + n * 7 % 20;
        disk[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(&noise(n as u64, BLOCK));
    }
    let changed = (n_changes * BLOCK) as u64;
    let mut second = request(2, disk.len() as u64, BlockSize::DEFAULT);
    second.parent = Some(first.snapshot);
    let volume = Arc::new(Volume::since(disk.clone(), &base));
    let done = run(&store, &second, &volume, &Book::default()).await.unwrap();
    let cost = stored(&objects).await - before;
    assert!(cost >= changed && cost <= changed + changed / 50, "{cost} bytes for {changed}");
    assert_eq!(volume.bytes_read(), changed);
    assert_eq!(done.figures.bytes_stored, cost);
}

#[tokio::test]
async fn reads_are_joined_to_a_megabyte() {
    let store = open(Arc::new(InMemory::new()), 1, 16 << 20).await;
    let volume = Arc::new(Volume::new(noise(1, 10 << 20)));
    run(&store, &request(1, 10 << 20, BlockSize::DEFAULT), &volume, &Book::default()).await.unwrap();
    assert_eq!(volume.ranges.lock().unwrap().len(), 10);
}

/// Reads and puts as they overlap.
#[derive(Default)]
struct Traffic {
    reads: AtomicUsize,
    reads_begun: AtomicUsize,
    most_reads: AtomicUsize,
    puts: AtomicUsize,
    most_puts: AtomicUsize,
    /// Puts of packs during which a read, or another one, began.
    accompanied: AtomicUsize,
}

impl Traffic {
    /// A put that takes until something else goes on beside it, or until it is clear that nothing does.
    async fn put(&self) {
        let puts = self.puts.fetch_add(1, SeqCst) + 1;
        self.most_puts.fetch_max(puts, SeqCst);
        let begun = self.reads_begun.load(SeqCst);
        let is_accompanied = async {
            while self.reads_begun.load(SeqCst) == begun && self.puts.load(SeqCst) < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(1), is_accompanied).await;
        self.accompanied.fetch_add(usize::from(found.is_ok()), SeqCst);
        self.puts.fetch_sub(1, SeqCst);
    }
}

/// A volume whose reads take their time.
struct Slow {
    volume: Volume,
    traffic: Arc<Traffic>,
}

#[async_trait]
impl VolumeReader for Slow {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        self.volume.extents(window).await
    }

    async fn zeros(&self, window: Extent) -> Result<Vec<Extent>, Failure> {
        self.volume.zeros(window).await
    }

    async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        let reads = self.traffic.reads.fetch_add(1, SeqCst) + 1;
        self.traffic.most_reads.fetch_max(reads, SeqCst);
        self.traffic.reads_begun.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.traffic.reads.fetch_sub(1, SeqCst);
        self.volume.read(extent).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_reads_and_two_puts_are_on_their_way_at_once() {
    let traffic = Arc::new(Traffic::default());
    let of_puts = traffic.clone();
    let objects = Counted::watching(Arc::new(InMemory::new()), move |path| {
        let (traffic, is_pack) = (of_puts.clone(), path.as_ref().starts_with("packs/"));
        async move {
            if is_pack {
                traffic.put().await;
            }
        }
    });
    let store = open(objects, 1, 1 << 20).await;
    let volume = Arc::new(Slow { volume: Volume::new(noise(1, 64 << 20)), traffic: traffic.clone() });
    let (wanted, book) = (request(1, 64 << 20, BlockSize::DEFAULT), Book::default());
    replicate(&store, &wanted, volume, &book, &|_| {}, &CancellationToken::new()).await.unwrap();
    let packs = book.begun.lock().unwrap().len();
    assert!(packs > 40, "{packs}");
    let (reads, puts) = (traffic.most_reads.load(SeqCst), traffic.most_puts.load(SeqCst));
    assert!((4..=64).contains(&reads), "{reads} reads at once");
    assert_eq!(puts, 2, "puts at once");
    let accompanied = traffic.accompanied.load(SeqCst);
    assert!(accompanied > packs / 2, "{accompanied} of {packs} puts beside anything else");
}

/// A block that never changed lies in the first pack, and the way to it is no longer for all the snapshots between.
#[tokio::test]
async fn a_read_costs_the_same_however_many_runs_there_were() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 16 << 20).await;
    let mut disk = noise(1, 8 << 20);
    run(&store, &request(1, 8 << 20, BlockSize::MIN), &Arc::new(Volume::new(disk.clone())), &Book::default())
        .await
        .unwrap();
    let mut calls = Vec::new();
    for n in 2..=31u128 {
        let base = disk.clone();
        for part in 0..3 {
            let at = (part * 600 + n as usize) * 4096;
            disk[at..at + 4096].copy_from_slice(&noise(n as u64, 4096));
        }
        let next = Request { parent: Some(snapshot_id(n - 1)), ..request(n, 8 << 20, BlockSize::MIN) };
        run(&store, &next, &Arc::new(Volume::since(disk.clone(), &base)), &Book::default()).await.unwrap();
        // A process that knows nothing yet.
        let counted = Counted::doing(objects.clone(), i64::MAX, async || {});
        let fresh = open(counted.clone(), 2, 16 << 20).await;
        let before = counted.left();
        let reader = SnapshotReader::open(&fresh, &next.snapshot).await.unwrap();
        let at = 1000 * 4096;
        assert!(reader.read(Extent::between(at, at + 4096)).await.unwrap() == disk[at as usize..at as usize + 4096]);
        calls.push(before - counted.left());
    }
    assert!(calls[0] > 2, "{calls:?}");
    assert!(calls.iter().all(|n| *n == calls[0]), "{calls:?}");
}
