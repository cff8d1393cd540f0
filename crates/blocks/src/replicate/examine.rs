//! What becomes of blocks that were read: the processor's part of the pipeline. Pure.

use crate::block::{self, Codec, Digest};
use crate::pack::builder::Record;
use crate::pack::{Place, What};
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

/// What was found out about some blocks.
#[derive(Default)]
pub(super) struct Examined {
    /// What is known of each: `None` if it is only zeros, or to be stored.
    entries: Vec<Option<Entry>>,
    /// Which of the blocks are to be stored, and their digests.
    new: Vec<(usize, Digest)>,
}

impl Examined {
    /// What is known of each block when those to be stored have got their places.
    pub(super) fn complete(mut self, places: &[Place]) -> Vec<Option<Entry>> {
        for ((at, digest), place) in self.new.iter().zip(places) {
            self.entries[*at] = Some(Entry { digest: *digest, place: *place });
        }
        self.entries
    }
}

/// Examines the blocks `blocks`, whose bytes are `bytes`, and makes records of those to be stored, in order.
pub(super) fn examine(
    store: &BlockStore,
    geometry: Geometry,
    known: &Known,
    blocks: Range<u64>,
    bytes: &Bytes,
) -> (Examined, Vec<Record>) {
    let (mut examined, mut records) = (Examined::default(), Vec::new());
    let mut start = 0;
    for (at, number) in blocks.enumerate() {
        let content = bytes.slice(start..start + geometry.length_of(number) as usize);
        start += content.len();
        let digest = block::digest(store.keys(), &content);
        let stored = if digest == Digest::ZERO { None } else { known.find(number, digest) };
        if digest != Digest::ZERO && stored.is_none() {
            records.push(block_record(store, number, digest, content));
            examined.new.push((at, digest));
        }
        examined.entries.push(stored);
    }
    (examined, records)
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

impl Known {
    /// Where a block of this content is stored already.
    fn find(&self, number: u64, digest: Digest) -> Option<Entry> {
        let in_parent = self.parent.as_ref().and_then(|page| page.slot((number % FAN_OUT) as usize)).copied();
        in_parent.filter(|entry| entry.digest == digest).or_else(|| self.staged.find(number, digest))
    }
}

fn block_record(store: &BlockStore, number: u64, digest: Digest, content: Bytes) -> Record {
    let raw = u32::try_from(content.len()).expect("a block is a megabyte at most");
    let (codec, content) = match store.codecs().compress(&content) {
        Some(packed) => (Codec::Zstd, Bytes::from(packed)),
        None => (Codec::Raw, content),
    };
    Record { what: What::Block, number, digest, codec, raw, content }
}
