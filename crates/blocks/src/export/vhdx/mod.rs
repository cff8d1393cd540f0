//! Lays out a dynamic VHDX, what Hyper-V runs, in one ascending pass.
//!
//! ```text
//! 0              identifier, two headers, two region tables, 64 KiB for each; the identifier is written last
//! 1 MiB          log, empty
//! 2 MiB          metadata: what the disk is
//! 3 MiB          block allocation table, written at the end
//! then           blocks of the volume, each as long as the file says
//! ```
//!
//! Blocks that hold only zeros take no space. They are called "zero" in the table, not "not present", which readers
//! may take for anything. Numbers are little-endian.

mod front;

use self::front::{Front, METADATA_AT, MIB, metadata};
use super::sink::Sink;
use super::{Checkpoint, VolumeWriter, check_order, invalid};
use crate::block::is_zero;
use serde::{Deserialize, Serialize};
use std::io::{self, Seek, Write};

/// The largest that the format allows.
pub(super) const LIMIT: u64 = 64 << 40;
const SECTOR: u64 = 512;
/// Sectors whose presence one block of bits would say: such a block has a place in the table after so many.
const BITMAP_SECTORS: u64 = 1 << 23;
/// The smallest blocks, and the largest that we use: what Hyper-V takes for new disks.
const BLOCKS: (u64, u64) = (MIB, 32 * MIB);
/// More blocks than this only if they are the largest: the table stays small.
const WANTED_BLOCKS: u64 = 1 << 16;
const BAT_AT: u64 = METADATA_AT + MIB;
const ZERO: u64 = 2;
const FULLY_PRESENT: u64 = 6;

/// What names the blocks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Tables {
    /// Random: the disk's identity.
    id: u128,
    /// Blocks in the file.
    n_blocks: u32,
    /// For each block of the volume, as far as there are any, the how many-th of the file it is, from 1; 0: none.
    blocks: Vec<u32>,
}

impl Tables {
    /// Those of an empty volume.
    pub fn new(id: u128) -> Self {
        Self { id, n_blocks: 0, blocks: Vec::new() }
    }
}

/// Writes a VHDX to `out`.
pub(super) struct VhdxWriter<W> {
    out: Sink<W>,
    size: u64,
    position: u64,
    block: u64,
    tables: Tables,
}

impl<W: Write + Seek> VhdxWriter<W> {
    /// An image of a volume of `size` bytes, rounded up to whole sectors. `tables` are those of what is there before
    /// `position`.
    pub fn new(out: W, size: u64, position: u64, tables: Tables) -> io::Result<Self> {
        if size > LIMIT {
            return Err(invalid("a volume of this size does not fit into a VHDX"));
        }
        let size = size.next_multiple_of(SECTOR);
        Ok(Self { out: Sink::new(out)?, size, position, block: block_size(size), tables })
    }

    /// Puts what is within one block at its place.
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let index = (at / self.block) as usize;
        let known = self.tables.blocks.get(index).copied().filter(|place| *place > 0);
        if known.is_none() && is_zero(bytes) {
            return Ok(());
        }
        let place = known.unwrap_or_else(|| {
            self.tables.n_blocks += 1;
            self.tables.blocks.resize(index, 0);
            self.tables.blocks.push(self.tables.n_blocks);
            self.tables.n_blocks
        });
        self.out.write_at(self.place_of(place) + at % self.block, bytes)
    }

    /// Where the `nth` block of the file begins, from 1.
    fn place_of(&self, nth: u32) -> u64 {
        BAT_AT + bat_length(self.size, self.block) + u64::from(nth - 1) * self.block
    }

    /// Writes the table: entries of blocks, and after each chunk one for the bits that only disks with a parent have.
    fn end_table(&mut self) -> io::Result<()> {
        let (n_blocks, chunk) = (self.size.div_ceil(self.block), chunk(self.block));
        let mut entries = Vec::new();
        for index in 0..n_blocks {
            if index > 0 && index % chunk == 0 {
                entries.extend_from_slice(&0u64.to_le_bytes());
            }
            let entry = match self.tables.blocks.get(index as usize).copied().unwrap_or_default() {
                0 => ZERO,
                nth => self.place_of(nth) | FULLY_PRESENT,
            };
            entries.extend_from_slice(&entry.to_le_bytes());
        }
        entries.resize(bat_length(self.size, self.block) as usize, 0);
        self.out.write_at(BAT_AT, &entries)
    }
}

impl<W: Write + Seek> VolumeWriter for VhdxWriter<W> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_order(offset, bytes, self.position, self.size)?;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let in_block = (self.block - at % self.block).min(rest.len() as u64);
            let (piece, behind) = rest.split_at(in_block as usize);
            self.put(at, piece)?;
            at += in_block;
            rest = behind;
        }
        self.position = at;
        Ok(())
    }

    fn checkpoint(&mut self) -> io::Result<Checkpoint> {
        let tables = super::Tables::Vhdx(self.tables.clone());
        Ok(Checkpoint { position: self.position, length: self.out.flush()?, tables })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_table()?;
        let end = self.place_of(self.tables.n_blocks + 1);
        if self.out.flush()? < end {
            // The last block is there to its end.
            self.out.write_at(end - 1, &[0])?;
        }
        self.out.write_at(METADATA_AT, &metadata(self.size, self.block, self.tables.id))?;
        let front = Front::new(self.tables.id, BAT_AT, bat_length(self.size, self.block));
        for (at, content) in front.behind_identifier() {
            self.out.write_at(at, &content)?;
        }
        self.out.flush()?;
        self.out.write_at(0, &front.identifier())?;
        self.out.flush().map(|_| ())
    }
}

fn block_size(size: u64) -> u64 {
    size.div_ceil(WANTED_BLOCKS).next_power_of_two().clamp(BLOCKS.0, BLOCKS.1)
}

/// Blocks between two entries for bits.
fn chunk(block: u64) -> u64 {
    BITMAP_SECTORS * SECTOR / block
}

fn bat_length(size: u64, block: u64) -> u64 {
    let n_blocks = size.div_ceil(block).max(1);
    let n_entries = n_blocks + (n_blocks - 1) / chunk(block);
    (n_entries * 8).next_multiple_of(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_volume_and_the_table_stays_small() {
        assert_eq!(block_size(512), MIB);
        assert_eq!(block_size(64 << 30), MIB);
        assert_eq!(block_size((64 << 30) + 512), 2 * MIB);
        assert_eq!(block_size(LIMIT), 32 * MIB);
        for size in [512, 1 << 40, LIMIT] {
            assert!(bat_length(size, block_size(size)) <= 17 * MIB);
        }
    }
}
