//! Memory does not grow with the size of a volume: measured with an allocator that counts.
#![allow(clippy::unwrap_used)] // Tests: a panic is the report.
#![allow(unsafe_code)] // An allocator cannot be written without; it only counts and passes on.

use async_trait::async_trait;
use bytes::Bytes;
use godwit_blocks::block::BlockSize;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::{Ledger, Request, replicate};
use godwit_blocks::source::{ExtentKind, SourceExtent, VolumeReader};
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{PackId, RunId, SnapshotId};
use godwit_model::time::Timestamp;
use object_store::local::LocalFileSystem;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: u64 = 1 << 20;

/// Mostly holes: `n_data` megabytes of noise at equal distances.
struct Sparse {
    size: u64,
    n_data: u64,
    tracked: bool,
}

impl Sparse {
    fn distance(&self) -> u64 {
        self.size / self.n_data / MIB * MIB
    }
}

#[async_trait]
impl VolumeReader for Sparse {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        let mut extents: Vec<SourceExtent> = Vec::new();
        let rest = if self.tracked { ExtentKind::Unchanged } else { ExtentKind::Zero };
        let mut push = |start: u64, end: u64, kind| {
            let extent = Extent::between(start, end).intersect(window);
            if !extent.is_empty() {
                extents.push(SourceExtent { extent, kind });
            }
        };
        let distance = self.distance();
        let first = window.offset / distance;
        for n in first..=window.end() / distance {
            push(n * distance, n * distance + MIB, ExtentKind::Data);
            push(n * distance + MIB, (n + 1) * distance, rest);
        }
        Ok(extents)
    }

    async fn zeros(&self, _: Extent) -> Result<Vec<Extent>, Failure> {
        Ok(Vec::new())
    }

    async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        let mut bytes = vec![0; extent.length as usize];
        blake3::Hasher::new().update(&extent.offset.to_le_bytes()).finalize_xof().fill(&mut bytes);
        Ok(bytes.into())
    }
}

struct NoLedger;

#[async_trait]
impl Ledger for NoLedger {
    async fn begun(&self, _: &PackId, _: u64) -> Result<(), Failure> {
        Ok(())
    }
    async fn durable(&self, _: &[PackId]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Peak of memory beyond what is in use at the beginning.
async fn peak<T>(work: impl Future<Output = T>) -> (T, u64) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let value = work.await;
    (value, PEAK.load(Ordering::Relaxed).saturating_sub(before) as u64)
}

/// Held by who measures: tests of one process share the allocator.
static MEASURING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn request(n: u128, size: u64, parent: Option<SnapshotId>) -> Request {
    Request {
        snapshot: SnapshotId::from_bits(n),
        run: RunId::from_bits(n),
        source: "test".to_owned(),
        device: "vda".to_owned(),
        size,
        block_size: BlockSize::DEFAULT,
        parent,
        tracked: true,
        damaged: Vec::new(),
        staged: Vec::new(),
        figures: VolumeFigures::default(),
        created_at: Timestamp(0),
    }
}

async fn open(folder: &std::path::Path) -> BlockStore {
    let objects = Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap());
    let count = AtomicU64::new(1);
    let entropy = Arc::new(move || u128::from(count.fetch_add(1, Ordering::Relaxed)));
    BlockStore::open(objects, &MasterKey::new([1; 32]), entropy).await.unwrap()
}

async fn copy(store: &BlockStore, n: u128, size: u64, parent: Option<SnapshotId>) -> (SnapshotId, u64) {
    let volume = Arc::new(Sparse { size, n_data: 128, tracked: parent.is_some() });
    let request = request(n, size, parent);
    let cancel = CancellationToken::new();
    let (done, bytes) = peak(replicate(store, &request, volume, &NoLedger, &|_| {}, &cancel)).await;
    let done = done.unwrap();
    assert_eq!(done.figures.bytes_done, size);
    assert!(done.figures.bytes_read >= 128 * MIB && done.figures.bytes_read <= 130 * MIB);
    (request.snapshot, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_from_one_gibibyte_to_64_tebibytes() {
    let _alone = MEASURING.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for (n, size) in [(1, 1 << 30), (2, 64 << 40)] {
        let (first, bytes) = copy(&store, n * 10, size, None).await;
        assert!(bytes < 64 * MIB, "first copy of {size}: {bytes}");
        let (second, bytes) = copy(&store, n * 10 + 1, size, Some(first)).await;
        assert!(bytes < 64 * MIB, "second copy of {size}: {bytes}");
        let cancel = CancellationToken::new();
        let (verified, bytes) = peak(verify(&store, &second, Scope::Everything, &|_, _| {}, &cancel)).await;
        let verified = verified.unwrap();
        assert_eq!(verified.damaged, []);
        assert!(verified.bytes_verified >= 128 * MIB);
        assert!(bytes < 48 * MIB, "verification of {size}: {bytes}");
        let reader = SnapshotReader::open(&store, &second).await.unwrap();
        let extents = reader.data_extents(0, 1000).await.unwrap();
        assert_eq!(extents.next, None);
        assert!(extents.extents.len() >= 128);
    }
}

/// What one volume may take is not multiplied by how many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_volumes_at_once_share_one_budget() {
    const VOLUMES: u64 = 16;
    const DATA: u64 = 32;
    let _alone = MEASURING.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let cancel = CancellationToken::new();
    let copies = (0..VOLUMES).map(|n| {
        let size = (1 << 30) + n * MIB * DATA;
        let (store, cancel) = (store.clone(), cancel.clone());
        async move {
            let volume = Arc::new(Sparse { size, n_data: DATA, tracked: false });
            replicate(&store, &request(n.into(), size, None), volume, &NoLedger, &|_| {}, &cancel).await
        }
    });
    let (done, bytes) = peak(futures::future::try_join_all(copies)).await;
    assert_eq!(done.unwrap().len() as u64, VOLUMES);
    assert!(bytes < 96 * MIB, "{bytes}");
}
