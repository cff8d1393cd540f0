//! Fills a pack: append records, seal, get the object's bytes. Pure.

use super::{
    FOOTER, Footer, HEADER, INDEX_ORDINAL, IndexEntry, MAX_RECORDS, Place, What, encode_footer, encode_header,
    encode_index, index_bound,
};
use crate::block::{Codec, Digest};
use crate::crypt::{Keys, PackCipher, TAG};
use bytes::{Bytes, BytesMut};
use godwit_model::id::PackId;

/// What is to be stored: the content is compressed already, if at all.
pub(crate) struct Record {
    pub(crate) what: What,
    pub(crate) number: u64,
    pub(crate) digest: Digest,
    pub(crate) codec: Codec,
    pub(crate) raw: u32,
    pub(crate) content: Bytes,
}

/// A pack that is being filled. Records are encrypted as they come.
pub(crate) struct PackBuilder {
    pack: u128,
    key_version: u32,
    header: [u8; HEADER],
    cipher: PackCipher,
    bytes: BytesMut,
    entries: Vec<IndexEntry>,
    target: usize,
}

/// A finished pack.
pub(crate) struct SealedPack {
    pub(crate) pack: PackId,
    pub(crate) bytes: Bytes,
    /// Digests of the blocks inside.
    pub(crate) blocks: Vec<Digest>,
}

impl PackBuilder {
    /// An empty pack of about `target` bytes, under the newest version of the key. `room` is an empty buffer, used again to spare the allocator large blocks.
    pub(crate) fn new(keys: &Keys, pack: u128, target: usize, mut room: BytesMut) -> Self {
        let key_version = keys.newest();
        let header = encode_header(keys.id(), key_version, pack);
        let cipher = keys.pack_cipher(key_version, pack).expect("keys hold all versions up to the newest");
        room.reserve(target + MAX_RECORDS * super::ENTRY + TAG + FOOTER);
        room.extend_from_slice(&header);
        Self { pack, key_version, header, cipher, bytes: room, entries: Vec::new(), target }
    }

    /// Whether a record with `content` bytes still belongs in here.
    pub(crate) fn has_room(&self, content: usize) -> bool {
        self.entries.is_empty() || (self.entries.len() < MAX_RECORDS && self.bytes.len() + content + TAG <= self.target)
    }

    /// Whether there is no record yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encrypts and appends `record`.
    pub(crate) fn append(&mut self, record: &Record) -> Place {
        let start = self.bytes.len();
        let place = Place {
            pack: self.pack,
            offset: u32::try_from(start).expect("packs are a few megabytes"),
            stored: u32::try_from(record.content.len() + TAG).expect("records are a megabyte at most"),
            raw: record.raw,
            ordinal: u32::try_from(self.entries.len()).expect("the number of records is bounded"),
            codec: record.codec,
            key_version: self.key_version,
        };
        self.bytes.extend_from_slice(&record.content);
        let tag = self.cipher.seal(u64::from(place.ordinal), &place.bound(record.what), &mut self.bytes[start..]);
        self.bytes.extend_from_slice(&tag);
        self.entries.push(IndexEntry { what: record.what, number: record.number, digest: record.digest, place });
        place
    }

    /// Finishes the pack.
    pub(crate) fn seal(mut self) -> SealedPack {
        let blocks = self.entries.iter().filter(|e| e.what == What::Block).map(|e| e.number);
        let blocks = blocks.clone().min().zip(blocks.max());
        let mut index = encode_index(&self.entries);
        let footer = Footer {
            pack: self.pack,
            index_offset: self.bytes.len() as u64,
            index_length: u32::try_from(index.len() + TAG).expect("the number of records is bounded"),
            n_records: u32::try_from(self.entries.len()).expect("the number of records is bounded"),
            blocks,
            key_version: self.key_version,
        };
        let tag = self.cipher.seal(INDEX_ORDINAL, &index_bound(&self.header, &footer), &mut index);
        self.bytes.extend_from_slice(&index);
        self.bytes.extend_from_slice(&tag);
        self.bytes.extend_from_slice(&encode_footer(&self.header, &footer));
        let digests = self.entries.iter().filter(|e| e.what == What::Block).map(|e| e.digest);
        SealedPack { pack: PackId::from_bits(self.pack), bytes: self.bytes.freeze(), blocks: digests.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::opener::Opener;
    use super::super::reader::open_index;
    use super::super::{PACK_TARGET, check_header, decode_footer};
    use super::*;
    use crate::block::Codecs;
    use godwit_model::id::KeyId;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::derive(KeyId::from_bits(1), &[5; 32])
    }

    fn rotated_keys() -> Keys {
        let later = [zeroize::Zeroizing::new([6; 32]), zeroize::Zeroizing::new([7; 32])];
        Keys::of_versions(KeyId::from_bits(1), &[5; 32], &later, crate::crypt::Leave::default())
    }

    fn record(number: u64, content: Vec<u8>) -> Record {
        Record {
            what: if number.is_multiple_of(5) { What::Page(1) } else { What::Block },
            number,
            digest: keys().block_digest(&content),
            codec: Codec::Raw,
            raw: content.len() as u32,
            content: content.into(),
        }
    }

    proptest! {
        #[test]
        fn packs_give_back_every_record_and_hide_it(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 16..300), 1..20),
            flip in any::<proptest::sample::Index>(),
            rotated: bool,
        ) {
            let keys = if rotated { rotated_keys() } else { keys() };
            let mut builder = PackBuilder::new(&keys, 77, PACK_TARGET, BytesMut::new());
            let records: Vec<Record> = (3..).zip(contents).map(|(n, c)| record(n, c)).collect();
            let places: Vec<Place> = records.iter().map(|r| builder.append(r)).collect();
            let sealed = builder.seal();
            let bytes = sealed.bytes.to_vec();
            let header = encode_header(keys.id(), keys.newest(), 77);
            let check = |bytes: &[u8]| -> Result<Vec<IndexEntry>, crate::Damage> {
                check_header(&bytes[..HEADER], keys.id(), 77)?;
                let footer = decode_footer(&bytes[bytes.len() - FOOTER..], &header, 77, bytes.len() as u64)?;
                let index = &bytes[footer.index_offset as usize..bytes.len() - FOOTER];
                open_index(&keys, &header, &footer, index)
            };
            let entries = check(&bytes).unwrap();
            for ((record, place), entry) in records.iter().zip(&places).zip(&entries) {
                prop_assert_eq!((entry.place, entry.number, entry.what), (*place, record.number, record.what));
                let stored = &bytes[place.offset as usize..place.end() as usize];
                let codecs = Codecs::default();
                let mut opener = Opener::with(&keys, &codecs);
                let plain = opener.record(record.what, place, stored).unwrap();
                prop_assert_eq!(place.key_version, keys.newest());
                prop_assert_eq!(plain, &record.content[..]);
                prop_assert!(!bytes.windows(16).any(|w| w == &record.content[..16]));
            }
            // One flipped byte anywhere: the framing or exactly one record no longer opens.
            let at = flip.index(bytes.len());
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let framing = check(&bad).is_err();
            let broken = records.iter().zip(&places).filter(|(record, place)| {
                let stored = &bad[place.offset as usize..place.end() as usize];
                Opener::with(&keys, &Codecs::default()).record(record.what, place, stored).is_err()
            });
            prop_assert_eq!(broken.count() + usize::from(framing), 1);
        }
    }

    #[test]
    fn a_pack_is_full_by_bytes_or_by_records() {
        let mut builder = PackBuilder::new(&keys(), 1, PACK_TARGET, BytesMut::new());
        assert!(builder.has_room(PACK_TARGET * 2), "an empty pack takes anything");
        for number in 0..MAX_RECORDS as u64 {
            assert!(builder.has_room(4));
            builder.append(&record(number, vec![1; 4]));
        }
        assert!(!builder.has_room(4));
        let mut builder = PackBuilder::new(&keys(), 1, PACK_TARGET, BytesMut::new());
        builder.append(&record(0, vec![1; 1 << 20]));
        assert!(builder.has_room(PACK_TARGET - (2 << 20)));
        assert!(!builder.has_room(PACK_TARGET - (1 << 20)));
    }

    /// Objects that are in stores stay readable: whoever changes a byte of version 1 needs a version 2.
    #[test]
    fn the_bytes_of_version_one_do_not_change() {
        let mut builder = PackBuilder::new(&keys(), 77, PACK_TARGET, BytesMut::new());
        let mut page = crate::page::Page::new(0);
        for number in [3, 4, 9] {
            let record = record(number, vec![number as u8; 100 + number as usize]);
            let entry = crate::page::Entry { digest: record.digest, place: builder.append(&record) };
            page.set(number as usize, Some(entry));
        }
        let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_owned();
        assert_eq!(hash(&builder.seal().bytes), "bf862da042648736");
        assert_eq!(hash(&page.encode()), "a1cc7f75f693585b");
        assert_eq!(hash(&page.digest(&keys()).0), "0b35f370c2435246");
        let master = crate::crypt::MasterKey::new([1; 32]);
        assert_eq!(hash(&crate::wrapped::wrap(&master, keys().id(), 1, &[7; 32], 5)), "30570922192741d4");
        let manifest = crate::envelope::seal(crate::envelope::Kind::Image, 1, &keys(), &vec!["body"]);
        assert_eq!(hash(&manifest), "59df289f77969f39");
    }

    /// The same of version 2, in which everything is written that a later version of a key encrypts.
    #[test]
    fn the_bytes_of_version_two_do_not_change() {
        let mut builder = PackBuilder::new(&rotated_keys(), 77, PACK_TARGET, BytesMut::new());
        let mut page = crate::page::Page::new(0);
        for number in [3, 4, 9] {
            let record = record(number, vec![number as u8; 100 + number as usize]);
            let entry = crate::page::Entry { digest: record.digest, place: builder.append(&record) };
            page.set(number as usize, Some(entry));
        }
        let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..16].to_owned();
        assert_eq!(hash(&page.digest(&rotated_keys()).0), "0b35f370c2435246", "digests are those of version 1");
        let master = crate::crypt::MasterKey::new([1; 32]);
        let key = crate::wrapped::wrap(&master, keys().id(), 3, &[7; 32], 5);
        let hashes = [&builder.seal().bytes[..], &page.encode(), &key].map(hash);
        assert_eq!(hashes, ["61eb69ff121eff12", "fee1277569ba1c98", "21375e08a5703bb5"]);
    }
}
