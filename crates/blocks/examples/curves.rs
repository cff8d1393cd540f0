//! What the data line costs over the size of a volume, the number of its snapshots, and volumes at once:
//! `./dev bench --curves` runs this, once for each point, so that each has a process to itself.
//!
//!     curves size FOLDER BYTES           a first copy of a sparse volume, an incremental one, verification, a read
//!     curves snapshots FOLDER COUNT      so many snapshots of one volume, each with 16 changed blocks
//!     curves volumes FOLDER COUNT        first copies of so many volumes at once
//!
//! The store is a folder, which must be empty. Prints one JSON object.

use async_trait::async_trait;
use bytes::Bytes;
use godwit_blocks::block::BlockSize;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::diff::diff;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::{Ledger, Replicated, Request, replicate};
use godwit_blocks::snapshot;
use godwit_blocks::source::{ExtentKind, SourceExtent, VolumeReader};
use godwit_blocks::store::{BlockStore, FolderStore};
use godwit_blocks::sweep::{Claims, Course, Limits, Listed, execute, survey};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{PackId, RunId, SnapshotId};
use godwit_model::time::{Millis, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BLOCK: u64 = 64 << 10;
/// Blocks of a volume that hold data: 256 MiB, whatever its size.
const DATA: u64 = 4096;
/// Blocks that change from one snapshot to the next.
const CHANGED: u64 = 16;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, folder, number] = &arguments[..] else { return Err("see the head of this file".into()) };
    let (folder, number) = (Path::new(folder), number.parse()?);
    let objects = Arc::new(FolderStore::open(folder, 0)?);
    let count = AtomicU64::new(1);
    let entropy = Arc::new(move || u128::from(count.fetch_add(1, Ordering::Relaxed)));
    let store = BlockStore::open(objects, &MasterKey::new([1; 32]), entropy).await?;
    let rest = peak_mib()?;
    let mut said = match what.as_str() {
        "size" => by_size(&store, number).await?,
        "snapshots" => by_snapshots(&store, number).await?,
        "volumes" => by_volumes(&store, number).await?,
        _ => return Err("give size, snapshots or volumes".into()),
    };
    said["peak_mib_beyond_rest"] = json!(peak_mib()? - rest);
    let (objects, bytes) = objects_in(folder)?;
    said["objects"] = json!(objects);
    said["bytes"] = json!(bytes);
    println!("{said}");
    Ok(())
}

async fn by_size(store: &BlockStore, size: u64) -> Outcome<Value> {
    let base = Arc::new(Volume::sparse(size, 1));
    let (first, first_seconds) = timed(copy(store, 1, base.clone(), None)).await?;
    let changed = Arc::new(base.changed(2));
    let (second, second_seconds) = timed(copy(store, 2, changed.clone(), Some(1))).await?;
    let cancel = CancellationToken::new();
    let id = SnapshotId::from_bits(2);
    let (_, verify_seconds) = timed(verify(store, &id, Scope::OwnBlocks, &|_, _| {}, &cancel)).await?;
    let (_, read_seconds) = timed(read_some(store, &id, &changed)).await?;
    let (_, diff_seconds) = timed(differing(store, 1, 2)).await?;
    let (_, sweep_seconds) = timed(swept(store, 1..=2)).await?;
    Ok(json!({
        "sweep_seconds": sweep_seconds,
        "first_seconds": first_seconds,
        "first_metadata": first.figures.bytes_stored - DATA * BLOCK,
        "increment_seconds": second_seconds,
        "increment_metadata": second.figures.bytes_stored - CHANGED * BLOCK,
        "increment_read": second.figures.bytes_read,
        "verify_seconds": verify_seconds,
        "read_seconds": read_seconds,
        "diff_seconds": diff_seconds,
    }))
}

async fn by_snapshots(store: &BlockStore, count: u64) -> Outcome<Value> {
    let mut volume = Arc::new(Volume::sparse(1 << 40, 1));
    copy(store, 1, volume.clone(), None).await?;
    let (mut seconds, mut metadata) = (Vec::new(), Vec::new());
    for n in 2..=count.max(2) {
        volume = Arc::new(volume.changed(n));
        let (done, spent) = timed(copy(store, u128::from(n), volume.clone(), Some(u128::from(n - 1)))).await?;
        seconds.push(spent);
        metadata.push(done.figures.bytes_stored - CHANGED * BLOCK);
    }
    let last = u128::from(count.max(2));
    let id = SnapshotId::from_bits(last);
    let (_, read_seconds) = timed(read_some(store, &id, &volume)).await?;
    let (_, diff_seconds) = timed(differing(store, last - 1, last)).await?;
    let (_, delete_seconds) = timed(snapshot::delete(store, &SnapshotId::from_bits(1))).await?;
    let (_, sweep_seconds) = timed(swept(store, 2..=last)).await?;
    let tail = seconds.len().saturating_sub(20);
    Ok(json!({
        "increment_seconds": median(&mut seconds[tail..]),
        "increment_metadata": metadata.last(),
        "read_seconds": read_seconds,
        "diff_seconds": diff_seconds,
        "delete_seconds": delete_seconds,
        "sweep_seconds": sweep_seconds,
    }))
}

async fn by_volumes(store: &BlockStore, count: u64) -> Outcome<Value> {
    let copies = (1..=count).map(|n| copy(store, u128::from(n), Arc::new(Volume::sparse(64 << 30, n)), None));
    let (copied, seconds) = timed(futures::future::try_join_all(copies)).await?;
    let stored: u64 = copied.iter().map(|done| done.figures.bytes_stored).sum();
    let metadata_each = (stored - count * DATA * BLOCK) as f64 / count as f64;
    Ok(json!({ "seconds": seconds, "seconds_each": seconds / count as f64, "each_metadata": metadata_each }))
}

/// A mostly empty volume: where there is data, and which.
struct Volume {
    size: u64,
    seeds: BTreeMap<u64, u64>,
    /// Blocks that are not as in the snapshot before, if there is one.
    changed: Option<Vec<u64>>,
}

impl Volume {
    /// Data in blocks at equal distances.
    fn sparse(size: u64, seed: u64) -> Volume {
        let distance = (size / BLOCK / DATA).max(1);
        Volume { size, seeds: (0..DATA).map(|n| (n * distance, seed)).collect(), changed: None }
    }

    /// The volume after a while.
    fn changed(&self, seed: u64) -> Volume {
        let blocks: Vec<u64> = self.seeds.keys().copied().collect();
        let step = blocks.len() / CHANGED as usize;
        let changed: Vec<u64> =
            (0..CHANGED as usize).map(|n| blocks[(n * step + seed as usize) % blocks.len()]).collect();
        let mut seeds = self.seeds.clone();
        seeds.extend(changed.iter().map(|block| (*block, seed)));
        Volume { size: self.size, seeds, changed: Some(changed) }
    }
}

#[async_trait]
impl VolumeReader for Volume {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        let within = window.offset / BLOCK..window.end().div_ceil(BLOCK);
        let (rest, data): (_, Vec<u64>) = match &self.changed {
            Some(changed) => (ExtentKind::Unchanged, changed.iter().copied().filter(|b| within.contains(b)).collect()),
            None => (ExtentKind::Zero, self.seeds.range(within).map(|(block, _)| *block).collect()),
        };
        let mut extents = Vec::new();
        let mut at = window.offset;
        let mut push = |start: u64, end: u64, kind| {
            let extent = Extent::between(start, end).intersect(window);
            (!extent.is_empty()).then(|| extents.push(SourceExtent { extent, kind }));
        };
        for block in data {
            push(at, block * BLOCK, rest);
            push(block * BLOCK, (block + 1) * BLOCK, ExtentKind::Data);
            at = (block + 1) * BLOCK;
        }
        push(at, window.end(), rest);
        Ok(extents)
    }

    async fn zeros(&self, _: Extent) -> Result<Vec<Extent>, Failure> {
        Ok(Vec::new())
    }

    async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        let mut bytes = vec![0; extent.length as usize];
        for (n, block) in bytes.chunks_mut(BLOCK as usize).enumerate() {
            let number = extent.offset / BLOCK + n as u64;
            if let Some(seed) = self.seeds.get(&number) {
                blake3::Hasher::new()
                    .update(&number.to_le_bytes())
                    .update(&seed.to_le_bytes())
                    .finalize_xof()
                    .fill(block);
            }
        }
        Ok(bytes.into())
    }
}

async fn copy(store: &BlockStore, n: u128, volume: Arc<Volume>, parent: Option<u128>) -> Result<Replicated, Failure> {
    let request = Request {
        snapshot: SnapshotId::from_bits(n),
        run: RunId::from_bits(n),
        source: "curves".to_owned(),
        device: "vda".to_owned(),
        size: volume.size,
        block_size: BlockSize::DEFAULT,
        parent: parent.map(SnapshotId::from_bits),
        tracked: parent.is_some(),
        damaged: Vec::new(),
        staged: Vec::new(),
        figures: VolumeFigures::default(),
        created_at: Timestamp(0),
    };
    replicate(store, &request, volume, &NoLedger, &|_| {}, &CancellationToken::new()).await
}

/// Reads a megabyte around each of some blocks, here and there.
async fn read_some(store: &BlockStore, id: &SnapshotId, volume: &Volume) -> Result<(), Failure> {
    let reader = SnapshotReader::open(store, id).await?;
    for block in volume.seeds.keys().step_by(volume.seeds.len() / 64) {
        let start = block * BLOCK;
        reader.read(Extent::between(start, (start + (1 << 20)).min(volume.size))).await?;
    }
    Ok(())
}

async fn differing(store: &BlockStore, old: u128, new: u128) -> Result<(), Failure> {
    let old = SnapshotReader::open(store, &SnapshotId::from_bits(old)).await?;
    let new = SnapshotReader::open(store, &SnapshotId::from_bits(new)).await?;
    let mut from = Some(0);
    while let Some(at) = from {
        from = diff(&old, &new, at, 1000).await?.next;
    }
    Ok(())
}

/// A sweep that finds nothing to do but looks at all that there is.
async fn swept(store: &BlockStore, known: RangeInclusive<u128>) -> Result<(), Failure> {
    let claims = Claims { snapshots: known.map(SnapshotId::from_bits).collect(), ..Claims::default() };
    let limits = Limits { staging: Millis::DAY, repack_percent: 50, repack_floor: 1 << 20, repack_bytes: 1 << 30 };
    let course = Course { cancel: &CancellationToken::new(), used: &|_| {} };
    let listed = Listed::packs(store).await?;
    let found = survey(store, listed, &claims, &limits, Timestamp(0), &|_, _| {}, course).await?;
    execute(store, &found, &|_| {}, course).await.map(drop)
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

async fn timed<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<(T, f64), Failure> {
    let begin = Instant::now();
    let value = work.await?;
    Ok((value, begin.elapsed().as_secs_f64()))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The most memory that this process has had.
fn peak_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

/// How many files there are below a folder, and their bytes.
fn objects_in(folder: &Path) -> Outcome<(u64, u64)> {
    let (mut objects, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more, more_bytes) = objects_in(&entry.path())?;
            (objects, bytes) = (objects + more, bytes + more_bytes);
        } else {
            (objects, bytes) = (objects + 1, bytes + entry.metadata()?.len());
        }
    }
    Ok((objects, bytes))
}
