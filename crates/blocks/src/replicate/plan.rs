//! What to do with each block of a window, decided from what the source says of it. Pure.

use crate::page::FAN_OUT;
use crate::source::{ExtentKind, SourceExtent};
use crate::tree::Geometry;
use godwit_model::extent::Extent;
use std::ops::Range;

/// Neighbouring blocks of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BlockRun {
    pub(crate) kind: ExtentKind,
    pub(crate) blocks: Range<u64>,
}

/// A piece of the walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Whole leaves of which nothing is to be read.
    Leaves {
        /// Zero or unchanged, never data.
        kind: ExtentKind,
        leaves: Range<u64>,
    },
    /// One leaf whose blocks differ in kind, or hold data.
    Leaf { leaf: u64, runs: Vec<BlockRun> },
}

/// Widens the source's extents to whole blocks: a block is zero or unchanged only if all of it is. The extents must
/// cover `window` exactly; the error says how they do not. `window` begins at a block and ends at one or with the volume.
pub(crate) fn block_runs(
    geometry: Geometry,
    window: Extent,
    extents: &[SourceExtent],
    honour_unchanged: bool,
) -> Result<Vec<BlockRun>, String> {
    let size = geometry.block().bytes();
    let mut runs: Vec<BlockRun> = Vec::new();
    // The block that the extents so far end in, and what it is as far as it is known.
    let mut open: Option<(u64, ExtentKind)> = None;
    let mut at = window.offset;
    for SourceExtent { extent, kind } in extents {
        if extent.offset != at || extent.is_empty() || extent.end() > window.end() {
            return Err(format!("extent of {} bytes at {} where {at} was due", extent.length, extent.offset));
        }
        at = extent.end();
        let kind = if *kind == ExtentKind::Unchanged && !honour_unchanged { ExtentKind::Data } else { *kind };
        let (first, last) = (extent.offset / size, (extent.end() - 1) / size);
        open = match open {
            Some((block, before)) if block == first => {
                Some((block, if before == kind { kind } else { ExtentKind::Data }))
            }
            done => {
                close(&mut runs, done);
                Some((first, kind))
            }
        };
        if last > first {
            close(&mut runs, open);
            push(&mut runs, kind, first + 1..last);
            open = Some((last, kind));
        }
    }
    close(&mut runs, open);
    if at != window.end() {
        return Err(format!("extents end at {at} instead of {}", window.end()));
    }
    Ok(runs)
}

/// Cuts the runs of a window at leaves. The window begins at a leaf and ends at one or with the volume.
pub(crate) fn parts(geometry: Geometry, runs: &[BlockRun]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut mixed: Option<(u64, Vec<BlockRun>)> = None;
    for run in runs {
        let mut at = run.blocks.start;
        while at < run.blocks.end {
            let leaf = at / FAN_OUT;
            let whole = whole_leaves(geometry, at..run.blocks.end);
            if run.kind != ExtentKind::Data && !whole.is_empty() {
                parts.extend(mixed.take().map(|(leaf, runs)| Part::Leaf { leaf, runs }));
                at = geometry.blocks_of(0, whole.end - 1).end;
                parts.push(Part::Leaves { kind: run.kind, leaves: whole });
                continue;
            }
            let end = geometry.blocks_of(0, leaf).end.min(run.blocks.end);
            if mixed.as_ref().is_some_and(|(of, _)| *of != leaf) {
                parts.extend(mixed.take().map(|(leaf, runs)| Part::Leaf { leaf, runs }));
            }
            let (_, runs) = mixed.get_or_insert_with(|| (leaf, Vec::new()));
            runs.push(BlockRun { kind: run.kind, blocks: at..end });
            at = end;
        }
    }
    parts.extend(mixed.map(|(leaf, runs)| Part::Leaf { leaf, runs }));
    parts
}

/// The leaves that lie wholly in `blocks`, if the first one begins there.
fn whole_leaves(geometry: Geometry, blocks: Range<u64>) -> Range<u64> {
    let first = blocks.start / FAN_OUT;
    if !blocks.start.is_multiple_of(FAN_OUT) {
        return first..first;
    }
    let end = if blocks.end == geometry.n_blocks() { geometry.n_leaves() } else { blocks.end / FAN_OUT };
    first..end
}

fn close(runs: &mut Vec<BlockRun>, open: Option<(u64, ExtentKind)>) {
    if let Some((block, kind)) = open {
        push(runs, kind, block..block + 1);
    }
}

fn push(runs: &mut Vec<BlockRun>, kind: ExtentKind, blocks: Range<u64>) {
    if blocks.is_empty() {
        return;
    }
    match runs.last_mut() {
        Some(last) if last.kind == kind => last.blocks.end = blocks.end,
        _ => runs.push(BlockRun { kind, blocks }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockSize;
    use proptest::prelude::*;

    const BLOCK: u64 = 4096;

    fn geometry(size: u64) -> Geometry {
        Geometry::new(size, BlockSize::MIN).unwrap()
    }

    fn kind() -> impl Strategy<Value = ExtentKind> {
        prop_oneof![Just(ExtentKind::Data), Just(ExtentKind::Zero), Just(ExtentKind::Unchanged)]
    }

    fn cover(pieces: &[(u64, ExtentKind)]) -> (Vec<SourceExtent>, u64) {
        let mut at = 0;
        let extents = pieces
            .iter()
            .map(|(length, kind)| {
                let extent = Extent::between(at, at + length);
                at += length;
                SourceExtent { extent, kind: *kind }
            })
            .collect();
        (extents, at)
    }

    /// The kind of each block by looking at each extent that touches it.
    fn expected(extents: &[SourceExtent], size: u64, honour: bool) -> Vec<ExtentKind> {
        (0..size.div_ceil(BLOCK))
            .map(|block| {
                let bytes = Extent::between(block * BLOCK, (block + 1) * BLOCK);
                let mut kinds: Vec<ExtentKind> = extents
                    .iter()
                    .filter(|e| !e.extent.intersect(bytes).is_empty())
                    .map(|e| if !honour && e.kind == ExtentKind::Unchanged { ExtentKind::Data } else { e.kind })
                    .collect();
                kinds.dedup();
                if kinds.len() == 1 { kinds[0] } else { ExtentKind::Data }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn blocks_are_of_the_kind_that_all_their_bytes_are(
            pieces in proptest::collection::vec((prop_oneof![1u64..6000, (1u64..4).prop_map(|n| n * BLOCK),
                (1000u64..3000).prop_map(|n| n * BLOCK)], kind()), 1..30),
            honour: bool,
        ) {
            let (extents, size) = cover(&pieces);
            let geometry = geometry(size);
            let runs = block_runs(geometry, Extent::between(0, size), &extents, honour).unwrap();
            let mut at = 0;
            let mut kinds = Vec::new();
            for run in &runs {
                prop_assert!(run.blocks.start == at && run.blocks.end > at);
                at = run.blocks.end;
                kinds.extend(run.blocks.clone().map(|_| run.kind));
            }
            prop_assert_eq!(&kinds, &expected(&extents, size, honour));
            prop_assert!(runs.windows(2).all(|w| w[0].kind != w[1].kind));

            let mut at = 0;
            let mut again = Vec::new();
            for part in parts(geometry, &runs) {
                match part {
                    Part::Leaves { kind, leaves } => {
                        prop_assert!(kind != ExtentKind::Data && leaves.start == at && leaves.end > at);
                        at = leaves.end;
                        let blocks = geometry.blocks_of(0, leaves.start).start..geometry.blocks_of(0, leaves.end - 1).end;
                        again.extend(blocks.map(|_| kind));
                    }
                    Part::Leaf { leaf, runs } => {
                        prop_assert_eq!(leaf, at);
                        at += 1;
                        let within = geometry.blocks_of(0, leaf);
                        prop_assert_eq!(runs[0].blocks.start, within.start);
                        prop_assert_eq!(runs.last().map(|r| r.blocks.end), Some(within.end));
                        for run in runs {
                            again.extend(run.blocks.map(|_| run.kind));
                        }
                    }
                }
            }
            prop_assert_eq!(kinds, again);
        }

        #[test]
        fn extents_that_do_not_cover_the_window_are_refused(
            pieces in proptest::collection::vec((1u64..9000, kind()), 1..8),
            damage in 0u8..4,
            at in any::<proptest::sample::Index>(),
        ) {
            let (mut extents, size) = cover(&pieces);
            let at = at.index(extents.len());
            match damage {
                0 => { extents.remove(at); }
                1 => extents[at].extent.length += 1,
                2 => extents[at].extent.offset += 1,
                _ => extents[at].extent.length = 0,
            }
            prop_assert!(block_runs(geometry(size), Extent::between(0, size), &extents, true).is_err());
        }
    }
}
