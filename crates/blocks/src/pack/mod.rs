//! Packs: immutable objects that hold many encrypted records. Layout, pure.
//!
//! ```text
//! header   40  mark, version, key id, pack id
//! records   …  each: ciphertext and a tag of 16 bytes; a block or a page of a snapshot's tree
//! index     …  ciphertext and tag: what each record is
//! footer   80  where the index is, the key's version, which blocks are inside, checksum of header and footer
//! ```
//!
//! A reader that knows a record's [`Place`] needs one range of the pack and nothing else. The index is for those who find
//! a pack without knowing its content: resuming runs and, later, moving blocks. See `docs/formats.md` for every byte.

pub(crate) mod builder;
mod ids;
pub(crate) mod opener;
pub(crate) mod reader;

pub use ids::PackSet;
pub use reader::pack_is_complete;

use crate::block::{Codec, Digest};
use crate::crypt::TAG;
use crate::damage::Damage;
use godwit_model::id::KeyId;

/// A pack is sent when it has reached this many bytes. Small enough that three of them (one filling, two on their way)
/// leave room in the 96 MiB that the whole process may take, and that little is lost when a run is interrupted; large
/// enough that objects are few and syncing one costs little for each block.
pub const PACK_TARGET: usize = 12 << 20;

/// Most records of a pack: bounds the memory that an index takes, also where blocks compress to nearly nothing.
pub const MAX_RECORDS: usize = 8192;

/// Longest content of a record: the largest block.
pub(crate) const MAX_RAW: u32 = 1 << 20;

pub(crate) const HEADER: usize = 40;
pub(crate) const FOOTER: usize = 80;
pub(crate) const ENTRY: usize = 52;

/// "Ordinal" of the index in its pack: no record ever has it.
pub(crate) const INDEX_ORDINAL: u64 = u64::MAX;

const MAGIC: &[u8; 7] = b"GODWITP";
const END_MAGIC: &[u8; 7] = b"GODWITE";
/// Format of a pack under the first version of its key.
const VERSION: u8 = 1;
/// Format of a pack under a later version, which the footer names.
const VERSION_OF_LATER_KEYS: u8 = 2;
const CHECKED: usize = 48;
const CHECKSUM: usize = 24;

/// What a record holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A block of the volume.
    Block,
    /// A page of the snapshot's tree, at this level (0 is the leaves').
    Page(u8),
}

impl What {
    /// As it is stored.
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            What::Block => 0,
            What::Page(level) => level + 1,
        }
    }

    const fn from_byte(byte: u8) -> Option<What> {
        match byte {
            0 => Some(What::Block),
            1..=8 => Some(What::Page(byte - 1)),
            _ => None,
        }
    }
}

/// Where the bytes of a block or page are, and how to get them back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The digits of the pack's id.
    pub pack: u128,
    /// Where the record begins in the pack.
    pub offset: u32,
    /// Length of the record, its tag included.
    pub stored: u32,
    /// Length of the content.
    pub raw: u32,
    /// The record's number in the pack.
    pub ordinal: u32,
    /// How the content is compressed.
    pub codec: Codec,
    /// The version of the key that the pack is encrypted under.
    pub key_version: u32,
}

impl Place {
    /// First byte behind the record.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.stored)
    }

    /// Whether a record can be like this at all.
    pub(crate) fn is_possible(&self) -> bool {
        let text = self.stored.checked_sub(TAG as u32);
        self.raw > 0
            && self.key_version > 0
            && self.raw <= MAX_RAW
            && self.offset as usize >= HEADER
            && self.offset.checked_add(self.stored).is_some()
            && text.is_some_and(|text| match self.codec {
                Codec::Raw => text == self.raw,
                Codec::Zstd => text > 0 && text < self.raw,
            })
    }

    /// What a record is bound to: opened as anything else, it does not open.
    pub(crate) fn bound(&self, what: What) -> [u8; 32] {
        let mut bound = [0; 32];
        bound[..16].copy_from_slice(&self.pack.to_be_bytes());
        bound[16..24].copy_from_slice(&u64::from(self.ordinal).to_le_bytes());
        bound[24..28].copy_from_slice(&self.raw.to_le_bytes());
        bound[28] = what.to_byte();
        bound[29] = self.codec.to_byte();
        bound
    }
}

/// One record, as the index tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) what: What,
    /// Number of the block in the volume, or of the page in its level.
    pub(crate) number: u64,
    pub(crate) digest: Digest,
    pub(crate) place: Place,
}

/// The unencrypted end of a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) pack: u128,
    pub(crate) index_offset: u64,
    pub(crate) index_length: u32,
    pub(crate) n_records: u32,
    /// First and last number of the blocks inside, if there are any.
    pub(crate) blocks: Option<(u64, u64)>,
    /// The version of the key that the pack is encrypted under.
    pub(crate) key_version: u32,
}

impl Footer {
    /// Length of the whole pack.
    pub(crate) fn pack_length(&self) -> u64 {
        self.index_offset + u64::from(self.index_length) + FOOTER as u64
    }
}

/// The format of a pack under this version of its key.
fn format_of(key_version: u32) -> u8 {
    if key_version == 1 { VERSION } else { VERSION_OF_LATER_KEYS }
}

pub(crate) fn encode_header(key: &KeyId, key_version: u32, pack: u128) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..7].copy_from_slice(MAGIC);
    header[7] = format_of(key_version);
    header[8..24].copy_from_slice(&key.to_bytes());
    header[24..].copy_from_slice(&pack.to_be_bytes());
    header
}

/// The key that the pack of this header says it is encrypted with.
pub(crate) fn key_of(header: &[u8]) -> Result<KeyId, Damage> {
    let id = header.get(8..24).ok_or(Damage::Short { part: "the pack's header" })?;
    Ok(KeyId::from_bits(u128::from_be_bytes(array(id))))
}

/// Checks that `header` is the one of the pack `pack`.
pub(crate) fn check_header(header: &[u8], key: &KeyId, pack: u128) -> Result<(), Damage> {
    const PART: &str = "the pack's header";
    if header.len() != HEADER {
        return Err(Damage::Short { part: PART });
    }
    if header[..7] != MAGIC[..] {
        return Err(Damage::Magic { part: PART });
    }
    if !matches!(header[7], VERSION | VERSION_OF_LATER_KEYS) {
        return Err(Damage::Version { part: PART, found: header[7] });
    }
    if header[8..24] != key.to_bytes() {
        return Err(Damage::Field { part: PART, field: "key id (damaged, or made under another key)" });
    }
    if header[24..] != pack.to_be_bytes() {
        return Err(Damage::Field { part: PART, field: "pack id" });
    }
    Ok(())
}

pub(crate) fn encode_footer(header: &[u8; HEADER], footer: &Footer) -> [u8; FOOTER] {
    let mut bytes = [0; FOOTER];
    bytes[..16].copy_from_slice(&footer.pack.to_be_bytes());
    bytes[16..24].copy_from_slice(&footer.index_offset.to_le_bytes());
    if footer.key_version > 1 {
        bytes[20..24].copy_from_slice(&footer.key_version.to_le_bytes());
    }
    bytes[24..28].copy_from_slice(&footer.index_length.to_le_bytes());
    bytes[28..32].copy_from_slice(&footer.n_records.to_le_bytes());
    let (first, last) = footer.blocks.unwrap_or((u64::MAX, 0));
    bytes[32..40].copy_from_slice(&first.to_le_bytes());
    bytes[40..48].copy_from_slice(&last.to_le_bytes());
    let checksum = footer_checksum(header, &bytes);
    bytes[CHECKED..CHECKED + CHECKSUM].copy_from_slice(&checksum);
    bytes[72..79].copy_from_slice(END_MAGIC);
    bytes[79] = format_of(footer.key_version);
    bytes
}

/// The footer in `bytes` of the pack `pack`, whose header is `header` and whose length is `size`.
pub(crate) fn decode_footer(bytes: &[u8], header: &[u8; HEADER], pack: u128, size: u64) -> Result<Footer, Damage> {
    const PART: &str = "the pack's footer";
    let bytes: &[u8; FOOTER] = bytes.try_into().map_err(|_| Damage::Short { part: PART })?;
    if bytes[72..79] != END_MAGIC[..] {
        return Err(Damage::Magic { part: PART });
    }
    if bytes[79] != header[7] || !matches!(bytes[79], VERSION | VERSION_OF_LATER_KEYS) {
        return Err(Damage::Version { part: PART, found: bytes[79] });
    }
    if bytes[CHECKED..CHECKED + CHECKSUM] != footer_checksum(header, bytes) {
        return Err(Damage::Changed { part: PART, proof: "checksum" });
    }
    let (index_offset, key_version) = match bytes[79] {
        VERSION => (u64::from_le_bytes(array(&bytes[16..24])), 1),
        _ => (u64::from(u32::from_le_bytes(array(&bytes[16..20]))), u32::from_le_bytes(array(&bytes[20..24]))),
    };
    let footer = Footer {
        pack: u128::from_be_bytes(array(&bytes[..16])),
        index_offset,
        key_version,
        index_length: u32::from_le_bytes(array(&bytes[24..28])),
        n_records: u32::from_le_bytes(array(&bytes[28..32])),
        blocks: match (u64::from_le_bytes(array(&bytes[32..40])), u64::from_le_bytes(array(&bytes[40..48]))) {
            (u64::MAX, _) => None,
            range => Some(range),
        },
    };
    let field = |field| Err(Damage::Field { part: PART, field });
    if footer.pack != pack {
        return field("pack id");
    }
    if format_of(footer.key_version) != bytes[79] || footer.key_version == 0 {
        return field("key version");
    }
    if footer.n_records as usize > MAX_RECORDS {
        return field("number of records");
    }
    if footer.index_length as usize != footer.n_records as usize * ENTRY + TAG {
        return field("length of the index");
    }
    if footer.index_offset < HEADER as u64 || footer.index_offset > u64::from(u32::MAX) || footer.pack_length() != size
    {
        return field("place of the index");
    }
    Ok(footer)
}

/// What the index is bound to: everything that is not encrypted.
pub(crate) fn index_bound(header: &[u8; HEADER], footer: &Footer) -> [u8; HEADER + CHECKED] {
    let mut bound = [0; HEADER + CHECKED];
    bound[..HEADER].copy_from_slice(header);
    bound[HEADER..].copy_from_slice(&encode_footer(header, footer)[..CHECKED]);
    bound
}

pub(crate) fn encode_index(entries: &[IndexEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY + TAG);
    for entry in entries {
        bytes.extend_from_slice(&[entry.what.to_byte(), entry.place.codec.to_byte(), 0, 0]);
        bytes.extend_from_slice(&entry.place.stored.to_le_bytes());
        bytes.extend_from_slice(&entry.place.raw.to_le_bytes());
        bytes.extend_from_slice(&entry.number.to_le_bytes());
        bytes.extend_from_slice(&entry.digest.0);
    }
    bytes
}

/// The entries of a decrypted index. Offsets and ordinals are not stored: records lie one behind the other.
pub(crate) fn decode_index(bytes: &[u8], footer: &Footer) -> Result<Vec<IndexEntry>, Damage> {
    const PART: &str = "the pack's index";
    if bytes.len() != footer.n_records as usize * ENTRY {
        return Err(Damage::Short { part: PART });
    }
    let field = |field| Damage::Field { part: PART, field };
    let mut entries = Vec::with_capacity(footer.n_records as usize);
    let mut offset = HEADER as u32;
    for (ordinal, bytes) in (0u32..).zip(bytes.chunks_exact(ENTRY)) {
        let place = Place {
            pack: footer.pack,
            offset,
            stored: u32::from_le_bytes(array(&bytes[4..8])),
            raw: u32::from_le_bytes(array(&bytes[8..12])),
            ordinal,
            codec: Codec::from_byte(bytes[1]).ok_or(field("codec"))?,
            key_version: footer.key_version,
        };
        if !place.is_possible() {
            return Err(field("length of a record"));
        }
        offset += place.stored;
        entries.push(IndexEntry {
            what: What::from_byte(bytes[0]).ok_or(field("kind of a record"))?,
            number: u64::from_le_bytes(array(&bytes[12..20])),
            digest: Digest(array(&bytes[20..ENTRY])),
            place,
        });
    }
    if u64::from(offset) != footer.index_offset {
        return Err(field("sum of the records' lengths"));
    }
    Ok(entries)
}

fn footer_checksum(header: &[u8; HEADER], footer: &[u8; FOOTER]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(&footer[..CHECKED]);
    array(&hasher.finalize().as_bytes()[..CHECKSUM])
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut exactly as many bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn footer() -> Footer {
        Footer {
            pack: 3,
            index_offset: 1000,
            index_length: (2 * ENTRY + TAG) as u32,
            n_records: 2,
            blocks: Some((4, 9)),
            key_version: 1,
        }
    }

    #[test]
    fn every_flipped_bit_of_header_and_footer_is_found() {
        for key_version in [1, 2, 3, u32::MAX] {
            flip_bits_of(Footer { key_version, ..footer() });
        }
    }

    fn flip_bits_of(footer: Footer) {
        let key = KeyId::from_bits(1);
        let header = encode_header(&key, footer.key_version, 3);
        let bytes = encode_footer(&header, &footer);
        let size = footer.pack_length();
        assert_eq!(decode_footer(&bytes, &header, 3, size), Ok(footer));
        assert_eq!(check_header(&header, &key, 3), Ok(()));
        for bit in 0..FOOTER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_footer(&bad, &header, 3, size).is_err(), "bit {bit}");
        }
        for bit in 0..HEADER * 8 {
            let mut bad = header;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check_header(&bad, &key, 3).is_err(), "bit {bit}");
            assert!(decode_footer(&bytes, &bad, 3, size).is_err(), "bit {bit}");
        }
        assert!(decode_footer(&bytes, &header, 3, size + 1).is_err());
        assert!(decode_footer(&bytes, &header, 4, size).is_err());
    }

    /// Records as they may lie one behind the other: what each is, its number and digest, codec and length.
    type Facts = Vec<(u8, u64, [u8; 32], bool, u32)>;

    fn laid_out(pack: u128, key_version: u32, facts: &Facts) -> Vec<IndexEntry> {
        let mut offset = HEADER as u32;
        let entry = |(ordinal, (what, number, digest, packed, raw)): (u32, &(u8, u64, [u8; 32], bool, u32))| {
            let (codec, text) = if *packed && *raw > 1 { (Codec::Zstd, raw - 1) } else { (Codec::Raw, *raw) };
            let stored = text + TAG as u32;
            let place = Place { pack, offset, stored, raw: *raw, ordinal, codec, key_version };
            offset += stored;
            let what = What::from_byte(*what).expect("one that exists");
            IndexEntry { what, number: *number, digest: Digest(*digest), place }
        };
        (0..).zip(facts).map(entry).collect()
    }

    proptest! {
        #[test]
        fn footers_and_indexes_come_back(
            pack: u128,
            key_version in prop_oneof![Just(1u32), 1..=u32::MAX],
            facts in proptest::collection::vec((0u8..=8, any::<u64>(), any::<[u8; 32]>(), any::<bool>(), 1..=MAX_RAW), 0..30),
            blocks in proptest::option::of((0..u64::MAX - 1, any::<u64>())),
            at in any::<proptest::sample::Index>(),
            byte: u8,
        ) {
            let entries = laid_out(pack, key_version, &facts);
            let footer = Footer {
                pack,
                index_offset: entries.last().map_or(HEADER as u64, |entry| entry.place.end()),
                index_length: (entries.len() * ENTRY + TAG) as u32,
                n_records: entries.len() as u32,
                blocks,
                key_version,
            };
            let header = encode_header(&KeyId::from_bits(1), key_version, pack);
            let bytes = encode_footer(&header, &footer);
            prop_assert_eq!(decode_footer(&bytes, &header, pack, footer.pack_length()), Ok(footer));
            let mut index = encode_index(&entries);
            prop_assert_eq!(decode_index(&index, &footer), Ok(entries));
            if !index.is_empty() {
                let at = at.index(index.len());
                index[at] = byte;
                let _ = decode_index(&index, &footer);
                prop_assert!(decode_index(&index[..at], &footer).is_err());
            }
        }

        #[test]
        fn malformed_framing_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            records in proptest::collection::vec(any::<u8>(), 0..5 * ENTRY),
            n_records in 0u32..6,
        ) {
            let header = encode_header(&KeyId::from_bits(1), 1, 3);
            prop_assert!(decode_footer(&bytes, &header, 3, 100).is_err());
            prop_assert!(check_header(&bytes, &KeyId::from_bits(1), 3).is_err());
            let _ = decode_index(&records, &Footer { n_records, ..footer() });
        }

        /// Bytes that pass the length check and hold small numbers reach deeper than random ones.
        #[test]
        fn plausible_indexes_never_panic(seed in proptest::collection::vec((0u8..10, 0u8..3, any::<u32>(), any::<u32>()), 0..6)) {
            let mut bytes = Vec::new();
            for (what, codec, stored, raw) in &seed {
                bytes.extend_from_slice(&[*what, *codec, 0, 0]);
                bytes.extend_from_slice(&stored.to_le_bytes());
                bytes.extend_from_slice(&raw.to_le_bytes());
                bytes.extend_from_slice(&[0; 40]);
            }
            let footer = Footer { n_records: seed.len() as u32, ..footer() };
            let _ = decode_index(&bytes, &footer);
        }
    }
}
