//! The walk over a volume, from its beginning to its end.
//!
//! One half decides, leaf by leaf, what is to be done and queues it; reads of several leaves are in flight at the same
//! time. The other half takes the outcomes in order, fills leaves, and hangs them into the tree.

use crate::page::{Entry, FAN_OUT, Page};
use crate::recent::Recent;
use crate::replicate::elsewhere::Elsewhere;
use crate::replicate::examine::{Examined, Known, examine, page_record};
use crate::replicate::meter::Meter;
use crate::replicate::packer::Packer;
use crate::replicate::plan::{self, BlockRun, Part};
use crate::replicate::staged::{Indexes, KEPT_INDEXES, StagedPacks};
use crate::replicate::suspect::Suspects;
use crate::source::{ExtentKind, MAX_READ, VolumeReader};
use crate::store::{BlockStore, READS};
use crate::tree::Geometry;
use crate::tree::builder::{ClosedPage, TreeBuilder};
use crate::tree::walker::{Name, Tree};
use crate::turns::{Seat, Turn};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// Steps queued in all. More than reads in flight, because most steps of a sparse change need no read.
const QUEUED: usize = 48;

/// Reads that are begun or wait for their turn. More than turns, so that they are all taken while a page is stored or the
/// outcome that is next in order takes longer than those behind it. One that waits holds no buffer.
const AHEAD: usize = 3 * READS;

/// Pages of the parent that are taken over at a time, 100 bytes each.
const COVER: usize = 256;

/// The source is asked about this much of the volume at first.
const FIRST_WINDOW: u64 = 1 << 30;

/// The source is never asked about more at once. At this bound one answer about a badly fragmented volume stays within a
/// few megabytes, and a sparse one of 64 TiB takes 16,384 questions, which is a matter of seconds.
const LARGEST_WINDOW: u64 = 4 << 30;

/// If an answer has more extents (24 bytes each), the next question is about half as much; if it has fewer than a
/// quarter, about twice as much.
const MANY_EXTENTS: usize = 16 << 10;

/// The snapshot that is compared with.
pub(super) struct Parent {
    pub(super) tree: Tree,
    /// Its root page, when it was opened.
    pub(super) root: Option<Entry>,
    /// Whether what the source says is unchanged is as in this snapshot.
    pub(super) is_believed: bool,
    /// What of it is known to be damaged.
    pub(super) suspects: Suspects,
}

/// The walk's state.
pub(super) struct Walk<'a> {
    store: &'a BlockStore,
    geometry: Geometry,
    reader: Arc<dyn VolumeReader>,
    seat: Arc<Seat>,
    parent: Option<&'a Parent>,
    packer: Arc<Packer>,
    elsewhere: Arc<Elsewhere>,
    meter: &'a Meter<'a>,
    staged: StagedPacks,
    /// What of the parent is not to be built on: grows with what proves unreadable.
    suspects: Suspects,
    /// Bytes of it that were to be read.
    repaired: u64,
    indexes: Indexes,
    notes: Vec<String>,
    queue: FuturesOrdered<BoxFuture<'static, Result<Step, Failure>>>,
    n_reads: usize,
    open: Option<OpenLeaf>,
    tree: TreeBuilder,
}

/// The leaf that outcomes go to.
struct OpenLeaf {
    leaf: u64,
    page: Page,
    /// The parent's leaf at the same place.
    parent: Option<Entry>,
}

/// Outcomes, in the order of the volume.
enum Step {
    /// All zeros up to this position.
    Zeros(u64),
    /// A page of the parent that is taken over as a whole.
    TakeOver(Name, Entry),
    /// The following blocks are of this leaf.
    Begin(Box<OpenLeaf>),
    /// Blocks that were read.
    Blocks(Range<u64>, Vec<Option<Entry>>),
    /// The leaf is complete.
    End,
}

impl<'a> Walk<'a> {
    #[expect(clippy::too_many_arguments, reason = "what a walk is made of, each of its own type")]
    pub(super) fn new(
        store: &'a BlockStore,
        geometry: Geometry,
        reader: Arc<dyn VolumeReader>,
        seat: Seat,
        parent: Option<&'a Parent>,
        packer: Arc<Packer>,
        meter: &'a Meter<'a>,
        staged: StagedPacks,
    ) -> Self {
        Self {
            store,
            geometry,
            reader,
            seat: Arc::new(seat),
            parent,
            packer,
            elsewhere: Arc::new(Elsewhere::new(store)),
            meter,
            staged,
            suspects: parent.map(|parent| parent.suspects.clone()).unwrap_or_default(),
            repaired: 0,
            indexes: Recent::new(KEPT_INDEXES),
            notes: Vec::new(),
            queue: FuturesOrdered::new(),
            n_reads: 0,
            open: None,
            tree: TreeBuilder::new(geometry),
        }
    }

    /// Walks the whole volume; returns the entry of the root page.
    pub(super) async fn run(&mut self) -> Result<Option<Entry>, Failure> {
        let geometry = self.geometry;
        let honour = self.parent.is_some_and(|parent| parent.is_believed);
        let mut n_leaves = (FIRST_WINDOW / geometry.leaf_bytes()).max(1);
        let mut leaf = 0;
        while leaf < geometry.n_leaves() {
            let end = leaf.saturating_add(n_leaves).min(geometry.n_leaves());
            let window = geometry.bytes_of(leaf * FAN_OUT..end * FAN_OUT);
            let extents = self.reader.extents(window).await?;
            let runs = plan::block_runs(geometry, window, &extents, honour).map_err(|why| gaps(&why))?;
            let runs = self.suspects.distrust(runs);
            n_leaves = next_window(n_leaves, extents.len(), geometry.leaf_bytes());
            drop(extents);
            for part in plan::parts(geometry, &runs) {
                match part {
                    Part::Leaves { kind: ExtentKind::Unchanged, leaves } => self.take_over(leaves).await?,
                    Part::Leaves { leaves, .. } => {
                        let position = geometry.blocks_of(0, leaves.end - 1).end;
                        let position = geometry.bytes_of(position..position).offset;
                        self.submit(Step::Zeros(position)).await?;
                    }
                    Part::Leaf { leaf, runs } => self.read_leaf(leaf, runs).await?,
                }
            }
            leaf = end;
        }
        while self.take_outcome().await? {}
        self.close_pages(u64::MAX).await?;
        let tree = std::mem::replace(&mut self.tree, TreeBuilder::new(geometry));
        Ok(tree.root())
    }

    /// What is left of the walk when it has ended one way or the other. What is on loan stays so as long as the last part
    /// of it is kept.
    pub(super) fn into_rest(mut self) -> (StagedPacks, Vec<String>, Arc<Elsewhere>) {
        if self.repaired > 0 && self.notes.is_empty() {
            let repaired = self.repaired;
            self.notes.push(format!(
                "{repaired} bytes that are damaged in the parent were read from the source again and stored anew"
            ));
        }
        (self.staged, self.notes, self.elsewhere)
    }

    /// Whole leaves that are unchanged: the largest pages that cover them are taken from the parent unread.
    async fn take_over(&mut self, leaves: Range<u64>) -> Result<(), Failure> {
        let Some(parent) = self.parent else { return Ok(()) };
        let mut at = leaves.start;
        while at < leaves.end {
            match parent.tree.cover(at..leaves.end, COVER).await {
                Ok((pages, next)) => {
                    for (name, entry) in pages {
                        self.submit(Step::TakeOver(name, entry)).await?;
                    }
                    at = next;
                }
                Err(failure) if failure.code == Code::StoreCorrupt => {
                    self.note_damage(&failure);
                    // Leaf by leaf: those that the parent still knows are taken, the others read.
                    for leaf in at..leaves.end {
                        let blocks = self.geometry.blocks_of(0, leaf);
                        self.read_leaf(leaf, vec![BlockRun { kind: ExtentKind::Unchanged, blocks }]).await?;
                    }
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
        let end = self.geometry.blocks_of(0, leaves.end - 1).end;
        self.submit(Step::Zeros(self.geometry.bytes_of(end..end).offset)).await
    }

    /// One leaf that holds data, or blocks of several kinds.
    async fn read_leaf(&mut self, leaf: u64, mut runs: Vec<BlockRun>) -> Result<(), Failure> {
        let needs_parent = runs.iter().any(|run| run.kind != ExtentKind::Zero);
        let blocks = self.geometry.blocks_of(0, leaf);
        let (mut entry, mut page) = match parent_leaf(self.parent, leaf).await {
            Ok(found) if needs_parent => found,
            Ok(_) => (None, None),
            Err(failure) if failure.code == Code::StoreCorrupt => {
                self.note_damage(&failure);
                self.suspects.add(blocks.clone());
                runs.iter_mut().filter(|r| r.kind == ExtentKind::Unchanged).for_each(|r| r.kind = ExtentKind::Data);
                (None, None)
            }
            Err(failure) => return Err(failure),
        };
        if self.suspects.touch(&blocks) {
            entry = None;
            page = page.map(|page| Arc::new(self.suspects.cleared(self.geometry, leaf, &page)));
            let data = runs.iter().filter(|run| run.kind == ExtentKind::Data);
            let again = data.flat_map(|run| self.suspects.within(&run.blocks));
            self.repaired += again.map(|blocks| self.geometry.bytes_of(blocks).length).sum::<u64>();
        }
        let reads = runs.iter().any(|run| run.kind == ExtentKind::Data);
        let staged = if reads && !self.staged.is_empty() {
            self.staged.leaf(self.store, &mut self.indexes, self.geometry, leaf).await?
        } else {
            Default::default()
        };
        // An attempt that went on found equal blocks among them; so does this one.
        staged.entries().for_each(|entry| self.elsewhere.note(*entry));
        let mut open = Box::new(OpenLeaf { leaf, page: Page::new(0), parent: entry });
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for run in runs {
            for block in run.blocks {
                let slot = (block % FAN_OUT) as usize;
                match run.kind {
                    ExtentKind::Zero => {}
                    ExtentKind::Unchanged => open.page.set(slot, page.as_ref().and_then(|p| p.slot(slot)).copied()),
                    ExtentKind::Data => match staged.certain(block) {
                        Some(entry) => {
                            self.staged.note_use(entry.place.pack);
                            open.page.set(slot, Some(entry));
                        }
                        None => match wanted.last_mut().filter(|last| last.end == block) {
                            Some(last) => last.end += 1,
                            None => wanted.push(block..block + 1),
                        },
                    },
                }
            }
        }
        self.submit(Step::Begin(open)).await?;
        let known = Arc::new(Known { parent: page, staged });
        for blocks in wanted {
            self.read_blocks(blocks, &known).await?;
        }
        self.submit(Step::End).await
    }

    /// Queues reads of at most [`MAX_READ`] bytes.
    async fn read_blocks(&mut self, blocks: Range<u64>, known: &Arc<Known>) -> Result<(), Failure> {
        let per_read = MAX_READ / self.geometry.block().bytes();
        let mut at = blocks.start;
        while at < blocks.end {
            let piece = at..(at + per_read).min(blocks.end);
            at = piece.end;
            while self.n_reads >= AHEAD || self.queue.len() >= QUEUED {
                self.take_outcome().await?;
            }
            self.n_reads += 1;
            let job = ReadJob {
                store: self.store.clone(),
                reader: self.reader.clone(),
                _seat: self.seat.clone(),
                packer: self.packer.clone(),
                elsewhere: self.elsewhere.clone(),
                geometry: self.geometry,
                known: known.clone(),
            };
            // Asked for here, so that what comes first on the volume is read first.
            let turn = self.seat.turn(self.geometry.bytes_of(piece.clone()).length);
            // A task of its own, because the queue is not polled while the walk waits for something else: a read that
            // stands still there could hold the very turn or lock that the walk waits for.
            let task = AbortOnDropHandle::new(tokio::spawn(job.run(piece, turn)));
            self.queue.push_back(task.map(|done| done.unwrap_or_else(|error| Err(broken(&error)))).boxed());
        }
        Ok(())
    }

    async fn submit(&mut self, step: Step) -> Result<(), Failure> {
        while self.queue.len() >= QUEUED {
            self.take_outcome().await?;
        }
        self.queue.push_back(futures::future::ready(Ok(step)).boxed());
        Ok(())
    }

    /// Takes the next outcome; `false` if none is queued.
    async fn take_outcome(&mut self) -> Result<bool, Failure> {
        let Some(step) = self.queue.next().await else { return Ok(false) };
        match step? {
            Step::Zeros(position) => self.meter.done(position),
            Step::TakeOver((level, index), entry) => {
                let leaf = index.saturating_mul(crate::tree::leaves_below(level));
                self.close_pages(leaf).await?;
                self.tree.push(level, index, entry);
                self.meter.done(self.geometry.bytes_of(self.geometry.blocks_of(level, index)).end());
            }
            Step::Begin(open) => self.open = Some(*open),
            Step::Blocks(blocks, entries) => {
                self.n_reads -= 1;
                let extent = self.geometry.bytes_of(blocks.clone());
                self.meter.read(extent.length, extent.end());
                for (block, entry) in blocks.zip(entries) {
                    entry.iter().for_each(|entry| self.staged.note_use(entry.place.pack));
                    if let Some(open) = &mut self.open {
                        open.page.set((block % FAN_OUT) as usize, entry);
                    }
                }
            }
            Step::End => self.end_leaf().await?,
        }
        Ok(true)
    }

    async fn end_leaf(&mut self) -> Result<(), Failure> {
        let Some(OpenLeaf { leaf, page, parent }) = self.open.take() else { return Ok(()) };
        self.meter.done(self.geometry.bytes_of(self.geometry.blocks_of(0, leaf)).end());
        if page.is_empty() {
            return Ok(());
        }
        self.close_pages(leaf).await?;
        let entry = self.store_page(leaf, page, parent).await?;
        self.tree.push(0, leaf, entry);
        Ok(())
    }

    /// Stores the pages to which nothing at or behind `leaf` belongs.
    async fn close_pages(&mut self, leaf: u64) -> Result<(), Failure> {
        while let Some(ClosedPage { index, page }) = self.tree.close_before(leaf) {
            let level = page.level();
            // What is above something suspect names it, however equal it is.
            let is_suspect = self.suspects.touch(&self.geometry.blocks_of(level, index));
            let parent = match self.parent.filter(|_| !is_suspect) {
                Some(parent) => match parent.tree.entry((level, index)).await {
                    Err(failure) if failure.code != Code::StoreCorrupt => return Err(failure),
                    found => found.ok().flatten(),
                },
                None => None,
            };
            let entry = self.store_page(index, page, parent).await?;
            self.tree.push(level, index, entry);
        }
        Ok(())
    }

    /// Stores a page, unless it equals the parent's at the same place.
    async fn store_page(&mut self, index: u64, page: Page, parent: Option<Entry>) -> Result<Entry, Failure> {
        let same = parent.map(|entry| entry.digest);
        let packer = self.packer.clone();
        let stored = self.store.cpu(move |store| {
            let record = page_record(store, &page, index, same)?;
            Some((record.digest, packer.fill(vec![record].into())))
        });
        match (stored.await?, parent) {
            (Some((digest, filling)), _) => {
                let places = self.packer.append(filling?).await?;
                let place = *places.first().ok_or_else(|| lost("a page"))?;
                Ok(Entry { digest, place })
            }
            (None, Some(entry)) => Ok(entry),
            (None, None) => Err(lost("a page")),
        }
    }

    fn note_damage(&mut self, failure: &Failure) {
        // Said once: a damaged parent may show in thousands of leaves.
        if self.notes.is_empty() {
            self.notes
                .push(format!("part of the parent is damaged and read from the source again: {}", failure.evidence));
        }
    }
}

/// The parent's leaf at the same place, with its entry. No method: what the walk queues is not to be shared.
async fn parent_leaf(parent: Option<&Parent>, leaf: u64) -> Result<(Option<Entry>, Option<Arc<Page>>), Failure> {
    let Some(Parent { tree, .. }) = parent else { return Ok((None, None)) };
    let Some(entry) = tree.entry((0, leaf)).await? else { return Ok((None, None)) };
    Ok((Some(entry), Some(tree.load((0, leaf), entry).await?)))
}

fn next_window(n_leaves: u64, n_extents: usize, leaf_bytes: u64) -> u64 {
    let largest = (LARGEST_WINDOW / leaf_bytes).max(1);
    if n_extents > MANY_EXTENTS {
        (n_leaves / 2).max(1)
    } else if n_extents < MANY_EXTENTS / 4 {
        (n_leaves * 2).min(largest)
    } else {
        n_leaves
    }
}

/// Reads some blocks of one leaf, examines them, and stores what is new of them.
struct ReadJob {
    store: BlockStore,
    reader: Arc<dyn VolumeReader>,
    /// There as long as a turn of it is waited for.
    _seat: Arc<Seat>,
    packer: Arc<Packer>,
    elsewhere: Arc<Elsewhere>,
    geometry: Geometry,
    known: Arc<Known>,
}

impl ReadJob {
    async fn run(self, blocks: Range<u64>, turn: impl Future<Output = Turn>) -> Result<Step, Failure> {
        let extent = self.geometry.bytes_of(blocks.clone());
        // Kept until the blocks are packed: it bounds what is in memory.
        let turn = turn.await;
        let bytes = turn.read(extent.length, read_exactly(&*self.reader, extent)).await?;
        let (geometry, known, elsewhere, numbers) =
            (self.geometry, self.known.clone(), self.elsewhere.clone(), blocks.clone());
        let mut examined =
            self.pack(move |store| examine(store, geometry, &known, &elsewhere, numbers, &bytes)).await?;
        if !examined.candidates.is_empty() {
            let (found, rest) = self.elsewhere.borrow(std::mem::take(&mut examined.candidates)).await;
            found.into_iter().for_each(|(at, entry)| examined.entries[at] = Some(entry));
            if !rest.is_empty() {
                let store_rest = move |store: &BlockStore| {
                    examined.store(store, rest);
                    examined
                };
                examined = self.pack(store_rest).await?;
            }
        }
        let entries = examined.entries;
        Ok(Step::Blocks(blocks, entries))
    }
}

impl ReadJob {
    /// Does the processor's work that `examine` is, and packs what is to be stored of its outcome.
    async fn pack(&self, examine: impl FnOnce(&BlockStore) -> Examined + Send + 'static) -> Result<Examined, Failure> {
        let packer = self.packer.clone();
        let packed = self.store.cpu(move |store| {
            let mut examined = examine(store);
            packer.fill(std::mem::take(&mut examined.records).into()).map(|filling| (examined, filling))
        });
        let (mut examined, filling) = packed.await??;
        let places = self.packer.append(filling).await?;
        examined.note_places(&places).for_each(|entry| self.elsewhere.note(entry));
        Ok(examined)
    }
}

/// The bytes of `extent`, and neither fewer nor more.
pub(super) async fn read_exactly(reader: &dyn VolumeReader, extent: Extent) -> Result<Bytes, Failure> {
    let bytes = reader.read(extent).await?;
    if bytes.len() as u64 == extent.length {
        return Ok(bytes);
    }
    Err(Failure::new(
        Code::SourceRead,
        format!("the source gave {} bytes for {} at {}", bytes.len(), extent.length, extent.offset),
    ))
}

/// The source does not keep to its contract.
pub(super) fn gaps(why: &str) -> Failure {
    Failure::new(Code::SourceProtocol, format!("the source's extents have gaps: {why}"))
}

fn broken(error: &JoinError) -> Failure {
    Failure::new(Code::Internal, format!("a read of the source did not end: {error}"))
}

fn lost(what: &str) -> Failure {
    Failure::new(Code::Internal, format!("{what} was neither stored nor found"))
}
