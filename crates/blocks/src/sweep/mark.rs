//! Which records snapshots name: every page is walked once, however many snapshots share it.

use crate::damage::Damage;
use crate::pack::{MAX_RECORDS, Place};
use crate::snapshot::SnapshotManifest;
use crate::store::{BlockStore, pack_path};
use crate::tree::walker::{Name, Tree, children};
use godwit_model::failure::Failure;
use godwit_model::id::{PackId, SnapshotId};
use std::collections::HashMap;

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

    /// Marks a record; whether it was not marked before.
    fn add(&mut self, place: &Place) -> Result<bool, Damage> {
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
        let is_new = *word & bit == 0;
        if is_new {
            *word |= bit;
            mark.live.bytes += u64::from(place.stored);
            mark.live.records += 1;
        }
        Ok(is_new)
    }

    /// Marks everything that a snapshot names. A page that was marked before has its subtree marked already.
    pub(super) async fn walk(&mut self, store: &BlockStore, manifest: &SnapshotManifest) -> Result<(), Failure> {
        let tree = manifest.tree(store);
        let top = (manifest.geometry().height() - 1, 0);
        let Some(root) = manifest.root_entry() else { return Ok(()) };
        let of = |place: &Place| pack_path(&PackId::from_bits(place.pack));
        let mut open: Vec<(Name, crate::page::Entry)> = Vec::new();
        if self.add(&root.place).map_err(|damage| damage.of(&of(&root.place)))? {
            open.push((top, root));
        }
        while let Some((name, entry)) = open.pop() {
            let below = self.page(&tree, name, entry).await?;
            open.extend(below);
        }
        Ok(())
    }

    /// Marks what one page names; gives the pages among it that are new.
    async fn page(
        &mut self,
        tree: &Tree,
        name: Name,
        entry: crate::page::Entry,
    ) -> Result<Vec<(Name, crate::page::Entry)>, Failure> {
        let page = tree.load(name, entry).await?;
        let damaged = |damage: Damage| damage.of(&pack_path(&PackId::from_bits(entry.place.pack)));
        let mut new = Vec::new();
        if name.0 == 0 {
            for (_, block) in page.entries() {
                self.add(&block.place).map_err(damaged)?;
            }
            return Ok(new);
        }
        for (child_name, child) in children(name, &page).rev() {
            if self.add(&child.place).map_err(damaged)? {
                new.push((child_name, child));
            }
        }
        Ok(new)
    }
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
        assert_eq!(marks.add(&place(70)), Ok(true));
        assert_eq!(marks.add(&place(70)), Ok(false));
        assert_eq!(marks.add(&place(1)), Ok(true));
        assert!(marks.add(&place(MAX_RECORDS as u32)).is_err());
        assert_eq!(marks.live(3), Some(Live { bytes: 200, records: 2, pinned: false }));
        assert_eq!(marks.live(4), None);
        marks.pin();
        assert!(marks.live(3).unwrap().pinned);
    }
}
