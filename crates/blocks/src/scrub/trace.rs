//! Which snapshots name what is bad, and where in their volumes it lies.

use crate::pack::reader::Wanted;
use crate::page::{Entry, FAN_OUT};
use crate::snapshot::{self, SnapshotManifest};
use crate::store::BlockStore;
use crate::sweep::Course;
use crate::tree::walker::{Name, Tree, children};
use crate::verify::{MOST_DAMAGED, read_leaf};
use futures::FutureExt;
use futures::future::BoxFuture;
use godwit_model::extent::{self, Extent};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{PackId, SnapshotId};
use godwit_model::key::Purpose;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Which packs are looked into.
#[derive(Clone, Copy, Debug)]
pub enum Suspected<'a> {
    /// These, because they are damaged or gone.
    In(&'a [PackId]),
    /// All that are not among these packs of the store, by number: they are gone.
    NotIn(&'a [(u128, u64)]),
}

/// Damage of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// Which snapshot.
    pub snapshot: SnapshotId,
    /// Where its volume is damaged, merged, at most a thousand extents.
    pub damaged: Vec<Extent>,
    /// Whether there is more than is listed, or all of it is lost.
    pub is_cut_off: bool,
    /// What is wrong first.
    pub problem: String,
}

/// Walks the pages of `snapshots` and reads again what of their blocks lies in packs that are suspected. Gives those that
/// are damaged.
pub async fn trace(
    store: &BlockStore,
    suspected: Suspected<'_>,
    snapshots: &[SnapshotId],
    course: Course<'_>,
) -> Result<Vec<Traced>, Failure> {
    let is_bad: IsBad<'_> = match suspected {
        Suspected::In(packs) => {
            let bad: HashSet<u128> = packs.iter().map(|pack| u128::from_be_bytes(pack.to_bytes())).collect();
            Box::new(move |pack| bad.contains(&pack))
        }
        Suspected::NotIn(listed) => Box::new(|pack| listed.binary_search_by_key(&pack, |(listed, _)| *listed).is_err()),
    };
    let mut tracer = Tracer { is_bad, known: HashMap::new(), clean: HashSet::new(), course };
    let mut traced = Vec::new();
    for id in snapshots {
        course.stop_if_cancelled()?;
        traced.extend(tracer.snapshot(store, id).await?);
    }
    Ok(traced)
}

/// Whether a pack, by its number, is suspected.
type IsBad<'a> = Box<dyn Fn(u128) -> bool + Send + Sync + 'a>;

/// Blocks that are damaged below a page, and what is wrong with the first of them.
type Lost = (Vec<Range<u64>>, String);

struct Tracer<'a> {
    is_bad: IsBad<'a>,
    /// What is damaged below pages, by their places. A page lies at the same place of every volume that has it.
    known: HashMap<(u128, u32), Lost>,
    /// Pages below which nothing is.
    clean: HashSet<(u128, u32)>,
    course: Course<'a>,
}

impl Tracer<'_> {
    async fn snapshot(&mut self, store: &BlockStore, id: &SnapshotId) -> Result<Option<Traced>, Failure> {
        loop {
            let (store, manifest) = match snapshot::load_with_store(store, id).await {
                Ok(Some(found)) => found,
                // Without its manifest nothing of it can be read; whoever knows it says how large it was.
                Ok(None) => return Ok(Some(lost(id, format!("snapshot {id} is not in the store")))),
                Err(failure) if failure.code == Code::StoreCorrupt => return Ok(Some(lost(id, failure.evidence))),
                Err(failure) if matches!(failure.code, Code::KeyDisabled | Code::KeyUnavailable) => return Ok(None),
                Err(failure) => return Err(failure),
            };
            let Some(root) = manifest.root_entry() else { return Ok(None) };
            let tree = manifest.tree(&store);
            let top = (manifest.geometry().height() - 1, 0);
            let Some((blocks, problem)) = self.page(&store, &manifest, &tree, top, root).await? else {
                return Ok(None);
            };
            // A repack may have moved what was looked for.
            if snapshot::has_moved(&store, &manifest).await? {
                continue;
            }
            let extents = blocks.into_iter().map(|blocks| manifest.geometry().bytes_of(blocks)).collect();
            let mut damaged = extent::merge(extents);
            let is_cut_off = damaged.len() > MOST_DAMAGED;
            damaged.truncate(MOST_DAMAGED);
            return Ok(Some(Traced { snapshot: id.clone(), damaged, is_cut_off, problem }));
        }
    }

    /// What is damaged in and below the page `name`.
    fn page<'f>(
        &'f mut self,
        store: &'f BlockStore,
        manifest: &'f SnapshotManifest,
        tree: &'f Tree,
        name: Name,
        entry: Entry,
    ) -> BoxFuture<'f, Result<Option<Lost>, Failure>> {
        async move {
            let key = (entry.place.pack, entry.place.ordinal);
            if self.clean.contains(&key) {
                return Ok(None);
            }
            if let Some(lost) = self.known.get(&key) {
                return Ok(Some(lost.clone()));
            }
            self.course.stop_if_cancelled()?;
            self.course.note(&manifest.key, entry.place.key_version, Purpose::Decrypt);
            let page = match tree.load(name, entry).await {
                Ok(page) => page,
                Err(failure) if failure.code == Code::StoreCorrupt => {
                    let lost = (vec![manifest.geometry().blocks_of(name.0, name.1)], failure.evidence);
                    self.known.insert(key, lost.clone());
                    return Ok(Some(lost));
                }
                Err(failure) => return Err(failure),
            };
            let mut blocks: Vec<Range<u64>> = Vec::new();
            let mut problem = None;
            if name.0 == 0 {
                let wanted = page.entries().filter(|(_, block)| (self.is_bad)(block.place.pack));
                let wanted = wanted.map(|(slot, b)| Wanted {
                    block: name.1 * FAN_OUT + slot as u64,
                    digest: b.digest,
                    place: b.place,
                });
                for (block, why) in read_leaf(store, wanted.collect()).await?.1 {
                    blocks.push(block..block + 1);
                    problem.get_or_insert(why);
                }
            } else {
                for (child_name, child) in children(name, &page) {
                    let Some(below) = self.page(store, manifest, tree, child_name, child).await? else { continue };
                    blocks.extend(below.0);
                    problem.get_or_insert(below.1);
                }
            }
            let Some(problem) = problem else {
                self.clean.insert(key);
                return Ok(None);
            };
            // More than that of a page is all of it.
            if blocks.len() > MOST_DAMAGED {
                blocks = vec![manifest.geometry().blocks_of(name.0, name.1)];
            }
            let lost = (blocks, problem);
            self.known.insert(key, lost.clone());
            Ok(Some(lost))
        }
        .boxed()
    }
}

fn lost(id: &SnapshotId, problem: String) -> Traced {
    Traced { snapshot: id.clone(), damaged: Vec::new(), is_cut_off: true, problem }
}
