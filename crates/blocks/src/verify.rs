//! Re-reads what is stored of a snapshot and compares it with the digests that were taken while the source was read.
//!
//! Pages are read, and their digests compared with the page above, up to the root digest in the manifest. Blocks are
//! read, decrypted, decompressed and digested again. Both are everything, or what the snapshot's own run stored: what it
//! took over by its digest was verified by the run that stored it, and costs nothing here. Damage is a result; only a
//! store that cannot be asked is a failure.

use crate::block::Digest;
use crate::pack::opener::Opener;
use crate::pack::reader::{Span, Wanted, plan_spans, read_span};
use crate::page::{Entry, FAN_OUT, Page};
use crate::snapshot::{self, SnapshotManifest};
use crate::store::{BlockStore, FETCHES, pack_path};
use crate::tree::Geometry;
use crate::tree::builder::{ClosedPage, TreeBuilder};
use crate::tree::walker::{Name, Tree, children};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{PackId, SnapshotId};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Damaged extents that are listed; more would not tell more.
pub(crate) const MOST_DAMAGED: usize = 1000;

/// Leaves in work at a time, 80 KiB each: enough that there is always a span to fetch while another is digested.
const LEAVES: usize = 4;

/// How often a verification begins anew because a repack moved what it was reading: a repack moves a snapshot once.
const MOVES: usize = 3;

/// How much to verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Pages and blocks in packs of the snapshot's own run. A page of an older pack is not read, and neither is what is
    /// below it: all of that is of older runs.
    OwnBlocks,
    /// All pages and all blocks.
    Everything,
}

/// What verification found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Digest over the volume as recomputed. Blocks that cannot be read count as zeros.
    pub root_digest: Digest,
    /// Bytes of blocks that were re-read and are equal to what was read from the source.
    pub bytes_verified: u64,
    /// What is damaged, merged, at most a thousand extents. Empty means that all is as it was written.
    pub damaged: Vec<Extent>,
    /// What was wrong first.
    pub first_problem: Option<String>,
    /// Packs in which damage was found, by number, at most a thousand.
    pub packs: Vec<PackId>,
}

impl Verified {
    /// Whether there may be more damage than is listed.
    pub fn is_cut_off(&self) -> bool {
        self.damaged.len() >= MOST_DAMAGED || self.packs.len() >= MOST_DAMAGED
    }
}

/// Verifies a snapshot that must exist. `progress` is told how far of the volume's size the verification is.
pub async fn verify(
    store: &BlockStore,
    snapshot: &SnapshotId,
    scope: Scope,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Verified, Failure> {
    let work = verify_where_it_is(store, snapshot, scope, progress);
    tokio::select! {
        biased;
        () = cancel.cancelled() => {
            Err(Failure::new(Code::Cancelled, format!("verification of snapshot {snapshot} was stopped")))
        }
        verified = Box::pin(work) => verified,
    }
}

/// Damage that was found while a repack moved the snapshot's records may be none: then it is looked for again.
async fn verify_where_it_is(
    store: &BlockStore,
    snapshot: &SnapshotId,
    scope: Scope,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<Verified, Failure> {
    let mut moves = 0;
    loop {
        let (store, manifest) = snapshot::open(store, snapshot).await?;
        let tree = manifest.tree(&store);
        let found = Verification::new(&store, &manifest, scope, progress).run(&tree).await?;
        if found.damaged.is_empty() || moves == MOVES || !snapshot::has_moved(&store, &manifest).await? {
            return Ok(found);
        }
        moves += 1;
    }
}

struct Verification<'a> {
    store: &'a BlockStore,
    manifest: &'a SnapshotManifest,
    geometry: Geometry,
    scope: Scope,
    progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    /// Leaves in work, each a task of its own: the queue is not polled while a page is loaded, and a leaf that stands
    /// still could hold the turn that the page waits for.
    queue: FuturesOrdered<BoxFuture<'static, Result<Outcome, Failure>>>,
    again: TreeBuilder,
    found: Verified,
    packs: BTreeSet<u128>,
}

/// What came of one page.
enum Outcome {
    /// A leaf whose page is right.
    Leaf { leaf: u64, page: Arc<Page>, entry: Entry, bytes: u64, damaged: Vec<(u64, String)> },
    /// A page that is not what was written, and with it everything below.
    LostPage(Name, u128, String),
    /// A page that is not looked at, as its entry says.
    Taken(Name, Entry),
}

impl<'a> Verification<'a> {
    fn new(
        store: &'a BlockStore,
        manifest: &'a SnapshotManifest,
        scope: Scope,
        progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> Self {
        let geometry = manifest.geometry();
        Self {
            store,
            manifest,
            geometry,
            scope,
            progress,
            queue: FuturesOrdered::new(),
            again: TreeBuilder::new(geometry),
            found: Verified {
                root_digest: Digest::ZERO,
                bytes_verified: 0,
                damaged: Vec::new(),
                first_problem: None,
                packs: Vec::new(),
            },
            packs: BTreeSet::new(),
        }
    }

    async fn run(mut self, tree: &Tree) -> Result<Verified, Failure> {
        let top = (self.geometry.height() - 1, 0);
        let mut open: Vec<(Name, Entry)> = self.manifest.root_entry().map(|root| (top, root)).into_iter().collect();
        while let Some((name, entry)) = open.pop() {
            while self.queue.len() >= LEAVES {
                self.take_outcome().await?;
            }
            if !self.is_in_scope(&entry) {
                self.queue.push_back(futures::future::ready(Ok(Outcome::Taken(name, entry))).boxed());
                continue;
            }
            match tree.load(name, entry).await {
                Ok(page) if name.0 == 0 => self.begin_leaf(name.1, page, entry),
                Ok(page) => open.extend(children(name, &page).rev()),
                Err(failure) if failure.code == Code::StoreCorrupt => {
                    let lost = Outcome::LostPage(name, entry.place.pack, failure.evidence);
                    self.queue.push_back(futures::future::ready(Ok(lost)).boxed());
                }
                Err(failure) => return Err(failure),
            }
        }
        while self.take_outcome().await? {}
        self.close_pages(u64::MAX);
        let root = self.again.root().map_or(Digest::ZERO, |entry| entry.digest);
        let mut found = self.found;
        found.packs = self.packs.into_iter().map(PackId::from_bits).collect();
        found.root_digest = self.geometry.root_digest(self.store.keys(), root);
        if found.damaged.is_empty() && found.root_digest != self.manifest.root_digest {
            found.damaged.push(Extent::between(0, self.geometry.size()));
            found.first_problem = Some("the recomputed root digest differs from the manifest's".to_owned());
        }
        (self.progress)(self.geometry.size(), self.geometry.size());
        Ok(found)
    }

    fn is_in_scope(&self, entry: &Entry) -> bool {
        self.scope == Scope::Everything || self.manifest.packs.holds(entry.place.pack)
    }

    fn begin_leaf(&mut self, leaf: u64, page: Arc<Page>, entry: Entry) {
        let wanted: Vec<Wanted> = page
            .entries()
            .filter(|(_, entry)| self.is_in_scope(entry))
            .map(|(slot, e)| Wanted { block: leaf * FAN_OUT + slot as u64, digest: e.digest, place: e.place })
            .collect();
        let store = self.store.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let (bytes, damaged) = read_leaf(&store, wanted).await?;
            Ok(Outcome::Leaf { leaf, page, entry, bytes, damaged })
        }));
        self.queue.push_back(task.map(|done| done.unwrap_or_else(|error| Err(broken(&error)))).boxed());
    }

    async fn take_outcome(&mut self) -> Result<bool, Failure> {
        let Some(outcome) = self.queue.next().await else { return Ok(false) };
        match outcome? {
            Outcome::LostPage((level, index), pack, problem) => {
                let lost = self.geometry.bytes_of(self.geometry.blocks_of(level, index));
                self.note(lost, Some(pack), problem);
                (self.progress)(lost.end(), self.geometry.size());
            }
            Outcome::Taken((level, index), entry) => {
                let blocks = self.geometry.blocks_of(level, index);
                self.close_pages(blocks.start / FAN_OUT);
                self.again.push(level, index, entry);
                (self.progress)(self.geometry.bytes_of(blocks).end(), self.geometry.size());
            }
            Outcome::Leaf { leaf, page, mut entry, bytes, damaged } => {
                self.found.bytes_verified += bytes;
                if !damaged.is_empty() {
                    let mut left = Page::clone(&page);
                    damaged.iter().for_each(|(block, _)| left.set((block % FAN_OUT) as usize, None));
                    entry.digest = left.digest(self.store.keys());
                }
                for (block, problem) in damaged {
                    let pack = page.slot((block % FAN_OUT) as usize).map(|entry| entry.place.pack);
                    self.note(self.geometry.bytes_of(block..block + 1), pack, problem);
                }
                self.close_pages(leaf);
                if entry.digest != Digest::ZERO {
                    self.again.push(0, leaf, entry);
                }
                (self.progress)(self.geometry.bytes_of(self.geometry.blocks_of(0, leaf)).end(), self.geometry.size());
            }
        }
        Ok(true)
    }

    /// Digests the recomputed pages that end before `leaf`.
    fn close_pages(&mut self, leaf: u64) {
        while let Some(ClosedPage { index, page }) = self.again.close_before(leaf) {
            let digest = page.digest(self.store.keys());
            // Only the digest counts: nothing of this tree is ever read, so any place will do.
            if let Some(entry) = page.entries().next().map(|(_, child)| Entry { digest, ..*child }) {
                self.again.push(page.level(), index, entry);
            }
        }
    }

    fn note(&mut self, extent: Extent, pack: Option<u128>, problem: String) {
        if let Some(pack) = pack.filter(|_| self.packs.len() < MOST_DAMAGED) {
            self.packs.insert(pack);
        }
        let n_extents = self.found.damaged.len();
        match self.found.damaged.last_mut() {
            Some(last) if last.end() == extent.offset => last.length += extent.length,
            _ if n_extents < MOST_DAMAGED => self.found.damaged.push(extent),
            _ => {}
        }
        self.found.first_problem.get_or_insert(problem);
    }
}

/// Re-reads blocks of a leaf: how many bytes are right, and which blocks are not.
pub(crate) async fn read_leaf(store: &BlockStore, wanted: Vec<Wanted>) -> Result<(u64, Vec<(u64, String)>), Failure> {
    let mut spans =
        futures::stream::iter(plan_spans(wanted)).map(|span| read_again(store, span)).buffer_unordered(FETCHES);
    let (mut bytes, mut damaged) = (0, Vec::new());
    while let Some(outcome) = spans.next().await {
        for (wanted, problem) in outcome? {
            match problem {
                None => bytes += u64::from(wanted.place.raw),
                Some(problem) => damaged.push((wanted.block, problem)),
            }
        }
    }
    damaged.sort_unstable_by_key(|(block, _)| *block);
    Ok((bytes, damaged))
}

fn broken(error: &JoinError) -> Failure {
    Failure::new(Code::Internal, format!("a leaf's verification did not end: {error}"))
}

/// Reads the blocks of a span and says of each what is wrong with it, if anything.
async fn read_again(store: &BlockStore, span: Span) -> Result<Vec<(Wanted, Option<String>)>, Failure> {
    let _turn = store.fetches().acquire().await.expect("the semaphore is never closed");
    match read_span(store, &span).await {
        Ok(bytes) => compare(store, span, bytes).await,
        // The end of a pack may be cut off: what lies before is still good.
        Err(failure) if failure.code == Code::StoreCorrupt => {
            let mut outcomes = Vec::with_capacity(span.wanted.len());
            for single in span.wanted.iter().flat_map(|wanted| plan_spans(vec![*wanted])) {
                match read_span(store, &single).await {
                    Ok(bytes) => outcomes.extend(compare(store, single, bytes).await?),
                    Err(failure) if failure.code == Code::StoreCorrupt => {
                        outcomes.extend(single.wanted.iter().map(|w| (*w, Some(failure.evidence.clone()))));
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Ok(outcomes)
        }
        Err(failure) => Err(failure),
    }
}

async fn compare(
    store: &BlockStore,
    span: Span,
    bytes: bytes::Bytes,
) -> Result<Vec<(Wanted, Option<String>)>, Failure> {
    let path = pack_path(&PackId::from_bits(span.pack));
    store
        .cpu(move |store| {
            let mut opener = Opener::new(store);
            let mut check = |wanted: &Wanted| opener.block(&span, wanted, &bytes).err().map(|d| d.of(&path).evidence);
            span.wanted.iter().map(|wanted| (*wanted, check(wanted))).collect()
        })
        .await
}
