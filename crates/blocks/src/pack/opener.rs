//! Opens records: decrypts, decompresses, compares with the digest. Pure, and without an allocation for each record.

use super::reader::{Span, Wanted};
use super::{Place, What};
use crate::block::{Codec, Codecs};
use crate::crypt::{Keys, PackCipher};
use crate::damage::Damage;
use crate::store::BlockStore;

/// Opens one record after another. What it gives is there until it opens the next one.
pub(crate) struct Opener<'a> {
    keys: &'a Keys,
    codecs: &'a Codecs,
    /// The cipher of the last record's pack: neighbours are mostly of one pack.
    cipher: Option<((u32, u128), PackCipher)>,
    plain: Vec<u8>,
    raw: Vec<u8>,
}

impl<'a> Opener<'a> {
    /// For records of the store's key domain.
    pub(crate) fn new(store: &'a BlockStore) -> Self {
        Self::with(store.keys(), store.codecs())
    }

    pub(super) fn with(keys: &'a Keys, codecs: &'a Codecs) -> Self {
        Self { keys, codecs, cipher: None, plain: Vec::new(), raw: Vec::new() }
    }

    /// The content of the record at `place`, whose bytes are `stored`.
    pub(crate) fn record(&mut self, what: What, place: &Place, stored: &[u8]) -> Result<&[u8], Damage> {
        self.decrypt(what, place, stored)?;
        if place.codec == Codec::Raw {
            return Ok(&self.plain);
        }
        self.raw.resize(place.raw as usize, 0);
        self.codecs.expand(&self.plain, &mut self.raw)?;
        Ok(&self.raw)
    }

    /// The content of a wanted block out of the bytes of its span, compared with its digest.
    pub(crate) fn block(&mut self, span: &Span, wanted: &Wanted, bytes: &[u8]) -> Result<&[u8], Damage> {
        let keys = self.keys;
        let raw = self.record(What::Block, &wanted.place, stored_of(span, wanted, bytes)?)?;
        if keys.block_digest(raw) != wanted.digest {
            return Err(Damage::Changed { part: "a block", proof: "digest" });
        }
        Ok(raw)
    }

    /// Puts the content of a wanted block where it is needed. `to` has the length of the block; after a failure what is in
    /// it is worth nothing.
    pub(crate) fn block_into(
        &mut self,
        span: &Span,
        wanted: &Wanted,
        bytes: &[u8],
        to: &mut [u8],
    ) -> Result<(), Damage> {
        let place = &wanted.place;
        self.decrypt(What::Block, place, stored_of(span, wanted, bytes)?)?;
        match place.codec {
            Codec::Zstd => self.codecs.expand(&self.plain, to)?,
            Codec::Raw if self.plain.len() == to.len() => to.copy_from_slice(&self.plain),
            Codec::Raw => return Err(Damage::Field { part: "the place of a record", field: "lengths" }),
        }
        if self.keys.block_digest(to) != wanted.digest {
            return Err(Damage::Changed { part: "a block", proof: "digest" });
        }
        Ok(())
    }

    /// The block that was opened last as it is stored: compressed, if it was. To be stored elsewhere.
    pub(crate) fn last_as_stored(&self) -> &[u8] {
        &self.plain
    }

    fn decrypt(&mut self, what: What, place: &Place, stored: &[u8]) -> Result<(), Damage> {
        if !place.is_possible() {
            return Err(Damage::Field { part: "the place of a record", field: "lengths" });
        }
        if stored.len() != place.stored as usize {
            return Err(Damage::Short { part: "a record" });
        }
        let of = (place.key_version, place.pack);
        if self.cipher.as_ref().is_none_or(|(last, _)| *last != of) {
            self.cipher = self.keys.pack_cipher(of.0, of.1).map(|cipher| (of, cipher));
        }
        let unknown = Damage::Field { part: "the place of a record", field: "key version" };
        let (_, cipher) = self.cipher.as_ref().ok_or(unknown)?;
        cipher
            .open_into(u64::from(place.ordinal), &place.bound(what), stored, &mut self.plain)
            .ok_or(Damage::Changed { part: "a record", proof: "authentication tag" })
    }
}

/// The bytes of a wanted record out of those of its span.
pub(crate) fn stored_of<'b>(span: &Span, wanted: &Wanted, bytes: &'b [u8]) -> Result<&'b [u8], Damage> {
    let start = (u64::from(wanted.place.offset) - span.range.start) as usize;
    bytes.get(start..start + wanted.place.stored as usize).ok_or(Damage::Short { part: "a range of records" })
}
