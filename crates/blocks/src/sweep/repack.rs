//! Empties packs that are mostly dead: their live records move into new packs, and the pages that name them are written
//! anew. Digests stay the same all the way up, so a snapshot keeps its root digest; only its manifest, which names the
//! place of the root page, is replaced. The emptied packs are unneeded then, and go at the next sweep.
//!
//! Where records went is known only while the repack lasts. What snapshots share is stored twice if it ends after it
//! moved some of them and before it came to the others: more room for a while, never less content.

use super::Course;
use super::execute::Swept;
use super::survey::{Survey, is_closed};
use crate::damage::Damage;
use crate::pack::builder::{PackBuilder, Record};
use crate::pack::opener::Opener;
use crate::pack::reader::{Span, Wanted, plan_spans, read_span};
use crate::pack::{PackSet, Place, What};
use crate::page::{Entry, FAN_OUT, Page};
use crate::replicate::page_record;
use crate::snapshot::{self, SnapshotManifest};
use crate::store::{BlockStore, Put, pack_path};
use crate::tree::walker::{Name, Tree, children};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{KeyId, PackId, SnapshotId};
use godwit_model::key::Purpose;
use std::collections::{BTreeSet, HashMap, HashSet};

/// What was repacked.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Repacked {
    /// Packs from which everything live was moved. They are unneeded unless somebody began to use them meanwhile.
    pub emptied: Vec<PackId>,
    /// Bytes of records that were moved.
    pub bytes_moved: u64,
    /// Snapshots whose manifest was replaced.
    pub snapshots: u64,
}

/// Names a record.
type Key = (u128, u32);

/// Moves records out of the packs that the plan names.
pub(super) async fn repack(
    store: &BlockStore,
    survey: &Survey,
    swept: &mut Swept,
    progress: &(dyn Fn(&Swept) + Send + Sync),
    course: Course<'_>,
) -> Result<(), Failure> {
    let from: HashSet<u128> = survey.plan.repack.iter().copied().collect();
    let mut emptied = BTreeSet::new();
    for (key, snapshots) in &survey.movable {
        let left = swept.left;
        let mut mover = Mover::new(store, key, &from, course);
        let goes_on = mover.domain(snapshots, swept, progress).await?;
        // What could not be moved keeps what it needs, and nothing of it is in another domain's packs.
        if swept.left == left {
            emptied.extend(mover.found());
        }
        if !goes_on {
            break;
        }
    }
    swept.repacked.emptied = emptied.into_iter().map(PackId::from_bits).collect();
    progress(swept);
    Ok(())
}

/// Moves the records of one key domain.
struct Mover<'a> {
    /// Reads and writes with the domain's keys, as they were when a snapshot was last begun.
    store: BlockStore,
    key: &'a KeyId,
    course: Course<'a>,
    from: &'a HashSet<u128>,
    /// Where blocks went.
    blocks: HashMap<Key, Place>,
    /// Where pages went, or that they stay: each is looked at once.
    pages: HashMap<Key, Place>,
    open: Option<PackBuilder>,
    /// Records in the open pack: if it is lost, so are they.
    in_open: Vec<Key>,
    first: u128,
    n_packs: u64,
    bytes_moved: u64,
}

impl<'a> Mover<'a> {
    fn new(store: &BlockStore, key: &'a KeyId, from: &'a HashSet<u128>, course: Course<'a>) -> Self {
        Self {
            store: store.clone(),
            key,
            course,
            from,
            blocks: HashMap::new(),
            pages: HashMap::new(),
            open: None,
            in_open: Vec::new(),
            first: store.draw() << 32,
            n_packs: 0,
            bytes_moved: 0,
        }
    }

    /// Rewrites the snapshots of a domain, as far as possible; whether those of another one are worth an attempt.
    async fn domain(
        &mut self,
        snapshots: &[SnapshotId],
        swept: &mut Swept,
        progress: &(dyn Fn(&Swept) + Send + Sync),
    ) -> Result<bool, Failure> {
        let moved_before = swept.repacked.bytes_moved;
        for id in snapshots {
            self.course.stop_if_cancelled()?;
            match self.snapshot(id).await {
                Ok(replaced) => swept.repacked.snapshots += u64::from(replaced),
                Err(failure) if failure.code == Code::Cancelled => return Err(failure),
                Err(failure) => {
                    self.course.note_refusal(self.key, Purpose::Encrypt, &failure);
                    swept.leave(&failure);
                    if !is_closed(&failure) {
                        return Ok(false);
                    }
                }
            }
            swept.repacked.bytes_moved = moved_before + self.bytes_moved;
            progress(swept);
        }
        Ok(true)
    }

    /// The packs to empty that the snapshots named.
    fn found(&self) -> impl Iterator<Item = u128> {
        let packs = self.blocks.keys().chain(self.pages.keys()).map(|(pack, _)| *pack);
        packs.filter(|pack| self.from.contains(pack))
    }

    /// Rewrites one snapshot; whether there was anything to rewrite.
    async fn snapshot(&mut self, id: &SnapshotId) -> Result<bool, Failure> {
        let Some(manifest) = snapshot::load(&self.store, id).await? else { return Ok(false) };
        let Some(root) = manifest.root_entry() else { return Ok(false) };
        // In its newest version, whatever `self.store` began with. An open pack stays under the version of its beginning.
        self.store = self.store.under(&manifest.key).await?;
        let tree = manifest.tree(&self.store);
        let moved = self.page(&tree, (manifest.geometry().height() - 1, 0), root).await?;
        if moved.place == root.place {
            return Ok(false);
        }
        // Content first, pointer last.
        self.flush().await?;
        snapshot::replace(&self.store, &manifest, moved, &self.packs(&manifest)).await
    }

    /// The packs of the manifest, with those that this repack made of the domain: they are released together.
    fn packs(&self, manifest: &SnapshotManifest) -> PackSet {
        let mut packs = manifest.packs.clone();
        packs.insert(self.first, self.n_packs);
        packs
    }

    /// The page with everything below it out of the packs to empty.
    fn page<'f>(&'f mut self, tree: &'f Tree, name: Name, entry: Entry) -> BoxFuture<'f, Result<Entry, Failure>> {
        async move {
            let key = (entry.place.pack, entry.place.ordinal);
            if let Some(place) = self.pages.get(&key) {
                return Ok(Entry { place: *place, ..entry });
            }
            self.course.stop_if_cancelled()?;
            let page = tree.load(name, entry).await?;
            self.course.note(self.key, entry.place.key_version, Purpose::Decrypt);
            let mut rewritten = Page::clone(&page);
            let mut is_changed = false;
            if name.0 == 0 {
                self.move_blocks(name.1, &page).await?;
                for (slot, block) in page.entries() {
                    if let Some(place) = self.blocks.get(&(block.place.pack, block.place.ordinal)) {
                        rewritten.set(slot, Some(Entry { place: *place, ..*block }));
                        is_changed = true;
                    }
                }
            } else {
                for (child_name, child) in children(name, &page) {
                    let moved = self.page(tree, child_name, child).await?;
                    if moved.place != child.place {
                        rewritten.set((child_name.1 % FAN_OUT) as usize, Some(moved));
                        is_changed = true;
                    }
                }
            }
            let mut place = entry.place;
            if is_changed || self.from.contains(&place.pack) {
                let record = self.store.cpu(move |store| page_record(store, &rewritten, name.1, None)).await?;
                let record =
                    record.ok_or_else(|| Failure::new(Code::Internal, "a page that held something is empty"))?;
                if record.digest != entry.digest {
                    return Err(Failure::new(Code::Internal, "a page's digest changed though only places moved"));
                }
                place = self.append(key, &record).await?;
            }
            self.pages.insert(key, place);
            Ok(Entry { place, ..entry })
        }
        .boxed()
    }

    /// Moves the blocks of a leaf that lie in packs to empty and were not moved for another snapshot.
    async fn move_blocks(&mut self, leaf: u64, page: &Page) -> Result<(), Failure> {
        let wanted = page
            .entries()
            .filter(|(_, block)| self.from.contains(&block.place.pack))
            .filter(|(_, block)| !self.blocks.contains_key(&(block.place.pack, block.place.ordinal)))
            .map(|(slot, b)| Wanted { block: leaf * FAN_OUT + slot as u64, digest: b.digest, place: b.place })
            .collect();
        for span in plan_spans(wanted) {
            self.course.stop_if_cancelled()?;
            for (place, record) in self.read(span).await? {
                self.course.note(self.key, place.key_version, Purpose::Decrypt);
                let key = (place.pack, place.ordinal);
                if !self.blocks.contains_key(&key) {
                    let moved = self.append(key, &record).await?;
                    self.blocks.insert(key, moved);
                    self.bytes_moved += u64::from(place.stored);
                }
            }
        }
        Ok(())
    }

    /// The blocks of a span as records to store again: compared with their digests, compressed as they were.
    async fn read(&self, span: Span) -> Result<Vec<(Place, Record)>, Failure> {
        let bytes = {
            let _turn = self.store.fetches().acquire().await.expect("the semaphore is never closed");
            read_span(&self.store, &span).await?
        };
        let path = pack_path(&PackId::from_bits(span.pack));
        let open = move |store: &BlockStore| -> Result<Vec<(Place, Record)>, Damage> {
            let mut opener = Opener::new(store);
            let one = |wanted: &Wanted| {
                opener.block(&span, wanted, &bytes)?;
                let Wanted { block, digest, place } = *wanted;
                let content = Bytes::copy_from_slice(opener.last_as_stored());
                let record =
                    Record { what: What::Block, number: block, digest, codec: place.codec, raw: place.raw, content };
                Ok((place, record))
            };
            span.wanted.iter().map(one).collect()
        };
        self.store.cpu(open).await?.map_err(|damage| damage.of(&path))
    }

    async fn append(&mut self, key: Key, record: &Record) -> Result<Place, Failure> {
        if self.open.as_ref().is_some_and(|open| !open.has_room(record.content.len())) {
            self.flush().await?;
        }
        let next = self.first + u128::from(self.n_packs);
        let target = self.store.pack_target();
        let keys = self.store.keys();
        let open = self.open.get_or_insert_with(|| PackBuilder::new(keys, next, target, BytesMut::new()));
        self.in_open.push(key);
        let place = open.append(record);
        self.course.note(self.key, place.key_version, Purpose::Encrypt);
        Ok(place)
    }

    /// Puts the open pack.
    async fn flush(&mut self) -> Result<(), Failure> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let pack = open.seal();
        // Counted before: whatever becomes of the put, this id is used up.
        self.n_packs += 1;
        let path = pack_path(&pack.pack);
        let puts = self.store.puts().clone();
        let _turn = puts.acquire().await.expect("the semaphore is never closed");
        if let Err(failure) = self.store.put(&path, pack.bytes).await.and_then(|put| match put {
            Put::Created => Ok(()),
            Put::Exists => Err(Failure::new(Code::Internal, format!("object {path} exists already"))),
        }) {
            self.forget_open();
            return Err(failure);
        }
        self.in_open.clear();
        Ok(())
    }

    /// What is in the open pack is not in the store: nothing may be said to be there.
    fn forget_open(&mut self) {
        if self.open.take().is_some() {
            self.n_packs += 1;
        }
        for key in self.in_open.drain(..) {
            self.blocks.remove(&key);
            self.pages.remove(&key);
        }
    }
}
