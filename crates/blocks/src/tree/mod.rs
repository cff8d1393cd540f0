//! The tree of a snapshot: pages over blocks, and pages over pages, up to one root.
//!
//! ```text
//! level 2                       root                       1 Gi blocks, 64 TiB at the default block size
//! level 1            page       page  …                    1 Mi blocks, 64 GiB
//! level 0       leaf leaf …                                1,024 blocks, 64 MiB
//!               blocks
//! ```
//!
//! The tree is built from left to right: `TreeBuilder` holds one open page for each level above the leaves and
//! gives a page away as soon as nothing can be added to it any more. `Tree` reads pages back, each compared
//! with the digest in the page above it.

pub(crate) mod builder;
pub(crate) mod walker;

use crate::block::{BlockSize, Digest};
use crate::crypt::Keys;
use crate::page::{FAN_OUT, MAX_LEVELS};
use godwit_model::extent::Extent;
use std::ops::Range;

/// Sizes that follow from the size of a volume and of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    size: u64,
    block: BlockSize,
}

/// Largest volume: an exbibyte, far beyond what any VM manager offers, and small enough that no sum overflows.
pub(crate) const MAX_VOLUME: u64 = 1 << 60;

impl Geometry {
    /// The geometry of a volume of `size` bytes in blocks of `block`; `None` if it is too large to be addressed.
    pub fn new(size: u64, block: BlockSize) -> Option<Self> {
        (size <= MAX_VOLUME).then_some(Self { size, block })
    }

    /// Size of the volume.
    pub fn size(self) -> u64 {
        self.size
    }

    /// Size of its blocks.
    pub fn block(self) -> BlockSize {
        self.block
    }

    /// Number of blocks; the last one may be short.
    pub fn n_blocks(self) -> u64 {
        self.size.div_ceil(self.block.bytes())
    }

    /// Number of leaves.
    pub fn n_leaves(self) -> u64 {
        self.n_blocks().div_ceil(FAN_OUT)
    }

    /// Number of levels, at least one.
    pub fn height(self) -> u8 {
        (1..MAX_LEVELS).find(|height| blocks_below(*height) >= self.n_blocks()).unwrap_or(MAX_LEVELS)
    }

    /// Bytes that a leaf covers.
    pub fn leaf_bytes(self) -> u64 {
        FAN_OUT * self.block.bytes()
    }

    /// The bytes of `blocks`, cut at the volume's end.
    pub fn bytes_of(self, blocks: Range<u64>) -> Extent {
        let cut = |block: u64| block.saturating_mul(self.block.bytes()).min(self.size);
        Extent::between(cut(blocks.start), cut(blocks.end))
    }

    /// Length of one block: shorter only for the last.
    pub fn length_of(self, block: u64) -> u32 {
        u32::try_from(self.bytes_of(block..block + 1).length).expect("a block is a megabyte at most")
    }

    /// The blocks of the page `index` of `level`, cut at the volume's end.
    pub fn blocks_of(self, level: u8, index: u64) -> Range<u64> {
        let per_page = blocks_below(level + 1);
        let cut = |page: u64| page.saturating_mul(per_page).min(self.n_blocks());
        cut(index)..cut(index + 1)
    }

    /// Digest of the whole volume, from the digest of the root page.
    pub(crate) fn root_digest(self, keys: &Keys, root_page: Digest) -> Digest {
        keys.page_digest(&[b"volume", &self.size.to_le_bytes(), &u32::from(self.block).to_le_bytes(), &root_page.0])
    }
}

/// Blocks that a page covers which has `height` levels, its own included.
const fn blocks_below(height: u8) -> u64 {
    FAN_OUT.saturating_pow(height as u32)
}

/// Leaves that a page of `level` covers.
pub(crate) const fn leaves_below(level: u8) -> u64 {
    FAN_OUT.saturating_pow(level as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_fit_the_volumes() {
        let height = |size: u64, block: u32| Geometry::new(size, BlockSize::new(block).unwrap()).unwrap().height();
        assert_eq!(height(0, 65536), 1);
        assert_eq!(height(64 << 20, 65536), 1);
        assert_eq!(height((64 << 20) + 1, 65536), 2);
        assert_eq!(height(64 << 30, 65536), 2);
        assert_eq!(height(64 << 40, 65536), 3);
        assert_eq!(height((64 << 40) + 1, 65536), 4);
        assert_eq!(height(1 << 60, 4096), 5);
        assert!(Geometry::new((1 << 60) + 1, BlockSize::DEFAULT).is_none());
    }

    #[test]
    fn ranges_end_with_the_volume() {
        let geometry = Geometry::new(100 << 20, BlockSize::DEFAULT).unwrap();
        assert_eq!(geometry.blocks_of(0, 1), 1024..1600);
        assert_eq!(geometry.blocks_of(1, 0), 0..1600);
        assert_eq!(geometry.bytes_of(1599..1600), Extent::between((100 << 20) - 65536, 100 << 20));
        let odd = Geometry::new(65536 + 5, BlockSize::DEFAULT).unwrap();
        assert_eq!((odd.n_blocks(), odd.length_of(0), odd.length_of(1)), (2, 65536, 5));
    }

    #[test]
    fn the_root_digest_covers_the_size() {
        let keys = Keys::derive(godwit_model::id::KeyId::from_bits(1), &[5; 32]);
        let root = |size| Geometry::new(size, BlockSize::DEFAULT).unwrap().root_digest(&keys, Digest::ZERO);
        assert_ne!(root(1 << 20), root(2 << 20));
    }
}
