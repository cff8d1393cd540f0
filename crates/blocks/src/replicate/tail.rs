//! Whether a volume was ever cut off since the parent: then the source's list of changes is not whole.
//!
//! A volume that is made smaller loses what is behind its new end, and its change tracker loses the list of it. If it
//! grows to its old size again, nothing is on the list, and it reads as zeros. What was cut off reaches to the end, so
//! one block tells: the last one that the parent holds and that is said to be unchanged. If that was not cut off,
//! nothing before it was, and behind it everything is on the list or was zeros before.
//!
//! The source knows without reading what it reads as, as far as it knows of holes at all: block devices do not.

use crate::block;
use crate::page::{Entry, FAN_OUT};
use crate::replicate::plan;
use crate::replicate::walk::{gaps, read_exactly};
use crate::source::{ExtentKind, VolumeReader};
use crate::store::BlockStore;
use crate::tree::Geometry;
use crate::tree::walker::Tree;
use godwit_model::extent::{self, Extent};
use godwit_model::failure::Failure;

/// Whether the volume was cut off. Gives the bytes that were read to find out, too: none, or those of one block.
pub(super) async fn was_cut(
    store: &BlockStore,
    reader: &dyn VolumeReader,
    geometry: Geometry,
    parent: &Tree,
) -> Result<(bool, u64), Failure> {
    let Some((block, entry)) = last_unchanged(reader, geometry, parent).await? else { return Ok((false, 0)) };
    let zeros = extent::total(&reader.zeros(block).await?);
    if zeros == 0 || zeros == block.length {
        return Ok((zeros > 0, 0));
    }
    // It has a hole, which may be where it was cut, or always was there.
    let bytes = read_exactly(reader, block).await?;
    Ok((block::digest(store.keys(), &bytes) != entry.digest, block.length))
}

/// The last block that the parent holds and the source says is unchanged. Looks at one leaf of the parent, and at one
/// more for each in which nothing is unchanged: a small part of what reading those costs.
async fn last_unchanged(
    reader: &dyn VolumeReader,
    geometry: Geometry,
    parent: &Tree,
) -> Result<Option<(Extent, Entry)>, Failure> {
    let mut before = geometry.n_leaves();
    while let Some((leaf, page)) = parent.last_leaf(before).await? {
        let window = geometry.bytes_of(geometry.blocks_of(0, leaf));
        let extents = reader.extents(window).await?;
        let runs = plan::block_runs(geometry, window, &extents, true).map_err(|why| gaps(&why))?;
        let unchanged = runs.into_iter().rev().filter(|run| run.kind == ExtentKind::Unchanged);
        let held = |block: u64| Some((block, *page.slot((block % FAN_OUT) as usize)?));
        if let Some((block, entry)) = unchanged.flat_map(|run| run.blocks.rev()).find_map(held) {
            return Ok(Some((geometry.bytes_of(block..block + 1), entry)));
        }
        before = leaf;
    }
    Ok(None)
}
