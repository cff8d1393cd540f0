//! What becomes of blocks that were read: the processor's part of the pipeline. Pure.

use crate::block::{self, Codec, Digest};
use crate::pack::What;
use crate::pack::builder::Record;
use crate::page::{Entry, FAN_OUT, Page};
use crate::replicate::staged::StagedLeaf;
use crate::store::BlockStore;
use crate::tree::Geometry;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// What blocks of a leaf are compared with.
pub(super) struct Known {
    /// The leaf of the parent at the same place.
    pub(super) parent: Option<Arc<Page>>,
    /// What earlier attempts left.
    pub(super) staged: StagedLeaf,
}

/// What was found out about a block.
pub(super) enum Examined {
    /// Only zeros.
    Zero,
    /// Stored already.
    Stored(Entry),
    /// To be stored.
    New(Record),
}

/// Examines the blocks `blocks`, whose bytes are `bytes`.
pub(super) fn examine(
    store: &BlockStore,
    geometry: Geometry,
    known: &Known,
    blocks: Range<u64>,
    bytes: &Bytes,
) -> Vec<Examined> {
    let mut at = 0;
    blocks
        .map(|number| {
            let length = geometry.length_of(number) as usize;
            let content = bytes.slice(at..at + length);
            at += length;
            examine_one(store, known, number, content)
        })
        .collect()
}

/// What is to be stored of a page, or `None` if it equals `same`.
pub(crate) fn page_record(store: &BlockStore, page: &Page, index: u64, same: Option<Digest>) -> Option<Record> {
    let digest = page.digest(store.keys());
    if Some(digest) == same {
        return None;
    }
    let bytes = page.encode();
    let raw = u32::try_from(bytes.len()).expect("a page is far below a megabyte");
    let (codec, content) = match store.codecs().compress_always(&bytes) {
        Some(packed) => (Codec::Zstd, packed),
        None => (Codec::Raw, bytes),
    };
    Some(Record { what: What::Page(page.level()), number: index, digest, codec, raw, content: content.into() })
}

fn examine_one(store: &BlockStore, known: &Known, number: u64, content: Bytes) -> Examined {
    let digest = block::digest(store.keys(), &content);
    if digest == Digest::ZERO {
        return Examined::Zero;
    }
    let in_parent = known.parent.as_ref().and_then(|page| page.slot((number % FAN_OUT) as usize));
    if let Some(entry) = in_parent.filter(|entry| entry.digest == digest) {
        return Examined::Stored(*entry);
    }
    if let Some(entry) = known.staged.find(number, digest) {
        return Examined::Stored(entry);
    }
    let raw = u32::try_from(content.len()).expect("a block is a megabyte at most");
    let (codec, content) = match store.codecs().compress(&content) {
        Some(packed) => (Codec::Zstd, Bytes::from(packed)),
        None => (Codec::Raw, content),
    };
    Examined::New(Record { what: What::Block, number, digest, codec, raw, content })
}
