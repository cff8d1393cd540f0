//! Reads packs back: single records by their place, many at once by joined ranges, and whole indexes.

use super::opener::Opener;
use super::{
    FOOTER, Footer, HEADER, INDEX_ORDINAL, IndexEntry, Place, What, check_header, decode_footer, decode_index,
    encode_header, index_bound, key_of,
};
use crate::block::Digest;
use crate::crypt::Keys;
use crate::damage::Damage;
use crate::store::{BlockStore, pack_path};
use bytes::Bytes;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::PackId;
use std::ops::Range;

/// Longest joined range: long enough for sequential speed, short enough to be held a few times over.
const SPAN: u64 = 2 << 20;

/// Unwanted bytes between two wanted records that are read along: cheaper than a second request.
const GAP: u64 = 128 << 10;

/// A record that somebody wants, and the somebody's own name for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    /// Number of the block in the volume, or of the page in its level.
    pub(crate) block: u64,
    pub(crate) digest: Digest,
    pub(crate) place: Place,
}

/// Wanted records of one pack that are read with one request, by offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) pack: u128,
    pub(crate) range: Range<u64>,
    pub(crate) wanted: Vec<Wanted>,
}

/// Joins neighbours in the packs.
pub(crate) fn plan_spans(mut wanted: Vec<Wanted>) -> Vec<Span> {
    wanted.sort_by_key(|w| (w.place.pack, w.place.offset));
    let mut spans: Vec<Span> = Vec::new();
    for record in wanted {
        let (start, end) = (u64::from(record.place.offset), record.place.end());
        match spans.last_mut() {
            Some(span)
                if span.pack == record.place.pack
                    && start <= span.range.end + GAP
                    && end.max(span.range.end) - span.range.start <= SPAN =>
            {
                span.range.end = span.range.end.max(end);
                span.wanted.push(record);
            }
            _ => spans.push(Span { pack: record.place.pack, range: start..end, wanted: vec![record] }),
        }
    }
    spans
}

/// The bytes of a span. Whoever asks holds one of the store's turns for fetching.
pub(crate) async fn read_span(store: &BlockStore, span: &Span) -> Result<Bytes, Failure> {
    store.get_range(&pack_path(&PackId::from_bits(span.pack)), span.range.clone()).await
}

/// The entries of an encrypted index.
pub(crate) fn open_index(
    keys: &Keys,
    header: &[u8; HEADER],
    footer: &Footer,
    stored: &[u8],
) -> Result<Vec<IndexEntry>, Damage> {
    let plain = keys
        .pack_cipher(footer.key_version, footer.pack)
        .ok_or(Damage::Field { part: "the pack's footer", field: "key version" })?
        .open(INDEX_ORDINAL, &index_bound(header, footer), stored)
        .ok_or(Damage::Changed { part: "the pack's index", proof: "authentication tag" })?;
    decode_index(&plain, footer)
}

/// Reads one record.
pub(crate) async fn read_record(store: &BlockStore, what: What, place: Place) -> Result<Vec<u8>, Failure> {
    let path = pack_path(&PackId::from_bits(place.pack));
    if !place.is_possible() {
        return Err(Damage::Field { part: "the place of a record", field: "lengths" }.of(&path));
    }
    let stored = store.get_range(&path, u64::from(place.offset)..place.end()).await?;
    store
        .cpu(move |store| Opener::new(store).record(what, &place, &stored).map(<[u8]>::to_vec))
        .await?
        .map_err(|damage| damage.of(&path))
}

/// Reads header and footer of a pack of the store's key domain; `None` if there is no such pack.
pub(crate) async fn read_footer(store: &BlockStore, pack: &PackId) -> Result<Option<Footer>, Failure> {
    let Some((header, footer)) = read_ends(store, pack).await? else { return Ok(None) };
    check_header(&header, store.keys().id(), footer.pack).map_err(|damage| damage.of(&pack_path(pack)))?;
    Ok(Some(footer))
}

/// The same of any key domain: no key is needed for it.
pub(crate) async fn read_ends(store: &BlockStore, pack: &PackId) -> Result<Option<([u8; HEADER], Footer)>, Failure> {
    let path = pack_path(pack);
    let Some((tail, size)) = store.get_tail(&path, FOOTER as u64).await? else {
        return Ok(None);
    };
    if size < (HEADER + FOOTER) as u64 {
        return Err(Damage::Short { part: "the pack" }.of(&path));
    }
    let bits = u128::from_be_bytes(pack.to_bytes());
    let header = store.get_range(&path, 0..HEADER as u64).await?;
    let whole = |header: &[u8]| {
        check_header(header, &key_of(header)?, bits)?;
        let header: [u8; HEADER] = header.try_into().map_err(|_| Damage::Short { part: "the pack's header" })?;
        Ok((header, decode_footer(&tail, &header, bits, size)?))
    };
    whole(&header).map(Some).map_err(|damage: Damage| damage.of(&path))
}

/// Reads the index of a pack.
pub(crate) async fn read_index(store: &BlockStore, footer: Footer) -> Result<Vec<IndexEntry>, Failure> {
    let path = pack_path(&PackId::from_bits(footer.pack));
    let start = footer.index_offset;
    let stored = store.get_range(&path, start..start + u64::from(footer.index_length)).await?;
    store
        .cpu(move |store| {
            let header = encode_header(store.keys().id(), footer.key_version, footer.pack);
            open_index(store.keys(), &header, &footer, &stored)
        })
        .await?
        .map_err(|damage| damage.of(&path))
}

/// Whether the pack is in the store, with its beginning and its end as they were written and the length that they say.
/// A pack that is there and damaged is not complete.
pub async fn pack_is_complete(store: &BlockStore, pack: &PackId) -> Result<bool, Failure> {
    match read_ends(store, pack).await {
        Ok(ends) => Ok(ends.is_some()),
        Err(failure) if failure.code == Code::StoreCorrupt => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Codec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_hold_every_record_once_and_stay_short(
            places in proptest::collection::vec((0u128..3, 40u32..40_000_000, 17u32..1_000_000), 0..60)
        ) {
            let wanted: Vec<Wanted> = (0..).zip(&places).map(|(block, (pack, offset, stored))| Wanted {
                block,
                digest: Digest::ZERO,
                place: Place { pack: *pack, offset: *offset, stored: *stored, raw: 1, ordinal: 0, codec: Codec::Raw, key_version: 1 },
            }).collect();
            let spans = plan_spans(wanted.clone());
            let mut seen: Vec<u64> = Vec::new();
            for span in &spans {
                prop_assert!(span.range.end - span.range.start <= SPAN);
                for w in &span.wanted {
                    prop_assert_eq!(w.place.pack, span.pack);
                    prop_assert!(u64::from(w.place.offset) >= span.range.start && w.place.end() <= span.range.end);
                    seen.push(w.block);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..wanted.len() as u64).collect::<Vec<_>>());
        }
    }
}
