//! Lays out a qcow2 file (version 3, clusters of 64 KiB) in one ascending pass.
//!
//! ```text
//! cluster 0      header, written last
//! cluster 1…     L1 table, written last
//! then           data clusters; behind those of each 512 MiB of the volume, the L2 table that names them;
//!                among them, every 2 GiB of the file, a block of reference counts
//! at the end     the last blocks of reference counts, then their table
//! ```
//!
//! # Compression
//! Clusters are compressed with zstd, one frame each, and packed one behind the other; those that do not shrink stay as
//! they are. The other way that the format knows is deflate with a window of 4 KiB: every reader ever made knows it, but
//! it finds less and takes several times as long, here and whenever the disk is read. zstd is read by QEMU 5.1 and
//! later; whoever does not know it is told so by a feature bit, and refuses. Programs that are not QEMU are given
//! other formats anyway.

mod refcounts;

use self::refcounts::Refcounts;
use super::clusters::{CLUSTER, Cluster, ClusterWriter, Clusters};
use super::compress::compress;
use super::invalid;
use super::sink::Sink;
use serde::{Deserialize, Serialize};
use std::io::{self, Seek, Write};
use zstd::bulk::Compressor;

const CLUSTER_BITS: u32 = CLUSTER.trailing_zeros();
/// Entries of 8 bytes in one L2 table or in one cluster of another table.
const ENTRIES: u64 = CLUSTER / 8;
/// QEMU refuses L1 tables of more than 32 MiB.
pub(super) const LIMIT: u64 = (32 << 20) / 8 * ENTRIES * CLUSTER;
/// "This cluster is used once": lets QEMU write to it without looking at the count.
const COPIED: u64 = 1 << 63;
/// "This cluster is compressed".
const COMPRESSED: u64 = 1 << 62;
/// Where the number of further sectors begins in the entry of a compressed cluster.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
const SECTOR: u64 = 512;
/// "There is a compression type, and it is not deflate".
const FEATURE_COMPRESSION_TYPE: u64 = 1 << 3;
const ZSTD: u8 = 1;
/// zstd's own default: higher ones take long for little.
const LEVEL: i32 = 3;
const HEADER_LENGTH: u32 = 112;

/// What names the clusters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Tables {
    refcounts: Refcounts,
    /// Behind the last compressed cluster; the next one may follow there.
    packed: Option<u64>,
    /// Offsets of L2 tables, 0 where there is none; as far as there are any.
    l1: Vec<u64>,
    /// The L2 table that is being filled.
    l2: Option<(u64, Vec<u64>)>,
}

impl Tables {
    /// Those of an empty volume of `size` bytes.
    pub fn new(size: u64) -> Self {
        let l1_clusters = l1_entries(size).div_ceil(ENTRIES).max(1);
        Self { refcounts: Refcounts::new(1 + l1_clusters), packed: None, l1: Vec::new(), l2: None }
    }
}

/// Writes a qcow2 image to `out`.
pub(super) struct Qcow2Writer<W> {
    out: Sink<W>,
    size: u64,
    is_compressed: bool,
    clusters: Clusters,
    tables: Tables,
}

impl<W: Write + Seek> Qcow2Writer<W> {
    /// An image of a volume of `size` bytes; rounded up to whole sectors, as QEMU does. `tables` are those of what is
    /// there before `position`.
    pub fn new(out: W, size: u64, is_compressed: bool, position: u64, tables: Tables) -> io::Result<Self> {
        if size > LIMIT {
            return Err(invalid("a volume of this size does not fit into a qcow2 image"));
        }
        let size = size.next_multiple_of(SECTOR);
        Ok(Self { out: Sink::new(out)?, size, is_compressed, clusters: Clusters::new(size, position), tables })
    }

    fn end_table(&mut self) -> io::Result<()> {
        let Some((table, entries)) = self.tables.l2.take() else { return Ok(()) };
        let at = self.append(&big_endian(&entries))?;
        self.tables.l1.resize(table as usize, 0);
        self.tables.l1.push(at | COPIED);
        Ok(())
    }

    /// Writes one cluster behind all others and says where it is.
    fn append(&mut self, content: &[u8]) -> io::Result<u64> {
        let at = self.tables.refcounts.take();
        self.out.write_at(at, content)?;
        self.end_counts()?;
        Ok(at)
    }

    /// Writes a compressed cluster behind the last one and tells its entry.
    fn pack(&mut self, content: &[u8]) -> io::Result<u64> {
        let (at, refcounts) = (self.tables.packed.take(), &mut self.tables.refcounts);
        let length = content.len() as u64;
        let room = |at: u64| at.next_multiple_of(CLUSTER) - at;
        let at = match at {
            Some(at) if length <= room(at) => {
                refcounts.share(at / CLUSTER);
                at
            }
            // Into the next cluster, too, if that is still to be had.
            Some(at) if room(at) > 0 && at.next_multiple_of(CLUSTER) == refcounts.end() => {
                refcounts.share(at / CLUSTER);
                refcounts.take();
                at
            }
            _ => refcounts.take(),
        };
        self.out.write_at(at, content)?;
        self.tables.packed = Some(at + length);
        self.end_counts()?;
        let sectors = (at + length - 1) / SECTOR - at / SECTOR;
        Ok(COMPRESSED | sectors << SECTORS_SHIFT | at)
    }

    /// Writes the counts that do not change any more.
    fn end_counts(&mut self) -> io::Result<()> {
        while let Some((at, block)) = self.tables.refcounts.full_block() {
            self.out.write_at(at, &block)?;
            let first_open = self.tables.refcounts.first_open();
            self.tables.packed = self.tables.packed.filter(|packed| packed / CLUSTER >= first_open);
        }
        Ok(())
    }

    fn header(&self, refcount_table: u64, refcount_clusters: u64) -> Vec<u8> {
        let (features, compression) = if self.is_compressed { (FEATURE_COMPRESSION_TYPE, ZSTD) } else { (0, 0) };
        let mut header = Vec::with_capacity(HEADER_LENGTH as usize + 8);
        header.extend_from_slice(b"QFI\xfb");
        header.extend_from_slice(&3u32.to_be_bytes()); // version
        header.extend_from_slice(&[0; 12]); // no backing file
        header.extend_from_slice(&CLUSTER_BITS.to_be_bytes());
        header.extend_from_slice(&self.size.to_be_bytes());
        header.extend_from_slice(&0u32.to_be_bytes()); // not encrypted
        header.extend_from_slice(&(l1_entries(self.size) as u32).to_be_bytes());
        header.extend_from_slice(&CLUSTER.to_be_bytes()); // the L1 table is behind the header
        header.extend_from_slice(&refcount_table.to_be_bytes());
        header.extend_from_slice(&(refcount_clusters as u32).to_be_bytes());
        header.extend_from_slice(&[0; 12]); // no internal snapshots
        header.extend_from_slice(&features.to_be_bytes());
        header.extend_from_slice(&[0; 16]); // no features that may be ignored
        header.extend_from_slice(&4u32.to_be_bytes()); // reference counts of 16 bits
        header.extend_from_slice(&HEADER_LENGTH.to_be_bytes());
        header.extend_from_slice(&[compression, 0, 0, 0, 0, 0, 0, 0]);
        header.extend_from_slice(&[0; 8]); // no header extensions
        header
    }
}

impl<W: Write + Seek> ClusterWriter for Qcow2Writer<W> {
    fn clusters(&mut self) -> &mut Clusters {
        &mut self.clusters
    }

    fn put(&mut self, clusters: Vec<Cluster>) -> io::Result<()> {
        let mut smaller = Vec::new();
        if self.is_compressed {
            smaller = compress(&clusters, || Compressor::new(LEVEL), shrink)?;
        }
        smaller.resize(clusters.len(), None);
        for ((cluster, content), smaller) in clusters.into_iter().zip(smaller) {
            let table = cluster / ENTRIES;
            if self.tables.l2.as_ref().is_some_and(|(of, _)| *of != table) {
                self.end_table()?;
            }
            let entry = match smaller {
                Some(smaller) => self.pack(&smaller)?,
                None => self.append(&content)? | COPIED,
            };
            let (_, entries) = self.tables.l2.get_or_insert_with(|| (table, vec![0; ENTRIES as usize]));
            entries[(cluster % ENTRIES) as usize] = entry;
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<(u64, super::Tables)> {
        Ok((self.out.flush()?, super::Tables::Qcow2(self.tables.clone())))
    }

    fn end(&mut self) -> io::Result<()> {
        self.end_table()?;
        let end = self.tables.refcounts.finish();
        for (at, block) in &end.blocks {
            self.out.write_at(*at, block)?;
        }
        let (table, content) = &end.table;
        self.out.write_at(*table, content)?;
        let mut l1 = big_endian(&self.tables.l1);
        l1.resize((l1_entries(self.size).max(1) * 8).next_multiple_of(CLUSTER) as usize, 0);
        self.out.write_at(CLUSTER, &l1)?;
        self.out.flush()?;
        let header = self.header(*table, content.len() as u64 / CLUSTER);
        self.out.write_at(0, &header)?;
        self.out.flush().map(|_| ())
    }
}

/// The cluster compressed, if that frees a sector at least.
fn shrink(compressor: &mut Compressor<'_>, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let smaller = compressor.compress(content)?;
    Ok((smaller.len() as u64 <= CLUSTER - SECTOR).then_some(smaller))
}

fn l1_entries(size: u64) -> u64 {
    size.div_ceil(CLUSTER * ENTRIES)
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}
