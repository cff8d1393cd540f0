//! Builds the pages above the leaves while the volume is walked from its beginning to its end. Pure.

use crate::page::{Entry, FAN_OUT, Page};
use crate::tree::{Geometry, leaves_below};

/// Holds one open page for each level above the leaves: so memory does not depend on the volume's size.
pub(crate) struct TreeBuilder {
    /// Open pages of the levels 1, 2, … with their index; closed ones are `None`.
    open: Vec<Option<(u64, Page)>>,
    root: Option<Entry>,
}

/// A page to which nothing will be added: it is to be stored, and its entry pushed to the level above.
pub(crate) struct ClosedPage {
    pub(crate) index: u64,
    pub(crate) page: Page,
}

impl TreeBuilder {
    /// Nothing pushed yet: all zeros.
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { open: (1..geometry.height()).map(|_| None).collect(), root: None }
    }

    /// The lowest open page that ends at or before `leaf`. Called until it gives none, before something is pushed that
    /// begins at `leaf`, and with `u64::MAX` at the end.
    pub(crate) fn close_before(&mut self, leaf: u64) -> Option<ClosedPage> {
        for (level, open) in (1u8..).zip(&mut self.open) {
            let ended = |index: u64| index.saturating_add(1).saturating_mul(leaves_below(level)) <= leaf;
            if let Some((index, page)) = open.take_if(|(index, _)| ended(*index)) {
                return Some(ClosedPage { index, page });
            }
        }
        None
    }

    /// Adds the page `index` of `level` by its entry. Everything to its left is pushed, and closed where it ended.
    pub(crate) fn push(&mut self, level: u8, index: u64, entry: Entry) {
        let Some(above) = self.open.get_mut(usize::from(level)) else {
            self.root = Some(entry);
            return;
        };
        let (_, page) = above.get_or_insert_with(|| (index / FAN_OUT, Page::new(level + 1)));
        page.set((index % FAN_OUT) as usize, Some(entry));
    }

    /// The entry of the root page; `None` if the volume is all zeros. All pages are closed.
    pub(crate) fn root(self) -> Option<Entry> {
        self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockSize, Codec, Digest};
    use crate::crypt::Keys;
    use crate::pack::Place;
    use godwit_model::id::KeyId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn keys() -> Keys {
        Keys::derive(KeyId::from_bits(1), &[5; 32])
    }

    fn entry(digest: Digest) -> Entry {
        Entry {
            digest,
            place: Place { pack: 1, offset: 40, stored: 17, raw: 1, ordinal: 0, codec: Codec::Raw, key_version: 1 },
        }
    }

    fn leaf(n: u64) -> Entry {
        entry(keys().page_digest(&[&n.to_le_bytes()]))
    }

    fn streamed(geometry: Geometry, leaves: &[u64]) -> (Option<Digest>, usize) {
        let mut builder = TreeBuilder::new(geometry);
        let mut n_pages = 0;
        let mut close = |builder: &mut TreeBuilder, before| {
            while let Some(ClosedPage { index, page }) = builder.close_before(before) {
                n_pages += 1;
                builder.push(page.level(), index, entry(page.digest(&keys())));
            }
        };
        for n in leaves {
            close(&mut builder, *n);
            builder.push(0, *n, leaf(*n));
        }
        close(&mut builder, u64::MAX);
        (builder.root().map(|e| e.digest), n_pages)
    }

    /// The same tree built level by level out of maps.
    fn at_once(geometry: Geometry, leaves: &[u64]) -> (Option<Digest>, usize) {
        let mut nodes: BTreeMap<u64, Entry> = leaves.iter().map(|n| (*n, leaf(*n))).collect();
        let mut n_pages = 0;
        for level in 1..geometry.height() {
            let mut pages: BTreeMap<u64, Page> = BTreeMap::new();
            for (index, entry) in nodes {
                let page = pages.entry(index / FAN_OUT).or_insert_with(|| Page::new(level));
                page.set((index % FAN_OUT) as usize, Some(entry));
            }
            n_pages += pages.len();
            nodes = pages.into_iter().map(|(index, page)| (index, entry(page.digest(&keys())))).collect();
        }
        assert!(nodes.len() <= 1);
        (nodes.into_values().next().map(|e| e.digest), n_pages)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn streaming_builds_the_same_tree(
            size in prop_oneof![1u64..(64 << 20), (1u64 << 26)..(1 << 36), (1u64 << 36)..(1 << 47)],
            picks in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        ) {
            let geometry = Geometry::new(size, BlockSize::DEFAULT).unwrap();
            let n_leaves = usize::try_from(geometry.n_leaves()).unwrap();
            let mut leaves: Vec<u64> = picks.iter().map(|pick| pick.index(n_leaves) as u64).collect();
            leaves.sort_unstable();
            leaves.dedup();
            prop_assert_eq!(streamed(geometry, &leaves), at_once(geometry, &leaves));
        }
    }
}
