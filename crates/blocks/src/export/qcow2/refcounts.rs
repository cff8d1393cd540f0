//! Which clusters of a qcow2 file are given away, and how often each is used.
//!
//! Counts go into the file block by block as it grows, so that memory does not.

use super::{ENTRIES, big_endian};
use crate::export::clusters::CLUSTER;
use serde::{Deserialize, Serialize};

/// Reference counts of 16 bits in one refcount block.
pub(super) const COUNTS: u64 = CLUSTER / 2;

/// Clusters of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Refcounts {
    /// Clusters that were given away.
    n_clusters: u64,
    /// Counts of the last of them, whose block is not written yet.
    counts: Vec<u16>,
    /// Offsets of the blocks that are.
    table: Vec<u64>,
}

/// The end of the counts: blocks with their offsets, then the table.
pub(super) struct End {
    pub blocks: Vec<(u64, Vec<u8>)>,
    pub table: (u64, Vec<u8>),
}

impl Refcounts {
    /// `used` clusters are given away already.
    pub fn new(used: u64) -> Self {
        Self { n_clusters: used, counts: vec![1; used as usize], table: Vec::new() }
    }

    /// Offset of the first byte that is in no cluster.
    pub fn end(&self) -> u64 {
        self.n_clusters * CLUSTER
    }

    /// The first cluster whose count is not in the file yet.
    pub fn first_open(&self) -> u64 {
        self.n_clusters - self.counts.len() as u64
    }

    /// Gives away the next cluster and says its offset.
    pub fn take(&mut self) -> u64 {
        let at = self.end();
        self.n_clusters += 1;
        self.counts.push(1);
        at
    }

    /// One user more of a cluster whose count is open.
    pub fn share(&mut self, cluster: u64) {
        let index = cluster - self.first_open();
        self.counts[index as usize] += 1;
    }

    /// A block of counts that are complete, and where it goes; `None` if there is none yet.
    pub fn full_block(&mut self) -> Option<(u64, Vec<u8>)> {
        if (self.counts.len() as u64) < COUNTS {
            return None;
        }
        let block = bytes(&self.counts[..COUNTS as usize]);
        self.counts.drain(..COUNTS as usize);
        let at = self.take();
        self.table.push(at);
        Some((at, block))
    }

    /// What ends the file.
    pub fn finish(&mut self) -> End {
        let first = self.first_open();
        // Blocks and table are counted too, so their number depends on itself: it grows until it fits.
        let (mut n_blocks, mut n_table) = (1, 1);
        loop {
            let total = self.n_clusters + n_blocks + n_table;
            let blocks = (total - first).div_ceil(COUNTS).max(n_blocks);
            let table = (self.table.len() as u64 + blocks).div_ceil(ENTRIES).max(n_table);
            if (blocks, table) == (n_blocks, n_table) {
                break;
            }
            (n_blocks, n_table) = (blocks, table);
        }
        let places: Vec<u64> = (0..n_blocks).map(|_| self.take()).collect();
        let at = (0..n_table).map(|_| self.take()).min().expect("there is at least one");
        let mut counts = self.counts.clone();
        counts.resize((n_blocks * COUNTS) as usize, 0);
        let blocks = places.iter().zip(counts.chunks(COUNTS as usize)).map(|(at, counts)| (*at, bytes(counts)));
        self.table.extend(&places);
        let mut table = self.table.clone();
        table.resize((n_table * ENTRIES) as usize, 0);
        End { blocks: blocks.collect(), table: (at, big_endian(&table)) }
    }
}

fn bytes(counts: &[u16]) -> Vec<u8> {
    counts.iter().flat_map(|count| count.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_is_counted_in_one_block_whatever_their_number() {
        for more in [0, 1, COUNTS - 5, COUNTS - 4, COUNTS - 3, COUNTS - 2, 3 * COUNTS - 6, 5 * COUNTS] {
            let mut refcounts = Refcounts::new(2);
            let mut blocks = Vec::new();
            for _ in 0..more {
                refcounts.take();
                blocks.extend(refcounts.full_block());
            }
            let end = refcounts.finish();
            blocks.extend(end.blocks);
            let counted: Vec<u8> = blocks.iter().flat_map(|(_, block)| block.clone()).collect();
            let used = (refcounts.end() / CLUSTER) as usize;
            assert!(counted.len() >= used * 2, "{more}: {used} clusters, counts for {}", counted.len() / 2);
            assert!(counted[..used * 2].chunks(2).all(|count| count == [0, 1]), "{more}");
            assert!(counted[used * 2..].iter().all(|byte| *byte == 0), "{more}");
            let named: Vec<u8> = blocks.iter().flat_map(|(at, _)| at.to_be_bytes()).collect();
            assert_eq!(end.table.1[..named.len()], named, "{more}");
            assert!(end.table.1[named.len()..].iter().all(|byte| *byte == 0), "{more}");
        }
    }
}
