//! What a VHDX begins with: identifier, headers, region tables, and the metadata.

use crc::{CRC_32_ISCSI, Crc};

/// What most things in a VHDX are aligned to.
pub(super) const MIB: u64 = 1 << 20;
/// Where the metadata is: behind the log.
pub(super) const METADATA_AT: u64 = LOG_AT + MIB;
const LOG_AT: u64 = MIB;
const KIB: usize = 1 << 10;
/// Where headers and region tables are, twice each.
const HEADERS_AT: [u64; 2] = [64 << 10, 128 << 10];
const REGIONS_AT: [u64; 2] = [192 << 10, 256 << 10];
/// Items of the metadata are behind their table, which has this length.
const ITEMS_AT: usize = 64 * KIB;
const IS_REQUIRED: u32 = 4;
const IS_OF_THE_DISK: u32 = 2;
const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Names of regions and items, as they are written in documents.
const BAT: u128 = 0x2DC27766_F623_4200_9D64_115E9BFD4A08;
const METADATA: u128 = 0x8B7CA206_4790_4B9A_B8FE_575F050F886E;
const FILE_PARAMETERS: u128 = 0xCAA16737_FA36_4D43_B3B6_33F0AA44E76B;
const DISK_SIZE: u128 = 0x2FA54224_CD1B_4876_B211_5DBED83BF4B8;
const DISK_ID: u128 = 0xBECA12AB_B2E6_4523_93EF_C309E000C746;
const LOGICAL_SECTOR: u128 = 0x8141BF1D_A96F_4709_BA47_F233A8FAAB5F;
const PHYSICAL_SECTOR: u128 = 0xCDA348C7_445D_4471_9CC9_E9885251C556;

/// The first MiB.
pub(super) struct Front {
    id: u128,
    bat: (u64, u64),
}

impl Front {
    /// Of the disk `id`, whose table is at `bat` and has `bat_length` bytes.
    pub fn new(id: u128, bat: u64, bat_length: u64) -> Self {
        Self { id, bat: (bat, bat_length) }
    }

    /// What makes the file a VHDX.
    pub fn identifier(&self) -> Vec<u8> {
        let mut identifier = b"vhdxfile".to_vec();
        identifier.extend("Godwit".encode_utf16().flat_map(u16::to_le_bytes));
        identifier.resize(64 * KIB, 0);
        identifier
    }

    /// Headers and region tables.
    pub fn behind_identifier(&self) -> Vec<(u64, Vec<u8>)> {
        let regions = self.regions();
        let headers = HEADERS_AT.iter().zip(1..).map(|(at, number)| (*at, self.header(number)));
        headers.chain(REGIONS_AT.iter().map(|at| (*at, regions.clone()))).collect()
    }

    fn header(&self, number: u64) -> Vec<u8> {
        let mut header = b"head\0\0\0\0".to_vec();
        header.extend_from_slice(&number.to_le_bytes());
        // Who writes to the file gives it new ones of these.
        header.extend_from_slice(&guid(self.id.wrapping_add(1)));
        header.extend_from_slice(&guid(self.id.wrapping_add(2)));
        header.extend_from_slice(&[0; 16]); // the log is empty
        header.extend_from_slice(&0u16.to_le_bytes()); // version of the log
        header.extend_from_slice(&1u16.to_le_bytes()); // version of the file
        header.extend_from_slice(&(MIB as u32).to_le_bytes());
        header.extend_from_slice(&LOG_AT.to_le_bytes());
        header.resize(4 * KIB, 0);
        summed(header)
    }

    fn regions(&self) -> Vec<u8> {
        let mut regions = b"regi\0\0\0\0".to_vec();
        regions.extend_from_slice(&2u32.to_le_bytes());
        regions.extend_from_slice(&[0; 4]);
        for (name, at, length) in [(BAT, self.bat.0, self.bat.1), (METADATA, METADATA_AT, MIB)] {
            regions.extend_from_slice(&guid(name));
            regions.extend_from_slice(&at.to_le_bytes());
            regions.extend_from_slice(&(length as u32).to_le_bytes());
            regions.extend_from_slice(&1u32.to_le_bytes()); // who does not know it must not go on
        }
        regions.resize(64 * KIB, 0);
        summed(regions)
    }
}

/// The metadata of a disk of `size` bytes in blocks of `block`.
pub(super) fn metadata(size: u64, block: u64, id: u128) -> Vec<u8> {
    let items: [(u128, u32, Vec<u8>); 5] = [
        // Behind the size of blocks: nothing is kept allocated, and there is no parent.
        (FILE_PARAMETERS, IS_REQUIRED, [(block as u32).to_le_bytes(), [0; 4]].concat()),
        (DISK_SIZE, IS_REQUIRED | IS_OF_THE_DISK, size.to_le_bytes().to_vec()),
        (DISK_ID, IS_REQUIRED | IS_OF_THE_DISK, guid(id).to_vec()),
        (LOGICAL_SECTOR, IS_REQUIRED | IS_OF_THE_DISK, 512u32.to_le_bytes().to_vec()),
        (PHYSICAL_SECTOR, IS_REQUIRED | IS_OF_THE_DISK, 512u32.to_le_bytes().to_vec()),
    ];
    let mut table = b"metadata\0\0".to_vec();
    table.extend_from_slice(&(items.len() as u16).to_le_bytes());
    table.resize(32, 0);
    let mut content = Vec::new();
    for (name, flags, item) in items {
        table.extend_from_slice(&guid(name));
        table.extend_from_slice(&((ITEMS_AT + content.len()) as u32).to_le_bytes());
        table.extend_from_slice(&(item.len() as u32).to_le_bytes());
        table.extend_from_slice(&flags.to_le_bytes());
        table.extend_from_slice(&[0; 4]);
        content.extend(item);
    }
    table.resize(ITEMS_AT, 0);
    table.extend(content);
    table
}

/// Its first three parts are little-endian numbers.
fn guid(name: u128) -> [u8; 16] {
    let mut bytes = name.to_be_bytes();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// With the checksum of the whole behind the signature.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = CASTAGNOLI.checksum(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}
