//! Pages: the nodes of a snapshot's tree. Encoding and digest, pure.
//!
//! A page has [`FAN_OUT`] slots. In a leaf each slot is a block, above it is a page; an empty slot is all zeros. A slot
//! holds a digest and a place. The page's own digest covers the digests only, so that moving content to other packs
//! keeps every digest up to the root.

use crate::block::{Codec, Digest};
use crate::crypt::Keys;
use crate::damage::Damage;
use crate::pack::Place;

/// Slots of a page: leaves of 1,024 digests are 32 KiB, a good size for a read, and three levels reach 64 TiB.
pub const FAN_OUT: u64 = 1024;

/// Most levels of a tree: five reach beyond what 64 bits address at the smallest block size.
pub(crate) const MAX_LEVELS: u8 = 6;

const SLOTS: usize = FAN_OUT as usize;
/// Format of a page that names packs under the first version of their key only.
const VERSION: u8 = 1;
/// Format of a page that says of each pack which version it is encrypted under.
const VERSION_OF_LATER_KEYS: u8 = 2;
const PART: &str = "a page";

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Digest of the block or page; never [`Digest::ZERO`].
    pub digest: Digest,
    /// Where it is.
    pub place: Place,
}

/// A node of the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    level: u8,
    /// Exactly [`FAN_OUT`] of them.
    slots: Vec<Option<Entry>>,
}

impl Page {
    /// An empty page. Level 0 is the leaves'.
    pub(crate) fn new(level: u8) -> Self {
        Self { level, slots: vec![None; SLOTS] }
    }

    /// Its level: 0 for leaves.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// What slot `slot` holds; out of range is empty.
    pub fn slot(&self, slot: usize) -> Option<&Entry> {
        self.slots.get(slot)?.as_ref()
    }

    /// All slots that hold something.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// Whether every slot is empty.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    pub(crate) fn set(&mut self, slot: usize, entry: Option<Entry>) {
        self.slots[slot] = entry;
    }

    /// Digest over the level and the digests of all slots; [`Digest::ZERO`] if all are empty.
    pub(crate) fn digest(&self, keys: &Keys) -> Digest {
        if self.is_empty() {
            return Digest::ZERO;
        }
        let mut digests = vec![0; SLOTS * 32];
        for (slot, entry) in self.entries() {
            digests[slot * 32..(slot + 1) * 32].copy_from_slice(&entry.digest.0);
        }
        keys.page_digest(&[b"page", &[self.level], &digests])
    }

    /// The page as bytes: what repeats comes in columns, the digests (which no codec shortens) last.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let entries: Vec<(usize, &Entry)> = self.entries().collect();
        let mut packs: Vec<(u128, u32)> = entries.iter().map(|(_, e)| (e.place.pack, e.place.key_version)).collect();
        packs.sort_unstable();
        packs.dedup();
        let pack_at = |place: &Place| {
            packs.binary_search(&(place.pack, place.key_version)).expect("collected from these entries")
        };
        let first_only = packs.iter().all(|(_, key_version)| *key_version == 1);

        let mut bytes = vec![if first_only { VERSION } else { VERSION_OF_LATER_KEYS }, self.level];
        bytes.extend_from_slice(&(entries.len() as u16).to_le_bytes());
        let mut present = [0u8; SLOTS / 8];
        entries.iter().for_each(|(slot, _)| present[slot / 8] |= 1 << (slot % 8));
        bytes.extend_from_slice(&present);
        bytes.extend_from_slice(&(packs.len() as u16).to_le_bytes());
        packs.iter().for_each(|(pack, _)| bytes.extend_from_slice(&pack.to_be_bytes()));
        if !first_only {
            packs.iter().for_each(|(_, key_version)| put_number(&mut bytes, u64::from(*key_version)));
        }

        entries.iter().for_each(|(_, e)| put_number(&mut bytes, pack_at(&e.place) as u64));
        entries.iter().for_each(|(_, e)| bytes.push(e.place.codec.to_byte()));
        let mut next = vec![0u32; packs.len()];
        for (_, e) in &entries {
            put_difference(&mut bytes, e.place.ordinal, &mut next[pack_at(&e.place)], 1);
        }
        let mut next = vec![0u32; packs.len()];
        for (_, e) in &entries {
            put_difference(&mut bytes, e.place.offset, &mut next[pack_at(&e.place)], e.place.stored);
        }
        entries.iter().for_each(|(_, e)| put_number(&mut bytes, u64::from(e.place.stored)));
        entries.iter().for_each(|(_, e)| put_number(&mut bytes, u64::from(e.place.raw)));
        entries.iter().for_each(|(_, e)| bytes.extend_from_slice(&e.digest.0));
        bytes
    }

    /// The page in `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Page, Damage> {
        let mut input = Input(bytes);
        let [version, level] = input.array()?;
        if !matches!(version, VERSION | VERSION_OF_LATER_KEYS) {
            return Err(Damage::Version { part: PART, found: version });
        }
        if level >= MAX_LEVELS {
            return Err(field("level"));
        }
        let count = usize::from(u16::from_le_bytes(input.array()?));
        let present: [u8; SLOTS / 8] = input.array()?;
        let slots: Vec<usize> = (0..SLOTS).filter(|slot| present[slot / 8] & 1 << (slot % 8) != 0).collect();
        if slots.len() != count || count == 0 {
            return Err(field("number of entries"));
        }
        let n_packs = usize::from(u16::from_le_bytes(input.array()?));
        if n_packs > count {
            return Err(field("number of packs"));
        }
        let packs = (0..n_packs).map(|_| input.array().map(u128::from_be_bytes)).collect::<Result<Vec<_>, _>>()?;
        let key_versions = match version {
            VERSION => vec![1; n_packs],
            _ => input.column(n_packs, Input::small)?,
        };

        let pack_at = input.column(count, |input| {
            let at = input.number()? as usize;
            if at < n_packs { Ok(at) } else { Err(field("pack of an entry")) }
        })?;
        let codec = input.column(count, |input| Codec::from_byte(input.array::<1>()?[0]).ok_or(field("codec")))?;
        let ordinal = input.column(count, Input::difference)?;
        let offset = input.column(count, Input::difference)?;
        let stored = input.column(count, Input::small)?;
        let raw = input.column(count, Input::small)?;

        let mut page = Page::new(level);
        let mut next = vec![(0u32, 0u32); n_packs];
        for (n, slot) in slots.into_iter().enumerate() {
            let (next_ordinal, next_offset) = &mut next[pack_at[n]];
            let place = Place {
                pack: packs[pack_at[n]],
                ordinal: next_ordinal.wrapping_add(ordinal[n]),
                offset: next_offset.wrapping_add(offset[n]),
                stored: stored[n],
                raw: raw[n],
                codec: codec[n],
                key_version: key_versions[pack_at[n]],
            };
            if !place.is_possible() {
                return Err(field("place of an entry"));
            }
            *next_ordinal = place.ordinal.wrapping_add(1);
            *next_offset = place.offset.wrapping_add(place.stored);
            let digest = Digest(input.array()?);
            if digest == Digest::ZERO {
                return Err(field("digest"));
            }
            page.slots[slot] = Some(Entry { digest, place });
        }
        if input.0.is_empty() { Ok(page) } else { Err(field("length")) }
    }
}

fn field(field: &'static str) -> Damage {
    Damage::Field { part: PART, field }
}

/// Seven bits a byte, lowest first; the highest bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// `value` as its difference from `expected`, which then becomes what is expected next: `value + step`. Small
/// differences of either sign become small numbers.
fn put_difference(bytes: &mut Vec<u8>, value: u32, expected: &mut u32, step: u32) {
    let difference = value.wrapping_sub(*expected) as i32;
    put_number(bytes, u64::from(((difference << 1) ^ (difference >> 31)) as u32));
    *expected = value.wrapping_add(step);
}

/// Takes bytes from the front and never beyond the end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Damage::Short { part: PART })?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, Damage> {
        let mut number = 0u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(field("number"))
    }

    fn small(&mut self) -> Result<u32, Damage> {
        u32::try_from(self.number()?).map_err(|_| field("number"))
    }

    fn difference(&mut self) -> Result<u32, Damage> {
        let number = self.small()?;
        Ok((number >> 1) ^ (number & 1).wrapping_neg())
    }

    fn column<T>(
        &mut self,
        count: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, Damage>,
    ) -> Result<Vec<T>, Damage> {
        (0..count).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::id::KeyId;
    use proptest::prelude::*;

    fn place() -> impl Strategy<Value = Place> {
        (0u128..4, 40u32..20_000_000, 1u32..60_000, 0u32..9000, any::<bool>(), any::<bool>()).prop_map(
            |(pack, offset, text, ordinal, zstd, rotated)| Place {
                pack: pack * u128::from(u64::MAX),
                offset,
                stored: text + 16,
                raw: if zstd { text + 100 } else { text },
                ordinal,
                codec: if zstd { Codec::Zstd } else { Codec::Raw },
                // Packs of one id have one version.
                key_version: if rotated && pack > 1 { pack as u32 * 100 } else { 1 },
            },
        )
    }

    fn page() -> impl Strategy<Value = Page> {
        let entry = (any::<[u8; 32]>(), place());
        (0u8..3, proptest::collection::btree_map(0..SLOTS, entry, 1..60)).prop_map(|(level, entries)| {
            let mut page = Page::new(level);
            for (slot, (mut digest, place)) in entries {
                digest[0] |= 1;
                page.set(slot, Some(Entry { digest: Digest(digest), place }));
            }
            page
        })
    }

    proptest! {
        #[test]
        fn pages_survive_their_encoding(page in page()) {
            prop_assert_eq!(Page::decode(&page.encode()), Ok(page));
        }

        #[test]
        fn changed_or_cut_pages_never_panic(page in page(), at in any::<proptest::sample::Index>(), byte: u8) {
            let mut bytes = page.encode();
            let at = at.index(bytes.len());
            prop_assert!(Page::decode(&bytes[..at]).is_err());
            bytes[at] = byte;
            let _ = Page::decode(&bytes);
        }

        #[test]
        fn malformed_pages_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Page::decode(&bytes);
            if bytes.len() > 2 {
                bytes[0] = VERSION;
                bytes[1] = 0;
                let _ = Page::decode(&bytes);
            }
        }

        #[test]
        fn places_do_not_change_the_digest_and_digests_do(page in page(), to in place(), flip in 0usize..32) {
            let keys = Keys::derive(KeyId::from_bits(1), &[5; 32]);
            let before = page.digest(&keys);
            let (slot, entry) = page.entries().map(|(s, e)| (s, *e)).next().expect("not empty");
            let mut moved = page.clone();
            moved.set(slot, Some(Entry { place: to, ..entry }));
            prop_assert_eq!(moved.digest(&keys), before);
            let mut changed = entry;
            changed.digest.0[flip] ^= 0x80;
            moved.set(slot, Some(changed));
            prop_assert_ne!(moved.digest(&keys), before);
        }
    }

    #[test]
    fn a_full_leaf_of_a_first_copy_compresses_to_little_more_than_its_digests() {
        let mut page = Page::new(0);
        let mut offset = 40;
        for slot in 0..SLOTS {
            let digest = Digest(*blake3::hash(&slot.to_le_bytes()).as_bytes());
            let stored = 20_000 + (slot as u32 * 7919) % 40_000;
            let place =
                Place { pack: 9, offset, stored, raw: 65536, ordinal: slot as u32, codec: Codec::Zstd, key_version: 1 };
            page.set(slot, Some(Entry { digest, place }));
            offset += stored;
        }
        let packed = crate::block::Codecs::default()
            .compress_always(&page.encode(), crate::block::Effort::Quick)
            .expect("columns repeat");
        assert!(packed.len() < SLOTS * 32 + 3500, "{}", packed.len());
    }

    #[test]
    fn an_empty_page_is_zero() {
        let keys = Keys::derive(KeyId::from_bits(1), &[5; 32]);
        assert_eq!(Page::new(0).digest(&keys), Digest::ZERO);
    }
}
