//! Reads one pack whole.

use crate::damage::Damage;
use crate::pack::opener::Opener;
use crate::pack::reader::{read_ends, read_index};
use crate::pack::{IndexEntry, What, key_of};
use crate::page::Page;
use crate::store::{BlockStore, pack_path};
use crate::sweep::Course;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::PackId;
use godwit_model::key::Purpose;
use std::ops::Range;

/// Read at once: with sequential speed, and short enough that a run need not wait long for its turn.
const PIECE: u64 = 2 << 20;

/// How a pack was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PackState {
    /// All of it is what was written.
    Whole,
    /// It is not there any more.
    Gone,
    /// Its key may not be used, or is lost: nobody can tell.
    Closed,
    /// Something in it is not what was written: what, first.
    Damaged(String),
}

/// A pack that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackCheck {
    /// How it was found.
    pub state: PackState,
    /// Bytes that were read of it.
    pub bytes: u64,
}

/// Reads the pack and compares everything in it with what was written.
pub async fn check_pack(store: &BlockStore, pack: &PackId, course: Course<'_>) -> Result<PackCheck, Failure> {
    let mut bytes = 0;
    let state = match read_all(store, pack, &mut bytes, course).await {
        Ok(None) => PackState::Whole,
        Ok(Some(problem)) => damaged_or_gone(store, pack, problem).await?,
        Err(failure) => match failure.code {
            Code::StoreCorrupt => damaged_or_gone(store, pack, failure.evidence).await?,
            Code::KeyDisabled | Code::KeyUnavailable => PackState::Closed,
            _ => return Err(failure),
        },
    };
    Ok(PackCheck { state, bytes })
}

/// A pack may be swept while it is read.
async fn damaged_or_gone(store: &BlockStore, pack: &PackId, problem: String) -> Result<PackState, Failure> {
    match read_ends(store, pack).await {
        Ok(None) => Ok(PackState::Gone),
        Ok(Some(_)) => Ok(PackState::Damaged(problem)),
        Err(failure) if failure.code == Code::StoreCorrupt => Ok(PackState::Damaged(problem)),
        Err(failure) => Err(failure),
    }
}

/// What is wrong with the pack, first; `bytes` grows with what was read.
async fn read_all(
    store: &BlockStore,
    pack: &PackId,
    bytes: &mut u64,
    course: Course<'_>,
) -> Result<Option<String>, Failure> {
    let path = pack_path(pack);
    let ends = {
        let _turn = turn(store).await;
        read_ends(store, pack).await?
    };
    let missing = || Failure::new(Code::StoreCorrupt, format!("object {path} is missing"));
    let (header, footer) = ends.ok_or_else(missing)?;
    let key = key_of(&header).map_err(|damage| damage.of(&path))?;
    let store = match store.reading(&key, footer.key_version, &path).await {
        Ok(store) => store,
        Err(failure) => {
            course.note_refusal(&key, Purpose::Decrypt, &failure);
            return Err(failure);
        }
    };
    course.note(&key, footer.key_version, Purpose::Decrypt);
    let index = {
        let _turn = turn(&store).await;
        read_index(&store, footer).await?
    };
    *bytes += footer.pack_length() - footer.index_offset;
    let mut first = None;
    for piece in pieces(&index) {
        course.stop_if_cancelled()?;
        let entries: Vec<IndexEntry> = index[piece].to_vec();
        let (Some(start), Some(end)) = (entries.first(), entries.last()) else { continue };
        let range = u64::from(start.place.offset)..end.place.end();
        let stored = {
            let _turn = turn(&store).await;
            store.get_range(&path, range.clone()).await?
        };
        *bytes += range.end - range.start;
        let found = store
            .cpu(move |store| {
                let mut opener = Opener::new(store);
                let mut open = |entry: &IndexEntry| {
                    let from = (u64::from(entry.place.offset) - range.start) as usize;
                    let stored = stored.get(from..from + entry.place.stored as usize);
                    check_record(store, &mut opener, entry, stored.ok_or(Damage::Short { part: "a range of records" })?)
                };
                entries.iter().find_map(|entry| open(entry).err())
            })
            .await?;
        first = first.or(found);
    }
    Ok(first.map(|damage| damage.of(&path).evidence))
}

async fn turn(store: &BlockStore) -> tokio::sync::SemaphorePermit<'_> {
    store.fetches().acquire().await.expect("the semaphore is never closed")
}

fn check_record(store: &BlockStore, opener: &mut Opener<'_>, entry: &IndexEntry, stored: &[u8]) -> Result<(), Damage> {
    let content = opener.record(entry.what, &entry.place, stored)?;
    let (part, digest) = match entry.what {
        What::Block => ("a block", store.keys().block_digest(content)),
        What::Page(level) => {
            let page = Page::decode(content)?;
            if page.level() != level {
                return Err(Damage::Field { part: "a page", field: "level" });
            }
            ("a page", page.digest(store.keys()))
        }
    };
    if digest == entry.digest { Ok(()) } else { Err(Damage::Changed { part, proof: "digest" }) }
}

/// Records that are read at once: neighbours, up to [`PIECE`], and one at least.
fn pieces(index: &[IndexEntry]) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    for (n, entry) in index.iter().enumerate() {
        match pieces.last_mut() {
            Some(last) if entry.place.end() - u64::from(index[last.start].place.offset) <= PIECE => last.end = n + 1,
            _ => pieces.push(n..n + 1),
        }
    }
    pieces
}
