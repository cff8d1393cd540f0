//! Reads the pages of a committed snapshot, each compared with the digest in the page above it.

use crate::crypt::Keys;
use crate::damage::Damage;
use crate::pack::opener::{Opener, stored_of};
use crate::pack::reader::{Span, Wanted, plan_spans, read_record, read_span};
use crate::pack::{Place, What};
use crate::page::{Entry, FAN_OUT, Page};
use crate::recent::Recent;
use crate::store::{BlockStore, FETCHES, pack_path};
use crate::tree::{Geometry, leaves_below};
use futures::StreamExt;
use godwit_model::failure::Failure;
use godwit_model::id::PackId;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Pages kept, about 80 KiB each: a path from the root to a leaf, and leaves for a few readers at a time.
const KEPT: usize = 12;

/// Name of a page: its level and its index in the level.
pub(crate) type Name = (u8, u64);

/// The tree of one snapshot.
pub(crate) struct Tree {
    store: BlockStore,
    geometry: Geometry,
    root: Option<Entry>,
    pages: Mutex<Recent<Name, Arc<Page>>>,
}

impl Tree {
    pub(crate) fn new(store: BlockStore, geometry: Geometry, root: Option<Entry>) -> Self {
        Self { store, geometry, root, pages: Mutex::new(Recent::new(KEPT)) }
    }

    /// The latest version of the key that something in the tree may be under.
    pub(crate) fn key_version(&self) -> u32 {
        self.store.keys().newest()
    }

    /// What the tree says of the page `name`: its digest and place, or `None` if all of it is zeros or beyond the end.
    pub(crate) async fn entry(&self, (level, index): Name) -> Result<Option<Entry>, Failure> {
        let top = self.geometry.height() - 1;
        if level > top || index >= FAN_OUT.saturating_pow(u32::from(top - level)) {
            return Ok(None);
        }
        let mut entry = self.root;
        for at in (level..top).rev() {
            let above = (at + 1, index / FAN_OUT.pow(u32::from(at + 1 - level)));
            let Some(found) = entry else { return Ok(None) };
            let slot = index / FAN_OUT.pow(u32::from(at - level)) % FAN_OUT;
            entry = self.load(above, found).await?.slot(slot as usize).copied();
        }
        Ok(entry)
    }

    /// The page `name` that `entry` names.
    pub(crate) async fn load(&self, name: Name, entry: Entry) -> Result<Arc<Page>, Failure> {
        if let Some(page) = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(page);
        }
        let bytes = read_record(&self.store, What::Page(name.0), entry.place).await?;
        let page = page_of(self.store.keys(), self.geometry, name, &entry, &bytes)
            .map_err(|damage| damage.of(&pack_path(&PackId::from_bits(entry.place.pack))))?;
        let page = Arc::new(page);
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).put(name, page.clone());
        Ok(page)
    }

    /// Pages of one level, in any order and with few requests: neighbours in a pack are read together. All of them are
    /// held at once, some 80 KiB each, and none is kept. `opened` is told of each that was decrypted, or tried. Fails if
    /// one of them cannot be read.
    pub(crate) async fn load_many(
        &self,
        level: u8,
        pages: impl IntoIterator<Item = (u64, Entry)>,
        opened: &(dyn Fn(&Place) + Send + Sync),
    ) -> Result<Vec<(u64, Entry, Page)>, Failure> {
        let wanted = pages.into_iter().map(|(index, Entry { digest, place })| Wanted { block: index, digest, place });
        let is_broken = AtomicBool::new(false);
        let mut spans = futures::stream::iter(plan_spans(wanted.collect()))
            .take_while(|_| std::future::ready(!is_broken.load(Ordering::Relaxed)))
            .map(|span| self.load_span(level, span, opened))
            .buffer_unordered(FETCHES);
        let mut loaded = Ok(Vec::new());
        // To the end, also after a failure: what is decrypted meanwhile is told.
        while let Some(outcome) = spans.next().await {
            match (&mut loaded, outcome) {
                (Ok(all), Ok(pages)) => all.extend(pages),
                (Err(_), Ok(_)) => {}
                (_, Err(failure)) => {
                    is_broken.store(true, Ordering::Relaxed);
                    loaded = loaded.and(Err(failure));
                }
            }
        }
        loaded
    }

    async fn load_span(
        &self,
        level: u8,
        span: Span,
        opened: &(dyn Fn(&Place) + Send + Sync),
    ) -> Result<Vec<(u64, Entry, Page)>, Failure> {
        let bytes = {
            let _turn = self.store.fetches().acquire().await.expect("the semaphore is never closed");
            read_span(&self.store, &span).await?
        };
        let (path, geometry) = (pack_path(&PackId::from_bits(span.pack)), self.geometry);
        let places: Vec<Place> = span.wanted.iter().map(|wanted| wanted.place).collect();
        let open = move |store: &BlockStore| -> Result<Vec<(u64, Entry, Page)>, Damage> {
            let mut opener = Opener::new(store);
            let one = |wanted: &Wanted| {
                let Wanted { block: index, digest, place } = *wanted;
                let content = opener.record(What::Page(level), &place, stored_of(&span, wanted, &bytes)?)?;
                let entry = Entry { digest, place };
                Ok((index, entry, page_of(store.keys(), geometry, (level, index), &entry, content)?))
            };
            span.wanted.iter().map(one).collect()
        };
        let pages = self.store.cpu(open).await?;
        // Also if one of them proved damaged: the key was used.
        places.iter().for_each(opened);
        pages.map_err(|damage| damage.of(&path))
    }

    /// The first of the leaves `leaves` that holds something, and its page. No page beyond them is read.
    pub(crate) async fn next_leaf(&self, leaves: Range<u64>) -> Result<Option<(u64, Arc<Page>)>, Failure> {
        let top = self.geometry.height() - 1;
        let mut open: Vec<(Name, Entry)> = self.root.map(|root| ((top, 0), root)).into_iter().collect();
        while let Some(((level, index), entry)) = open.pop() {
            if index.saturating_add(1).saturating_mul(leaves_below(level)) <= leaves.start {
                continue;
            }
            if index.saturating_mul(leaves_below(level)) >= leaves.end {
                break;
            }
            let page = self.load((level, index), entry).await?;
            if level == 0 {
                return Ok(Some((index, page)));
            }
            open.extend(children((level, index), &page).rev());
        }
        Ok(None)
    }

    /// The last leaf before `before` that holds something, and its page.
    pub(crate) async fn last_leaf(&self, before: u64) -> Result<Option<(u64, Arc<Page>)>, Failure> {
        let top = self.geometry.height() - 1;
        let mut open: Vec<(Name, Entry)> = self.root.map(|root| ((top, 0), root)).into_iter().collect();
        while let Some(((level, index), entry)) = open.pop() {
            if index.saturating_mul(leaves_below(level)) >= before {
                continue;
            }
            let page = self.load((level, index), entry).await?;
            if level == 0 {
                return Ok(Some((index, page)));
            }
            open.extend(children((level, index), &page));
        }
        Ok(None)
    }

    /// The fewest whole pages that together hold everything stored of the leaves `leaves`, from left to right, up to
    /// `limit` of them; and the leaf up to which that is everything.
    pub(crate) async fn cover(&self, leaves: Range<u64>, limit: usize) -> Result<(Vec<(Name, Entry)>, u64), Failure> {
        let mut found = Vec::new();
        let top = self.geometry.height() - 1;
        let mut open: Vec<(Name, Entry)> = self.root.map(|root| ((top, 0), root)).into_iter().collect();
        while let Some(((level, index), entry)) = open.pop() {
            let start = index.saturating_mul(leaves_below(level));
            let end = start.saturating_add(leaves_below(level)).min(self.geometry.n_leaves());
            if end <= leaves.start || start >= leaves.end {
                continue;
            }
            if found.len() == limit {
                return Ok((found, start.max(leaves.start)));
            }
            if start >= leaves.start && end <= leaves.end {
                found.push(((level, index), entry));
                continue;
            }
            let page = self.load((level, index), entry).await?;
            open.extend(children((level, index), &page).rev());
        }
        Ok((found, leaves.end))
    }
}

/// The page `name` out of its bytes, if it is what `entry` says.
fn page_of(keys: &Keys, geometry: Geometry, name: Name, entry: &Entry, bytes: &[u8]) -> Result<Page, Damage> {
    let page = Page::decode(bytes)?;
    if page.level() != name.0 {
        return Err(Damage::Field { part: "a page", field: "level" });
    }
    if page.digest(keys) != entry.digest {
        return Err(Damage::Changed { part: "a page", proof: "digest" });
    }
    check_places(geometry, name, &page)?;
    Ok(page)
}

/// A page may only name what is within the volume, and blocks of the right length.
fn check_places(geometry: Geometry, (level, index): Name, page: &Page) -> Result<(), Damage> {
    let within = geometry.blocks_of(level, index);
    for (slot, entry) in page.entries() {
        let child = index * FAN_OUT + slot as u64;
        let fits = match level {
            0 => within.contains(&child) && entry.place.raw == geometry.length_of(child),
            _ => !geometry.blocks_of(level - 1, child).is_empty(),
        };
        if !fits {
            return Err(Damage::Field { part: "a page", field: "what it says lies beyond the volume" });
        }
    }
    Ok(())
}

/// The pages that a page above the leaves names, from left to right.
pub(crate) fn children((level, index): Name, page: &Page) -> impl DoubleEndedIterator<Item = (Name, Entry)> {
    page.entries().map(move |(slot, child)| ((level - 1, index * FAN_OUT + slot as u64), *child))
}
