//! Lays out a streamOptimized VMDK, what an OVA holds, in one ascending pass.
//!
//! ```text
//! sector 0       header, written last: "the directory is named by the footer"
//! sector 1…      descriptor: text that says what the disk is
//! sector 128…    grains of 64 KiB, compressed with deflate, each behind a marker that says its place in the volume;
//!                behind those of each 32 MiB of the volume, a marker and the table that names them
//! at the end     a marker and the directory of the tables, a marker and the footer, the marker of the end
//! ```
//!
//! Grains and tables that would name nothing but zeros are left out. Numbers are little-endian and count sectors.

use super::clusters::{CLUSTER, Cluster, ClusterWriter, Clusters};
use super::compress::compress;
use super::invalid;
use super::sink::Sink;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use std::io::{self, Seek, Write};

/// The largest disk that VMware has.
pub(super) const LIMIT: u64 = 62 << 40;
const SECTOR: u64 = 512;
const GRAIN_SECTORS: u64 = CLUSTER / SECTOR;
/// Grains that one table names.
const ENTRIES: u64 = 512;
/// Sectors before the first grain.
const OVERHEAD: u64 = GRAIN_SECTORS;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Places in the file are numbers of 32 bits.
const MAX_SECTORS: u64 = u32::MAX as u64;
/// "Lines end as they should", "grains are compressed", "there are markers".
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
/// Says that the directory is behind the grains.
const DIRECTORY_AT_END: u64 = u64::MAX;
const DEFLATE: u16 = 1;
/// Higher ones take long for little.
const LEVEL: u32 = 4;
/// What a marker stands before.
const TABLE: u32 = 1;
const DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;

/// What names the grains.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Tables {
    /// Random: by it VMware knows whether the content is what it was.
    content: u32,
    /// Sectors of the file so far.
    end: u64,
    /// Places of grain tables, 0 where there is none; as far as there are any.
    directory: Vec<u32>,
    /// The grain table that is being filled.
    table: Option<(u64, Vec<u32>)>,
}

impl Tables {
    /// Those of an empty volume.
    pub fn new(id: u128) -> Self {
        // The two highest stand for "none".
        let content = (id as u32).min(u32::MAX - 2);
        Self { content, end: OVERHEAD, directory: Vec::new(), table: None }
    }
}

/// Writes a VMDK to `out`.
pub(super) struct VmdkWriter<W> {
    out: Sink<W>,
    /// Of the volume.
    sectors: u64,
    clusters: Clusters,
    tables: Tables,
}

impl<W: Write + Seek> VmdkWriter<W> {
    /// An image of a volume of `size` bytes, rounded up to whole sectors. `tables` are those of what is there before
    /// `position`.
    pub fn new(out: W, size: u64, position: u64, tables: Tables) -> io::Result<Self> {
        if size > LIMIT {
            return Err(invalid("a volume of this size does not fit into a VMDK"));
        }
        let sectors = size.div_ceil(SECTOR);
        let clusters = Clusters::new(sectors * SECTOR, position);
        Ok(Self { out: Sink::new(out)?, sectors, clusters, tables })
    }

    fn end_table(&mut self) -> io::Result<()> {
        let Some((table, entries)) = self.tables.table.take() else { return Ok(()) };
        let at = self.append_marked(TABLE, little_endian(&entries))?;
        self.tables.directory.resize(table as usize, 0);
        self.tables.directory.push(at);
        Ok(())
    }

    /// Writes `content` behind a marker of its kind, and says where it is.
    fn append_marked(&mut self, kind: u32, content: Vec<u8>) -> io::Result<u32> {
        let sectors = (content.len() as u64).div_ceil(SECTOR);
        self.append(marker(kind, sectors))?;
        self.append(content)
    }

    /// Writes `content` in whole sectors behind all others, and says where it is.
    fn append(&mut self, mut content: Vec<u8>) -> io::Result<u32> {
        content.resize(content.len().next_multiple_of(SECTOR as usize), 0);
        let (at, sectors) = (self.tables.end, content.len() as u64 / SECTOR);
        let fits = at + sectors <= MAX_SECTORS;
        let place = u32::try_from(at).ok().filter(|_| fits);
        let place = place.ok_or_else(|| invalid("a VMDK of this kind has at most 2 TiB of compressed data"))?;
        self.out.write_at(at * SECTOR, &content)?;
        self.tables.end += sectors;
        Ok(place)
    }

    fn header(&self, directory: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(SECTOR as usize);
        header.extend_from_slice(b"KDMV");
        header.extend_from_slice(&3u32.to_le_bytes()); // version
        header.extend_from_slice(&FLAGS.to_le_bytes());
        header.extend_from_slice(&self.sectors.to_le_bytes());
        header.extend_from_slice(&GRAIN_SECTORS.to_le_bytes());
        header.extend_from_slice(&1u64.to_le_bytes()); // the descriptor is behind the header
        header.extend_from_slice(&DESCRIPTOR_SECTORS.to_le_bytes());
        header.extend_from_slice(&(ENTRIES as u32).to_le_bytes());
        header.extend_from_slice(&0u64.to_le_bytes()); // no second directory
        header.extend_from_slice(&directory.to_le_bytes());
        header.extend_from_slice(&OVERHEAD.to_le_bytes());
        header.push(0); // closed as it should
        header.extend_from_slice(b"\n \r\n"); // shows whether somebody took it for text
        header.extend_from_slice(&DEFLATE.to_le_bytes());
        header.resize(SECTOR as usize, 0);
        header
    }

    fn descriptor(&self) -> Vec<u8> {
        let (content, sectors) = (self.tables.content, self.sectors);
        // 255 heads of 63 sectors are what firmware shows of a disk of any size.
        let cylinders = (sectors / (255 * 63)).clamp(1, 65_535);
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID={content:08x}\nparentCID=ffffffff\n\
             createType=\"streamOptimized\"\n\n# Extent description\nRW {sectors} SPARSE \"disk.vmdk\"\n\n\
             # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.adapterType = \"lsilogic\"\n\
             ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"255\"\n\
             ddb.geometry.sectors = \"63\"\n"
        );
        let mut descriptor = text.into_bytes();
        descriptor.resize((DESCRIPTOR_SECTORS * SECTOR) as usize, 0);
        descriptor
    }
}

impl<W: Write + Seek> ClusterWriter for VmdkWriter<W> {
    fn clusters(&mut self) -> &mut Clusters {
        &mut self.clusters
    }

    fn put(&mut self, grains: Vec<Cluster>) -> io::Result<()> {
        let compressed = compress(&grains, || Ok(()), |(), content| deflate(content))?;
        for ((grain, _), content) in grains.into_iter().zip(compressed) {
            let table = grain / ENTRIES;
            if self.tables.table.as_ref().is_some_and(|(of, _)| *of != table) {
                self.end_table()?;
            }
            let mut record = Vec::with_capacity(content.len() + 2 * SECTOR as usize);
            record.extend_from_slice(&(grain * GRAIN_SECTORS).to_le_bytes());
            record.extend_from_slice(&(content.len() as u32).to_le_bytes());
            record.extend_from_slice(&content);
            let at = self.append(record)?;
            let (_, entries) = self.tables.table.get_or_insert_with(|| (table, vec![0; ENTRIES as usize]));
            entries[(grain % ENTRIES) as usize] = at;
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<(u64, super::Tables)> {
        Ok((self.out.flush()?, super::Tables::Vmdk(self.tables.clone())))
    }

    fn end(&mut self) -> io::Result<()> {
        self.end_table()?;
        let mut directory = std::mem::take(&mut self.tables.directory);
        directory.resize(self.sectors.div_ceil(GRAIN_SECTORS * ENTRIES) as usize, 0);
        let directory = self.append_marked(DIRECTORY, little_endian(&directory))?;
        self.append_marked(FOOTER, self.header(u64::from(directory)))?;
        self.append(marker(0, 0))?;
        self.out.write_at(SECTOR, &self.descriptor())?;
        self.out.flush()?;
        self.out.write_at(0, &self.header(DIRECTORY_AT_END))?;
        self.out.flush().map(|_| ())
    }
}

/// A sector that says that `sectors` of a kind follow.
fn marker(kind: u32, sectors: u64) -> Vec<u8> {
    let mut marker = Vec::with_capacity(SECTOR as usize);
    marker.extend_from_slice(&sectors.to_le_bytes());
    marker.extend_from_slice(&0u32.to_le_bytes()); // not a grain
    marker.extend_from_slice(&kind.to_le_bytes());
    marker.resize(SECTOR as usize, 0);
    marker
}

fn deflate(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(content.len() / 2), Compression::new(LEVEL));
    encoder.write_all(content)?;
    encoder.finish()
}

fn little_endian(entries: &[u32]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::VolumeWriter;
    use super::*;
    use std::io::Cursor;

    #[test]
    fn what_a_place_of_32_bits_cannot_name_is_refused() {
        // As if nearly 2 TiB were written: the grain would fit, its table does not.
        let tables = Tables { end: MAX_SECTORS - 5, ..Tables::new(1) };
        let file = tempfile::tempfile().unwrap();
        let mut writer = VmdkWriter::new(file, 1 << 20, 0, tables).unwrap();
        writer.write(0, &[1; 512]).unwrap();
        assert!(writer.finish().unwrap_err().to_string().contains("2 TiB"));
        assert!(VmdkWriter::new(Cursor::new(Vec::new()), LIMIT + 1, 0, Tables::new(1)).is_err());
    }
}
