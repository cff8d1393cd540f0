//! What becomes of blocks that were read: the processor's part of the pipeline. Pure.

use crate::block::{self, Codec, Digest};
use crate::pack::builder::Record;
use crate::pack::{Place, What};
use crate::page::{Entry, FAN_OUT, Page};
use crate::replicate::elsewhere::{Candidate, Elsewhere, Look};
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

/// Blocks that were read together, and what is known of them by now.
#[derive(Default)]
pub(super) struct Examined {
    /// What is known of each: `None` if it is only zeros, or on its way into a pack, or may be elsewhere.
    pub(super) entries: Vec<Option<Entry>>,
    /// Those that may be elsewhere.
    pub(super) candidates: Vec<Candidate>,
    /// Those that are to be stored, as records.
    pub(super) records: Vec<Record>,
    /// Where the entry of each record belongs.
    new: Vec<(usize, Digest)>,
    /// Blocks that are equal to an earlier one that is to be stored.
    same: Vec<(usize, usize)>,
}

impl Examined {
    /// The records have got these places.
    pub(super) fn note_places(&mut self, places: &[Place]) -> impl Iterator<Item = Entry> {
        let new = std::mem::take(&mut self.new);
        let stored: Vec<(usize, Entry)> = new
            .iter()
            .zip(places)
            .map(|((at, digest), place)| (*at, Entry { digest: *digest, place: *place }))
            .collect();
        stored.iter().for_each(|(at, entry)| self.entries[*at] = Some(*entry));
        self.same.drain(..).for_each(|(at, first)| self.entries[at] = self.entries[first]);
        stored.into_iter().map(|(_, entry)| entry)
    }

    /// Makes records of blocks that are nowhere.
    pub(super) fn store(&mut self, store: &BlockStore, blocks: Vec<Candidate>) {
        for Candidate { at, number, digest, content, .. } in blocks {
            self.new.push((at, digest));
            self.records.push(block_record(store, number, digest, content));
        }
    }
}

/// Examines the blocks `blocks`, whose bytes are `bytes`.
pub(super) fn examine(
    store: &BlockStore,
    geometry: Geometry,
    known: &Known,
    elsewhere: &Elsewhere,
    blocks: Range<u64>,
    bytes: &Bytes,
) -> Examined {
    let mut examined = Examined::default();
    let mut start = 0;
    for (at, number) in blocks.enumerate() {
        let content = bytes.slice(start..start + geometry.length_of(number) as usize);
        start += content.len();
        let digest = block::digest(store.keys(), &content);
        let stored = if digest == Digest::ZERO { None } else { known.find(number, digest) };
        examined.entries.push(stored);
        if digest == Digest::ZERO || stored.is_some() {
            continue;
        }
        match elsewhere.look(&digest) {
            Look::Own(entry) => examined.entries[at] = Some(entry),
            Look::Hinted(hint) => examined.candidates.push(Candidate { at, number, digest, content, hint }),
            Look::Unknown if let Some((first, _)) = examined.new.iter().find(|(_, new)| *new == digest) => {
                examined.same.push((at, *first));
            }
            Look::Unknown => {
                examined.new.push((at, digest));
                examined.records.push(block_record(store, number, digest, content));
            }
        }
    }
    examined
}

/// What is to be stored of a page, or `None` if it equals `same`.
pub(crate) fn page_record(store: &BlockStore, page: &Page, index: u64, same: Option<Digest>) -> Option<Record> {
    let digest = page.digest(store.keys());
    if Some(digest) == same {
        return None;
    }
    let bytes = page.encode();
    let raw = u32::try_from(bytes.len()).expect("a page is far below a megabyte");
    let (codec, content) = match store.codecs().compress_always(&bytes, store.effort()) {
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
    let (codec, content) = match store.codecs().compress(&content, store.effort()) {
        Some(packed) => (Codec::Zstd, Bytes::from(packed)),
        None => (Codec::Raw, content),
    };
    Record { what: What::Block, number, digest, codec, raw, content }
}
