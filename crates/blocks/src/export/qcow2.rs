//! Lays out a qcow2 file (version 3, clusters of 64 KiB, not compressed) in one ascending pass.
//!
//! ```text
//! cluster 0      header, written last
//! cluster 1…     L1 table, written last
//! then           data clusters; behind those of each 512 MiB of the volume, the L2 table that names them
//! at the end     refcount blocks, then the refcount table
//! ```
//!
//! As the header comes last, an interrupted export is not mistaken for an image.

use super::{VolumeWriter, check_order};
use crate::block::is_zero;
use std::io::{self, Seek, SeekFrom, Write};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of 8 bytes in one L2 table or in one cluster of another table.
const ENTRIES: u64 = CLUSTER / 8;
/// Reference counts of 16 bits in one refcount block.
const COUNTS: u64 = CLUSTER / 2;
/// "This cluster is used once": lets QEMU write to it without looking at the count.
const COPIED: u64 = 1 << 63;
const HEADER_LENGTH: u32 = 104;

/// Writes a qcow2 image to `out`.
pub struct Qcow2Writer<W> {
    out: W,
    size: u64,
    position: u64,
    /// Clusters of the file given away so far.
    n_clusters: u64,
    /// Offsets of L2 tables, 0 where there is none.
    l1: Vec<u64>,
    /// The L2 table that is being filled.
    l2: Option<(u64, Vec<u64>)>,
    /// The cluster of the volume that is being filled.
    cluster: Option<(u64, Vec<u8>)>,
}

impl<W: Write + Seek> Qcow2Writer<W> {
    /// An image of a volume of `size` bytes; rounded up to whole sectors, as QEMU does.
    pub fn new(out: W, size: u64) -> io::Result<Self> {
        let size = size.checked_next_multiple_of(512).ok_or_else(|| invalid("volume too large"))?;
        let l1_entries = size.div_ceil(CLUSTER * ENTRIES);
        // QEMU refuses larger L1 tables.
        if l1_entries * 8 > 32 << 20 {
            return Err(invalid("a volume of this size does not fit into a qcow2 image"));
        }
        let l1_clusters = l1_entries.div_ceil(ENTRIES).max(1);
        let l1 = vec![0; usize::try_from(l1_entries).map_err(|_| invalid("volume too large"))?];
        Ok(Self { out, size, position: 0, n_clusters: 1 + l1_clusters, l1, l2: None, cluster: None })
    }

    /// Puts the filled cluster into the file, unless it is all zeros.
    fn end_cluster(&mut self) -> io::Result<()> {
        let Some((cluster, content)) = self.cluster.take() else { return Ok(()) };
        if is_zero(&content) {
            return Ok(());
        }
        let table = cluster / ENTRIES;
        if self.l2.as_ref().is_some_and(|(of, _)| *of != table) {
            self.end_table()?;
        }
        let at = self.append(&content)?;
        let (_, entries) = self.l2.get_or_insert_with(|| (table, vec![0; ENTRIES as usize]));
        entries[(cluster % ENTRIES) as usize] = at | COPIED;
        Ok(())
    }

    fn end_table(&mut self) -> io::Result<()> {
        let Some((table, entries)) = self.l2.take() else { return Ok(()) };
        let at = self.append(&big_endian(&entries))?;
        self.l1[table as usize] = at | COPIED;
        Ok(())
    }

    /// Writes one cluster behind all others and says where it is.
    fn append(&mut self, content: &[u8]) -> io::Result<u64> {
        let at = self.n_clusters * CLUSTER;
        self.n_clusters += 1;
        self.write_at(at, content)?;
        Ok(at)
    }

    fn write_at(&mut self, at: u64, content: &[u8]) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(content)
    }

    /// Writes refcount blocks and table; returns the offset of the table and its length in clusters.
    fn end_refcounts(&mut self) -> io::Result<(u64, u64)> {
        // Blocks and table are counted too, so their number depends on itself: it grows until it fits.
        let (mut n_blocks, mut n_table) = (1, 1);
        loop {
            let total = self.n_clusters + n_blocks + n_table;
            let needed = (total.div_ceil(COUNTS), total.div_ceil(COUNTS).div_ceil(ENTRIES));
            if needed == (n_blocks, n_table) {
                break;
            }
            (n_blocks, n_table) = (needed.0.max(n_blocks), needed.1.max(n_table));
        }
        let total = self.n_clusters + n_blocks + n_table;
        let mut table = vec![0; (n_table * ENTRIES) as usize];
        for block in 0..n_blocks {
            let used = total.saturating_sub(block * COUNTS).min(COUNTS) as usize;
            let mut counts = vec![0; CLUSTER as usize];
            counts[..used * 2].chunks_exact_mut(2).for_each(|count| count.copy_from_slice(&[0, 1]));
            table[block as usize] = self.append(&counts)?;
        }
        let at = self.n_clusters * CLUSTER;
        self.n_clusters += n_table;
        self.write_at(at, &big_endian(&table))?;
        Ok((at, n_table))
    }

    fn header(&self, refcount_table: u64, refcount_clusters: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LENGTH as usize + 8);
        header.extend_from_slice(b"QFI\xfb");
        header.extend_from_slice(&3u32.to_be_bytes()); // version
        header.extend_from_slice(&[0; 12]); // no backing file
        header.extend_from_slice(&CLUSTER_BITS.to_be_bytes());
        header.extend_from_slice(&self.size.to_be_bytes());
        header.extend_from_slice(&0u32.to_be_bytes()); // not encrypted
        header.extend_from_slice(&(self.l1.len() as u32).to_be_bytes());
        header.extend_from_slice(&CLUSTER.to_be_bytes()); // the L1 table is behind the header
        header.extend_from_slice(&refcount_table.to_be_bytes());
        header.extend_from_slice(&(refcount_clusters as u32).to_be_bytes());
        header.extend_from_slice(&[0; 12]); // no internal snapshots
        header.extend_from_slice(&[0; 24]); // no features
        header.extend_from_slice(&4u32.to_be_bytes()); // reference counts of 16 bits
        header.extend_from_slice(&HEADER_LENGTH.to_be_bytes());
        header.extend_from_slice(&[0; 8]); // no header extensions
        header
    }
}

impl<W: Write + Seek> VolumeWriter for Qcow2Writer<W> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_order(offset, bytes, self.position, self.size)?;
        self.position = offset + bytes.len() as u64;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let cluster = at / CLUSTER;
            let within = (at % CLUSTER) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(CLUSTER as usize - within));
            if self.cluster.as_ref().is_some_and(|(open, _)| *open != cluster) {
                self.end_cluster()?;
            }
            let (_, content) = self.cluster.get_or_insert_with(|| (cluster, vec![0; CLUSTER as usize]));
            content[within..within + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_cluster()?;
        self.end_table()?;
        let (table, n_table) = self.end_refcounts()?;
        let mut l1 = big_endian(&self.l1);
        l1.resize(l1.len().max(1).next_multiple_of(CLUSTER as usize), 0);
        self.write_at(CLUSTER, &l1)?;
        self.out.flush()?;
        let header = self.header(table, n_table);
        self.write_at(0, &header)?;
        self.out.flush()
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::RawWriter;
    use proptest::prelude::*;
    use std::fs::File;
    use std::path::Path;
    use std::process::Command;

    fn qemu_img(arguments: &[&str]) -> String {
        let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed by the set-up");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "qemu-img {arguments:?}: {text}");
        text
    }

    /// Writes the same extents both ways and lets QEMU compare.
    fn compare(folder: &Path, size: u64, extents: &[(u64, Vec<u8>)]) {
        let (raw, qcow2) = (folder.join("a.raw"), folder.join("a.qcow2"));
        let open = |path: &Path| File::create(path).unwrap();
        let writers: [Box<dyn VolumeWriter>; 2] = [
            Box::new(RawWriter::new(open(&raw), size).unwrap()),
            Box::new(Qcow2Writer::new(open(&qcow2), size).unwrap()),
        ];
        for mut writer in writers {
            for (offset, bytes) in extents {
                writer.write(*offset, bytes).unwrap();
            }
            writer.finish().unwrap();
        }
        let (raw, qcow2) = (raw.to_str().unwrap(), qcow2.to_str().unwrap());
        assert!(qemu_img(&["check", "-f", "qcow2", qcow2]).contains("No errors"));
        assert!(qemu_img(&["compare", "-f", "raw", "-F", "qcow2", raw, qcow2]).contains("identical"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn qemu_finds_both_files_whole_and_equal(
            sectors in 1u64..6_000_000,
            pieces in proptest::collection::vec((any::<proptest::sample::Index>(), 1usize..200_000, 0u8..3), 0..12),
        ) {
            let size = sectors * 512;
            let mut starts: Vec<(u64, usize, u8)> =
                pieces.iter().map(|(at, l, fill)| (at.index(size as usize) as u64, *l, *fill)).collect();
            starts.sort_unstable();
            let mut end = 0;
            let mut extents = Vec::new();
            for (start, length, fill) in starts {
                let start = start.max(end);
                end = (start + length as u64).min(size);
                extents.push((start, vec![fill; (end - start) as usize]));
            }
            let folder = tempfile::tempdir().unwrap();
            compare(folder.path(), size, &extents);
        }
    }

    #[test]
    fn an_empty_and_a_huge_volume_are_images() {
        let folder = tempfile::tempdir().unwrap();
        compare(folder.path(), 512, &[]);
        let path = folder.path().join("huge.qcow2");
        let mut writer = Qcow2Writer::new(File::create(&path).unwrap(), 64 << 40).unwrap();
        writer.write((63 << 40) + 5, b"far out").unwrap();
        writer.finish().unwrap();
        assert!(qemu_img(&["check", "-f", "qcow2", path.to_str().unwrap()]).contains("No errors"));
        assert!(std::fs::metadata(&path).unwrap().len() < 4 << 20);
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        let mut writer = Qcow2Writer::new(std::io::Cursor::new(Vec::new()), 1 << 20).unwrap();
        writer.write(1000, b"abc").unwrap();
        assert!(writer.write(1002, b"d").is_err());
        assert!(writer.write((1 << 20) - 1, b"de").is_err());
        assert!(Qcow2Writer::new(std::io::Cursor::new(Vec::new()), u64::MAX).is_err());
    }
}
