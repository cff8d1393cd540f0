//! What the tests play with: a scripted volume, a ledger that writes everything down, stores.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use godwit_blocks::block::BlockSize;
use godwit_blocks::crypt::{Entropy, MasterKey};
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::{Ledger, Replicated, Request, Staged, replicate};
use godwit_blocks::source::{ExtentKind, MAX_READ, SourceExtent, VolumeReader};
use godwit_blocks::store::{BlockStore, Options};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{PackId, RunId, SnapshotId};
use godwit_model::time::Timestamp;
use object_store::ObjectStore;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

pub const SECTOR: u64 = 512;

/// A volume at a point in time that counts what is asked of it.
#[derive(Default)]
pub struct Volume {
    pub content: Vec<u8>,
    /// Content that "unchanged" refers to.
    pub base: Option<Vec<u8>>,
    /// The volume ended here for a while: what is zero behind it is called unchanged, whatever it was.
    pub cut: Option<usize>,
    /// Spoils what is known: the higher, the more is called data although it is not. 0 tells all, 255 nearly nothing.
    pub vagueness: u8,
    /// The read with this number fails.
    pub fail_read: Option<u64>,
    pub n_reads: AtomicU64,
    pub bytes_read: AtomicU64,
    pub ranges: Mutex<Vec<Extent>>,
}

impl Volume {
    pub fn new(content: Vec<u8>) -> Self {
        Self { content, ..Self::default() }
    }

    pub fn since(content: Vec<u8>, base: &[u8]) -> Self {
        Self { content, base: Some(base.to_vec()), ..Self::default() }
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    fn kind(&self, sector: Range<usize>) -> ExtentKind {
        let noise = blake3::hash(&(sector.start / 4096).to_le_bytes()).as_bytes()[0];
        if noise < self.vagueness {
            return ExtentKind::Data;
        }
        let is_hole = self.is_hole(&sector);
        let now = &self.content[sector.clone()];
        match &self.base {
            Some(base) if is_hole || base[sector] == *now => ExtentKind::Unchanged,
            _ if now.iter().all(|b| *b == 0) => ExtentKind::Zero,
            _ => ExtentKind::Data,
        }
    }

    fn is_hole(&self, sector: &Range<usize>) -> bool {
        let is_zero = || self.content[sector.clone()].iter().all(|b| *b == 0);
        self.cut.is_some_and(|cut| sector.start >= cut) && is_zero()
    }
}

#[async_trait]
impl VolumeReader for Volume {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        let mut extents: Vec<SourceExtent> = Vec::new();
        for extent in window.pieces(SECTOR) {
            let kind = self.kind(extent.offset as usize..extent.end() as usize);
            match extents.last_mut() {
                Some(last) if last.kind == kind => last.extent.length += extent.length,
                _ => extents.push(SourceExtent { extent, kind }),
            }
        }
        Ok(extents)
    }

    async fn zeros(&self, window: Extent) -> Result<Vec<Extent>, Failure> {
        let sectors = window.pieces(SECTOR);
        Ok(sectors.filter(|sector| self.is_hole(&(sector.offset as usize..sector.end() as usize))).collect())
    }

    async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        assert!(extent.length <= MAX_READ && !extent.is_empty());
        let number = self.n_reads.fetch_add(1, Ordering::Relaxed);
        if self.fail_read == Some(number) {
            return Err(Failure::new(Code::SourceRead, "scripted"));
        }
        // Lets other reads overtake this one.
        for _ in 0..number * 7 % 5 {
            tokio::task::yield_now().await;
        }
        self.bytes_read.fetch_add(extent.length, Ordering::Relaxed);
        self.ranges.lock().unwrap().push(extent);
        Ok(Bytes::copy_from_slice(&self.content[extent.offset as usize..extent.end() as usize]))
    }
}

/// Writes down what it is told.
#[derive(Default)]
pub struct Book {
    pub begun: Mutex<Vec<(PackId, u64)>>,
    pub durable: Mutex<Vec<PackId>>,
}

impl Book {
    /// What a restarted service would hand in: durable packs, and begun ones that turn out to be complete.
    pub async fn staged(&self, store: &BlockStore, same_point: bool) -> Vec<Staged> {
        let mut staged = Vec::new();
        let begun: Vec<PackId> = self.begun.lock().unwrap().iter().map(|(pack, _)| pack.clone()).collect();
        for pack in begun {
            let durable = self.durable.lock().unwrap().contains(&pack);
            if durable || godwit_blocks::pack::pack_is_complete(store, &pack).await.unwrap() {
                staged.push(Staged { pack, same_point });
            }
        }
        staged
    }

    pub fn bytes_of(&self, staged: &[Staged]) -> u64 {
        let begun = self.begun.lock().unwrap();
        begun.iter().filter(|(pack, _)| staged.iter().any(|s| s.pack == *pack)).map(|(_, bytes)| bytes).sum()
    }
}

#[async_trait]
impl Ledger for Book {
    async fn begun(&self, pack: &PackId, bytes: u64) -> Result<(), Failure> {
        self.begun.lock().unwrap().push((pack.clone(), bytes));
        Ok(())
    }

    async fn durable(&self, packs: &[PackId]) -> Result<(), Failure> {
        let is_begun = |pack: &PackId| self.begun.lock().unwrap().iter().any(|(begun, _)| begun == pack);
        assert!(packs.iter().all(is_begun), "durable before begun");
        self.durable.lock().unwrap().extend_from_slice(packs);
        Ok(())
    }
}

pub fn entropy(seed: u64) -> Entropy {
    let count = AtomicU64::new(0);
    Arc::new(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::hash(format!("{seed} {n}").as_bytes());
        u128::from_le_bytes(hash.as_bytes()[..16].try_into().unwrap())
    })
}

/// Opens a store with packs small enough that small volumes make several.
pub async fn open(objects: Arc<dyn ObjectStore>, seed: u64, pack_target: usize) -> BlockStore {
    let options = Options { pack_target };
    BlockStore::open_with(objects, &MasterKey::new([7; 32]), entropy(seed), options).await.unwrap()
}

pub fn snapshot_id(n: u128) -> SnapshotId {
    SnapshotId::from_bits(n)
}

pub fn request(n: u128, size: u64, block: BlockSize) -> Request {
    Request {
        snapshot: snapshot_id(n),
        run: RunId::from_bits(n),
        source: "test".to_owned(),
        device: "vda".to_owned(),
        size,
        block_size: block,
        parent: None,
        tracked: true,
        damaged: Vec::new(),
        staged: Vec::new(),
        figures: VolumeFigures::default(),
        created_at: Timestamp(1_795_000_000_000),
    }
}

pub async fn run(
    store: &BlockStore,
    request: &Request,
    volume: &Arc<Volume>,
    book: &Book,
) -> Result<Replicated, Failure> {
    replicate(store, request, volume.clone(), book, &|_| {}, &CancellationToken::new()).await
}

/// The whole content of a snapshot.
pub async fn content(store: &BlockStore, snapshot: &SnapshotId) -> Result<Vec<u8>, Failure> {
    let reader = SnapshotReader::open(store, snapshot).await?;
    let mut bytes = Vec::new();
    for piece in Extent::between(0, reader.size()).pieces(3_000_000) {
        bytes.extend_from_slice(&reader.read(piece).await?);
    }
    Ok(bytes)
}

/// Names and sizes of all objects.
pub async fn objects(store: &dyn ObjectStore) -> Vec<(object_store::path::Path, u64)> {
    let mut found: Vec<_> = store.list(None).map_ok(|o| (o.location, o.size)).try_collect().await.unwrap();
    found.sort();
    found
}

/// Bytes that no codec shortens.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
