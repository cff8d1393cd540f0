//! Gives back the bytes of a snapshot.
//!
//! Every page is compared with the digest above it, from the root digest in the authenticated manifest down; every block
//! with its digest in the leaf. So what comes out is what was read from the source, or the failure `StoreCorrupt`.

use crate::buffers::{Buffer, Buffers};
use crate::damage::Damage;
use crate::pack::opener::Opener;
use crate::pack::reader::{Span, Wanted, plan_spans, read_span};
use crate::page::FAN_OUT;
use crate::snapshot::{self, SnapshotManifest};
use crate::store::{BlockStore, FETCHES, pack_path};
use crate::tree::Geometry;
use crate::tree::walker::Tree;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{PackId, SnapshotId};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::SemaphorePermit;

/// Leaves that one call of [`SnapshotReader::data_extents`] looks at: bounds its time on a volume that is one extent.
const LEAVES_PER_CALL: usize = 256;

/// How often a read begins anew because a repack moved what it was reading: a repack moves a snapshot once.
const MOVES: usize = 3;

/// Reads one committed snapshot. Keeps a few pages; cheap to share, reads may overlap. If a repack moves the snapshot's
/// records, it finds them in their new places.
pub struct SnapshotReader {
    manifest: SnapshotManifest,
    at: RwLock<Arc<At>>,
}

/// Where the snapshot's records are, as last known.
pub(crate) struct At {
    /// With the keys that this needs.
    store: BlockStore,
    manifest: SnapshotManifest,
    tree: Tree,
}

impl At {
    pub(crate) fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// A piece of the list of data extents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataExtents {
    /// Sorted, not touching. What lies between is zeros.
    pub extents: Vec<Extent>,
    /// Where to go on; `None` at the end of the volume.
    pub next: Option<u64>,
}

impl SnapshotReader {
    /// Opens a snapshot that must exist.
    pub async fn open(store: &BlockStore, snapshot: &SnapshotId) -> Result<Self, Failure> {
        let (store, manifest) = snapshot::open(store, snapshot).await?;
        let at = At { tree: manifest.tree(&store), store, manifest: manifest.clone() };
        Ok(Self { at: RwLock::new(Arc::new(at)), manifest })
    }

    pub(crate) fn at(&self) -> Arc<At> {
        self.at.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what failed at `was` is worth another attempt: the records are elsewhere now.
    pub(crate) async fn has_moved(&self, was: &At, failure: &Failure) -> Result<bool, Failure> {
        if failure.code != Code::StoreCorrupt {
            return Ok(false);
        }
        let found = snapshot::load_with_store(&was.store, &self.manifest.snapshot).await?;
        let Some((store, manifest)) = found else { return Ok(false) };
        if manifest.root_entry() == was.manifest.root_entry() {
            return Ok(false);
        }
        let at = At { tree: manifest.tree(&store), store, manifest };
        *self.at.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(at);
        Ok(true)
    }

    /// What is recorded of the snapshot.
    pub fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// Size of the volume in bytes.
    pub fn size(&self) -> u64 {
        self.manifest.size
    }

    /// Where the volume holds data at or behind `from`: at most `limit` extents, or fewer if that takes long to find out.
    pub async fn data_extents(&self, from: u64, limit: usize) -> Result<DataExtents, Failure> {
        let mut moves = 0;
        loop {
            let at = self.at();
            match self.data_extents_at(&at, from, limit).await {
                Err(failure) if moves < MOVES && self.has_moved(&at, &failure).await? => moves += 1,
                outcome => return outcome,
            }
        }
    }

    async fn data_extents_at(&self, at: &At, from: u64, limit: usize) -> Result<DataExtents, Failure> {
        let geometry = self.manifest.geometry();
        let wanted = Extent::between(from, geometry.size());
        let mut extents: Vec<Extent> = Vec::new();
        let mut leaf = from / geometry.leaf_bytes();
        for _ in 0..LEAVES_PER_CALL {
            let Some((found, page)) = at.tree.next_leaf(leaf..u64::MAX).await? else {
                return Ok(DataExtents { extents, next: None });
            };
            for (slot, _) in page.entries() {
                let block = found * FAN_OUT + slot as u64;
                let extent = geometry.bytes_of(block..block + 1).intersect(wanted);
                let n_extents = extents.len();
                match extents.last_mut() {
                    _ if extent.is_empty() => {}
                    Some(last) if last.end() == extent.offset => last.length += extent.length,
                    _ if n_extents >= limit.max(1) => {
                        return Ok(DataExtents { extents, next: Some(extent.offset) });
                    }
                    _ => extents.push(extent),
                }
            }
            leaf = found + 1;
        }
        let next = leaf.saturating_mul(geometry.leaf_bytes());
        Ok(DataExtents { extents, next: (next < geometry.size()).then_some(next) })
    }

    /// Exactly the bytes of `extent`, which must lie within the volume. All of them are held in memory: callers ask for
    /// a few megabytes at a time.
    pub async fn read(&self, extent: Extent) -> Result<Bytes, Failure> {
        let mut moves = 0;
        loop {
            let at = self.at();
            match self.read_at(&at, extent).await {
                Err(failure) if moves < MOVES && self.has_moved(&at, &failure).await? => moves += 1,
                outcome => return outcome,
            }
        }
    }

    async fn read_at(&self, at: &At, extent: Extent) -> Result<Bytes, Failure> {
        let geometry = self.manifest.geometry();
        if extent.end() > geometry.size() {
            return Err(Failure::new(
                Code::Internal,
                format!("asked for {} bytes at {} of a volume of {}", extent.length, extent.offset, geometry.size()),
            ));
        }
        let wanted = self.wanted(at, extent).await?;
        let mut room = Room::new(at.store.read_buffers(), geometry, extent)?;
        room.clear_around(wanted.iter().map(|wanted| wanted.block));
        let mut spans =
            futures::stream::iter(plan_spans(wanted)).map(|span| fetch(&at.store, span)).buffer_unordered(FETCHES);
        while let Some(fetched) = spans.try_next().await? {
            room = open(&at.store, fetched, room).await?;
        }
        drop(spans);
        Ok(room.into_bytes())
    }

    /// The records of the blocks of `extent`, in their order in the volume.
    async fn wanted(&self, at: &At, extent: Extent) -> Result<Vec<Wanted>, Failure> {
        let block_size = self.manifest.geometry().block().bytes();
        let blocks = extent.offset / block_size..extent.end().div_ceil(block_size);
        let mut wanted = Vec::new();
        let mut leaf = blocks.start / FAN_OUT;
        // No further: a page beyond may be damaged, which is no matter of these bytes.
        let end = if extent.is_empty() { leaf } else { blocks.end.div_ceil(FAN_OUT) };
        while leaf < end {
            let Some((found, page)) = at.tree.next_leaf(leaf..end).await? else { break };
            let in_leaf = page.entries().map(|(slot, entry)| (found * FAN_OUT + slot as u64, entry));
            wanted.extend(in_leaf.filter(|(block, _)| blocks.contains(block)).map(|(block, entry)| Wanted {
                block,
                digest: entry.digest,
                place: entry.place,
            }));
            leaf = found + 1;
        }
        Ok(wanted)
    }
}

/// Where the bytes of a read are put together.
struct Room {
    buffer: Buffer,
    home: Arc<Buffers>,
    geometry: Geometry,
    extent: Extent,
    length: usize,
}

impl Room {
    fn new(home: &Arc<Buffers>, geometry: Geometry, extent: Extent) -> Result<Self, Failure> {
        let length = usize::try_from(extent.length).map_err(|_| too_much(extent))?;
        Ok(Self { buffer: home.take(length), home: home.clone(), geometry, extent, length })
    }

    /// Fills with zeros what lies between `blocks`, which are in order: the buffer holds what an earlier read left.
    fn clear_around(&mut self, blocks: impl Iterator<Item = u64>) {
        let mut from = self.extent.offset;
        for block in blocks {
            let have = self.geometry.bytes_of(block..block + 1);
            self.part(Extent::between(from, have.offset)).fill(0);
            from = have.end();
        }
        self.part(Extent::between(from, self.extent.end())).fill(0);
    }

    /// The bytes of what of `extent` is wanted.
    fn part(&mut self, extent: Extent) -> &mut [u8] {
        let both = extent.intersect(self.extent);
        let from = if both.is_empty() { 0 } else { (both.offset - self.extent.offset) as usize };
        &mut self.buffer.bytes(self.length)[from..from + both.length as usize]
    }

    /// Puts a block of a span where it belongs.
    fn fill(&mut self, opener: &mut Opener, span: &Span, wanted: &Wanted, bytes: &[u8]) -> Result<(), Damage> {
        let have = self.geometry.bytes_of(wanted.block..wanted.block + 1);
        let both = have.intersect(self.extent);
        if both == have {
            return opener.block_into(span, wanted, bytes, self.part(have));
        }
        let content = opener.block(span, wanted, bytes)?;
        let from = (both.offset - have.offset) as usize;
        let content = content.get(from..from + both.length as usize);
        let wrong = Damage::Field { part: "the place of a record", field: "lengths" };
        self.part(both).copy_from_slice(content.ok_or(wrong)?);
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        self.home.lend(self.buffer, 0..self.length)
    }
}

/// Stored bytes of a span, with the turn to hold them.
struct Fetched<'a> {
    span: Span,
    bytes: Bytes,
    _turn: SemaphorePermit<'a>,
}

async fn fetch(store: &BlockStore, span: Span) -> Result<Fetched<'_>, Failure> {
    let turn = store.fetches().acquire().await.expect("the semaphore is never closed");
    let bytes = read_span(store, &span).await?;
    Ok(Fetched { span, bytes, _turn: turn })
}

/// Opens the blocks of a span where they belong.
async fn open(store: &BlockStore, fetched: Fetched<'_>, mut room: Room) -> Result<Room, Failure> {
    let Fetched { span, bytes, _turn } = fetched;
    let path = pack_path(&PackId::from_bits(span.pack));
    let opened = store.cpu(move |store| {
        let mut opener = Opener::new(store);
        span.wanted.iter().try_for_each(|wanted| room.fill(&mut opener, &span, wanted, &bytes)).map(|()| room)
    });
    opened.await?.map_err(|damage| damage.of(&path))
}

fn too_much(extent: Extent) -> Failure {
    Failure::new(Code::Internal, format!("{} bytes do not fit into memory", extent.length))
}
