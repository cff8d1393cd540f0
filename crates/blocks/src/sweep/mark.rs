//! Which records snapshots name: every page is walked once, however many snapshots share it.

use super::Course;
use crate::damage::Damage;
use crate::pack::{MAX_RECORDS, Place};
use crate::page::Entry;
use crate::snapshot::SnapshotManifest;
use crate::store::{BlockStore, pack_path};
use crate::tree::walker::{Tree, children};
use futures::FutureExt;
use futures::future::BoxFuture;
use godwit_model::failure::Failure;
use godwit_model::id::{PackId, SnapshotId};
use godwit_model::key::Purpose;
use std::collections::HashMap;

/// Pages of a level that are read together, some 80 KiB each: enough for few requests, and for little memory.
const AT_ONCE: usize = 32;

/// What of a pack is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// Bytes of the records.
    pub bytes: u64,
    /// How many records.
    pub records: u32,
    /// Whether a snapshot in use names one.
    pub pinned: bool,
}

/// The records that are named, pack by pack.
#[derive(Default, Debug)]
pub struct Marks {
    packs: HashMap<u128, Mark>,
    /// Snapshots whose pages could not be read, and why.
    pub unreadable: Vec<(SnapshotId, String)>,
}

#[derive(Debug)]
struct Mark {
    live: Live,
    /// A bit for each record: at most a kilobyte.
    seen: Vec<u64>,
}

impl Marks {
    /// What of a pack is named; `None` if nothing is.
    pub fn live(&self, pack: u128) -> Option<Live> {
        self.packs.get(&pack).map(|mark| mark.live)
    }

    /// Everything that is marked so far belongs to snapshots in use.
    pub(super) fn pin(&mut self) {
        self.packs.values_mut().for_each(|mark| mark.live.pinned = true);
    }

    #[cfg(test)]
    pub(super) fn set(&mut self, pack: u128, live: Live) {
        self.packs.insert(pack, Mark { live, seen: Vec::new() });
    }

    /// Marks a record.
    fn add(&mut self, place: &Place) -> Result<(), Damage> {
        let ordinal = place.ordinal as usize;
        if ordinal >= MAX_RECORDS {
            return Err(Damage::Field { part: "a page", field: "ordinal of an entry" });
        }
        let nothing = Live { bytes: 0, records: 0, pinned: false };
        let mark = self.packs.entry(place.pack).or_insert(Mark { live: nothing, seen: Vec::new() });
        if mark.seen.len() <= ordinal / 64 {
            mark.seen.resize(ordinal / 64 + 1, 0);
        }
        let (word, bit) = (&mut mark.seen[ordinal / 64], 1u64 << (ordinal % 64));
        if *word & bit == 0 {
            *word |= bit;
            mark.live.bytes += u64::from(place.stored);
            mark.live.records += 1;
        }
        Ok(())
    }

    fn has(&self, place: &Place) -> bool {
        let ordinal = place.ordinal as usize;
        let word = self.packs.get(&place.pack).and_then(|mark| mark.seen.get(ordinal / 64));
        word.is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }

    /// Marks everything that a snapshot names.
    pub(super) async fn walk(
        &mut self,
        store: &BlockStore,
        manifest: &SnapshotManifest,
        course: Course<'_>,
    ) -> Result<(), Failure> {
        let tree = manifest.tree(store);
        let Some(root) = manifest.root_entry().filter(|root| !self.has(&root.place)) else { return Ok(()) };
        let used = |place: &Place| course.note(&manifest.key, place.key_version, Purpose::Decrypt);
        let walk = Walk { tree: &tree, course, used: &used };
        self.pages(&walk, manifest.geometry().height() - 1, vec![(0, root)]).await
    }

    /// Marks what is below pages of a level that are not marked, then the pages themselves: whoever finds one marked need
    /// not look into it, also if the walk that marked it failed elsewhere.
    fn pages<'f>(
        &'f mut self,
        walk: &'f Walk<'f>,
        level: u8,
        pages: Vec<(u64, Entry)>,
    ) -> BoxFuture<'f, Result<(), Failure>> {
        async move {
            for some in pages.chunks(AT_ONCE) {
                walk.course.stop_if_cancelled()?;
                let mut above = Vec::new();
                let mut below = Vec::new();
                for (index, entry, page) in walk.tree.load_many(level, some.iter().copied(), walk.used).await? {
                    if level == 0 {
                        for (_, block) in page.entries() {
                            self.add(&block.place).map_err(|damage| of(damage, &entry))?;
                        }
                    } else {
                        let unseen = children((level, index), &page).filter(|(_, child)| !self.has(&child.place));
                        below.extend(unseen.map(|((_, index), child)| (index, child)));
                    }
                    above.push(entry);
                    if below.len() >= AT_ONCE {
                        self.pages(walk, level - 1, std::mem::take(&mut below)).await?;
                        self.add_all(&mut above)?;
                    }
                }
                if !below.is_empty() {
                    self.pages(walk, level - 1, below).await?;
                }
                self.add_all(&mut above)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn add_all(&mut self, pages: &mut Vec<Entry>) -> Result<(), Failure> {
        pages.drain(..).try_for_each(|page| self.add(&page.place).map_err(|damage| of(damage, &page)))
    }
}

/// What goes with the walk through one snapshot.
struct Walk<'a> {
    tree: &'a Tree,
    course: Course<'a>,
    used: &'a (dyn Fn(&Place) + Send + Sync),
}

/// Damage that a page shows.
fn of(damage: Damage, page: &Entry) -> Failure {
    damage.of(&pack_path(&PackId::from_bits(page.place.pack)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Codec;

    #[test]
    fn a_record_counts_once() {
        let mut marks = Marks::default();
        let place =
            |ordinal| Place { pack: 3, offset: 40, stored: 100, raw: 84, ordinal, codec: Codec::Raw, key_version: 1 };
        for ordinal in [70, 70, 1] {
            assert_eq!(marks.add(&place(ordinal)), Ok(()));
        }
        assert!(marks.has(&place(70)) && !marks.has(&place(6)) && !marks.has(&place(700)));
        assert!(marks.add(&place(MAX_RECORDS as u32)).is_err());
        assert_eq!(marks.live(3), Some(Live { bytes: 200, records: 2, pinned: false }));
        assert_eq!(marks.live(4), None);
        marks.pin();
        assert!(marks.live(3).unwrap().pinned);
    }
}
