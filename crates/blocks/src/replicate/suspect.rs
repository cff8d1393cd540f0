//! What of the parent must not be built on: blocks that proved damaged, and blocks whose page did. Pure.
//!
//! Such a block is read from the source, whatever the source says of it, and stored anew though its digest is the
//! parent's: the digest tells what was meant, not what is there. The same goes for every page above it. That the new
//! content is equal does not help: an equal page of the parent names the damaged place.

use crate::page::{FAN_OUT, Page};
use crate::replicate::plan::BlockRun;
use crate::source::ExtentKind;
use crate::tree::Geometry;
use godwit_model::extent::Extent;
use std::ops::Range;

/// Suspect blocks of the parent: ranges that are sorted and do not touch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Suspects(Vec<Range<u64>>);

impl Suspects {
    /// The blocks in which `damaged` lies.
    pub(super) fn new(geometry: Geometry, damaged: &[Extent]) -> Self {
        let mut suspects = Self::default();
        for extent in damaged.iter().filter(|extent| !extent.is_empty()) {
            let block = geometry.block().bytes();
            suspects.add(extent.offset / block..extent.end().div_ceil(block).min(geometry.n_blocks()));
        }
        suspects
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From now on `blocks` are suspect, too.
    pub(super) fn add(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        let from = self.0.partition_point(|range| range.end < blocks.start);
        let to = self.0.partition_point(|range| range.start <= blocks.end);
        let merged = self.0[from..to].iter().fold(blocks, |all, one| all.start.min(one.start)..all.end.max(one.end));
        self.0.splice(from..to, [merged]);
    }

    /// Whether one of `blocks` is suspect.
    pub(super) fn touch(&self, blocks: &Range<u64>) -> bool {
        self.within(blocks).next().is_some()
    }

    /// What of `blocks` is suspect, in order.
    pub(super) fn within<'a>(&'a self, blocks: &'a Range<u64>) -> impl Iterator<Item = Range<u64>> + 'a {
        let from = self.0.partition_point(|range| range.end <= blocks.start);
        let cut = |range: &Range<u64>| range.start.max(blocks.start)..range.end.min(blocks.end);
        self.0[from..].iter().map(cut).take_while(|range| range.start < blocks.end)
    }

    /// The runs with what is suspect of the unchanged ones as data: it is read.
    pub(super) fn distrust(&self, runs: Vec<BlockRun>) -> Vec<BlockRun> {
        if self.is_empty() {
            return runs;
        }
        let mut careful: Vec<BlockRun> = Vec::with_capacity(runs.len());
        let mut push = |kind, blocks: Range<u64>| match careful.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.kind == kind && last.blocks.end == blocks.start => last.blocks.end = blocks.end,
            _ => careful.push(BlockRun { kind, blocks }),
        };
        for BlockRun { kind, blocks } in runs {
            let mut at = blocks.start;
            for suspect in self.within(&blocks).filter(|_| kind == ExtentKind::Unchanged) {
                push(kind, at..suspect.start);
                push(ExtentKind::Data, suspect.clone());
                at = suspect.end;
            }
            push(kind, at..blocks.end);
        }
        careful
    }

    /// The parent's leaf `leaf` without what is suspect: nothing is compared with that.
    pub(super) fn cleared(&self, geometry: Geometry, leaf: u64, page: &Page) -> Page {
        let mut cleared = Page::clone(page);
        for suspect in self.within(&geometry.blocks_of(0, leaf)) {
            suspect.for_each(|block| cleared.set((block % FAN_OUT) as usize, None));
        }
        cleared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockSize;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        proptest::collection::vec((0u64..60, 0u64..9).prop_map(|(start, length)| start..start + length), 0..8)
    }

    fn made(ranges: &[Range<u64>]) -> (Suspects, BTreeSet<u64>) {
        let mut suspects = Suspects::default();
        ranges.iter().for_each(|range| suspects.add(range.clone()));
        (suspects, ranges.iter().cloned().flatten().collect())
    }

    proptest! {
        #[test]
        fn what_was_added_is_suspect_and_nothing_else(added in ranges(), asked in (0u64..70, 0u64..20)) {
            let (suspects, model) = made(&added);
            let asked = asked.0..asked.0 + asked.1;
            let found: Vec<u64> = suspects.within(&asked).flatten().collect();
            let wanted: Vec<u64> = model.iter().copied().filter(|block| asked.contains(block)).collect();
            prop_assert_eq!(suspects.touch(&asked), !wanted.is_empty());
            prop_assert_eq!(found, wanted);
            prop_assert!(suspects.0.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", suspects);
        }

        #[test]
        fn nothing_suspect_stays_unchanged_and_all_else_stays_what_it_was(
            added in ranges(), kinds in proptest::collection::vec((0usize..3, 1u64..12), 1..12)
        ) {
            let (suspects, model) = made(&added);
            let mut runs = Vec::new();
            let mut at = 0;
            for (kind, length) in kinds {
                let kind = [ExtentKind::Data, ExtentKind::Zero, ExtentKind::Unchanged][kind];
                runs.push(BlockRun { kind, blocks: at..at + length });
                at += length;
            }
            let of = |runs: &[BlockRun]| -> Vec<(u64, ExtentKind)> {
                runs.iter().flat_map(|run| run.blocks.clone().map(|block| (block, run.kind))).collect()
            };
            let before = of(&runs);
            let after = of(&suspects.distrust(runs));
            prop_assert_eq!(before.len(), after.len());
            for ((block, was), (same, is)) in before.into_iter().zip(after) {
                prop_assert_eq!(block, same);
                let distrusted = was == ExtentKind::Unchanged && model.contains(&block);
                prop_assert_eq!(is, if distrusted { ExtentKind::Data } else { was }, "block {}", block);
            }
        }
    }

    #[test]
    fn extents_are_widened_to_blocks_and_end_with_the_volume() {
        let geometry = Geometry::new(10 * 4096 + 5, BlockSize::MIN).unwrap();
        let damaged = [Extent::between(4095, 4097), Extent::between(40_000, 1 << 40), Extent::between(9, 9)];
        assert_eq!(Suspects::new(geometry, &damaged).0, [0..2, 9..11]);
        assert!(Suspects::new(geometry, &[Extent::between(1 << 40, 1 << 41)]).is_empty());
    }
}
