//! What must hold whenever somebody looks, whatever happened before.

use crate::book::{PackState, Tables};
use crate::ground::Ground;
use crate::service::never;
use crate::session::Session;
use crate::stage::open;
use godwit_blocks::block::{BlockSize, Digest};
use godwit_blocks::image;
use godwit_blocks::pack::pack_is_complete;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, Verified, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, SnapshotId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Checks everything that users can see, and that the database tells the truth. Gives how many volumes were read.
pub async fn check(ground: &Ground, tables: &Tables) -> usize {
    let visible = tables.visible();
    if !ground.state().objects.keys().any(|path| path.as_ref().starts_with("keys/")) {
        assert!(visible.is_empty(), "an image and no key");
        return 0;
    }
    let judge = Judge::of(ground);
    let store = open(Arc::new(Session::looking(ground)), 1, 60_000).await;
    let mut n_volumes = 0;
    for (id, image) in visible {
        let named = image.volumes.iter().map(|(snapshot, ..)| snapshot);
        judge.image(&store, &id, &named.collect::<Vec<_>>()).await;
        for (snapshot, content, digest) in &image.volumes {
            judge.snapshot(&store, snapshot, content, *digest).await;
            n_volumes += 1;
        }
    }
    for (pack, row) in tables.packs.iter().filter(|(_, row)| row.state == PackState::Durable) {
        let is_there = pack_is_complete(&store, pack).await.unwrap();
        assert!(is_there || judge.is_spoilt(pack.as_str()), "{pack} is durable and not there: {row:?}");
    }
    n_volumes
}

/// Knows what the ground has spoilt: nothing else may be amiss.
struct Judge {
    spoilt: BTreeSet<String>,
    is_haunted: bool,
}

impl Judge {
    fn of(ground: &Ground) -> Self {
        let state = ground.state();
        let names = state.spoilt.iter().filter_map(|path| path.filename().map(str::to_owned));
        Self { spoilt: names.collect(), is_haunted: state.is_haunted }
    }

    fn is_spoilt(&self, name: &str) -> bool {
        self.spoilt.contains(name)
    }

    /// A failure must be that of an object that was spoilt, by name; or of one that went because what named it had
    /// gone, too, and came back.
    fn excuse(&self, failure: &Failure, what: &str) {
        assert_eq!(failure.code, Code::StoreCorrupt, "{what}: {failure}");
        let is_named = self.spoilt.iter().any(|name| failure.evidence.contains(name.as_str()));
        let is_gone = self.is_haunted && failure.evidence.ends_with("is missing");
        assert!(is_named || is_gone, "{what}: nothing was done to what it tells of: {failure}");
    }

    async fn image(&self, store: &BlockStore, id: &ImageId, snapshots: &[&SnapshotId]) {
        match image::load(store, id).await {
            Ok(Some(manifest)) => {
                let found: Vec<&SnapshotId> = manifest.volumes.iter().map(|volume| &volume.snapshot).collect();
                assert_eq!(found, snapshots, "{id}");
            }
            Ok(None) => assert!(self.is_spoilt(id.as_str()), "{id} is missing"),
            Err(failure) => self.excuse(&failure, id.as_str()),
        }
    }

    async fn snapshot(&self, store: &BlockStore, id: &SnapshotId, content: &[u8], digest: Digest) {
        let verified = verify(store, id, Scope::Everything, &|_, _| {}, &never()).await;
        let reader = match SnapshotReader::open(store, id).await {
            Ok(reader) => reader,
            Err(failure) => {
                self.excuse(&failure, id.as_str());
                assert_eq!(verified.map_err(|failure| failure.code), Err(Code::StoreCorrupt), "{id}");
                return;
            }
        };
        let verified = verified.unwrap_or_else(|failure| panic!("{id} can be opened and not verified: {failure}"));
        assert_eq!(reader.size(), content.len() as u64, "{id}");
        match reader.read(Extent::between(0, content.len() as u64)).await {
            Ok(bytes) => {
                assert!(bytes == content, "{id} differs from its source");
                assert_eq!((&verified.damaged[..], verified.root_digest), (&[][..], digest), "{id}: {verified:?}");
            }
            Err(failure) => {
                self.excuse(&failure, id.as_str());
                self.damage(&reader, content, &verified).await;
                assert_ne!(verified.root_digest, digest, "{id}");
            }
        }
    }

    /// What cannot be read is what verification tells, block by block; the rest is right.
    async fn damage(&self, reader: &SnapshotReader, content: &[u8], verified: &Verified) {
        let id = &reader.manifest().snapshot;
        let mut damaged: Vec<Extent> = Vec::new();
        for block in Extent::between(0, content.len() as u64).pieces(BlockSize::MIN.bytes()) {
            match reader.read(block).await {
                Ok(bytes) => {
                    let is = &content[block.offset as usize..block.end() as usize];
                    assert!(bytes == is, "{id} differs from its source at {}", block.offset);
                }
                Err(failure) => {
                    self.excuse(&failure, id.as_str());
                    match damaged.last_mut() {
                        Some(last) if last.end() == block.offset => last.length += block.length,
                        _ => damaged.push(block),
                    }
                }
            }
        }
        assert_eq!(verified.damaged, damaged, "{id}: verification tells of other blocks than cannot be read");
        assert!(verified.first_problem.is_some(), "{id}");
    }
}
