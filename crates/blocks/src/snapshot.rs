//! Snapshots: the content of one volume at one point in time.
//!
//! # Consistency
//! The manifest is written last, so a snapshot that exists is whole: every pack that its pages name was durable before.
//!
//! # Retries
//! Committing the same snapshot again is success; another snapshot of the same id is refused.
//!
//! # Cancellation
//! A commit that is dropped has happened or has not; whoever repeats it finds out.
//!
//! # Completion
//! The manifest is durable when the commit returns.
//!
//! # Crash consistency
//! One conditional put of one object: there is nothing between "no snapshot" and "snapshot". A repack replaces the
//! manifest by one put too: there is nothing between the old places and the new.

use crate::block::{BlockSize, Codec, Digest};
use crate::damage::Damage;
use crate::envelope::{self, Kind, MAX_MANIFEST};
use crate::pack::{PackSet, Place};
use crate::page::Entry;
use crate::store::{BlockStore, Put};
use crate::tree::Geometry;
use crate::tree::walker::Tree;
use bytes::Bytes;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{KeyId, PackId, RunId, SnapshotId};
use godwit_model::time::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// What is recorded of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// Its id.
    pub snapshot: SnapshotId,
    /// The run that made it.
    pub run: RunId,
    /// The volume's name within its server.
    pub device: String,
    /// The volume's size in bytes.
    pub size: u64,
    /// Size of its blocks.
    pub block_size: BlockSize,
    /// Digest over the whole volume.
    pub root_digest: Digest,
    /// The key that its digests and packs are made with.
    pub key: KeyId,
    /// The snapshot that it was compared with.
    pub parent: Option<SnapshotId>,
    /// When, as told by the caller.
    pub created_at: Timestamp,
    /// Bytes of its own packs.
    pub pack_bytes: u64,
    /// Packs that its run stored. Others that it needs belong to earlier snapshots.
    pub packs: PackSet,
    /// The root page; `None` if the volume is all zeros.
    root: Option<RootEntry>,
    /// Where the parent's root page was when this snapshot was made. Blocks were taken over by the parent's places: if a
    /// repack has moved them before the commit, the snapshot may name what is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_root: Option<RootEntry>,
    /// Length of this manifest as an object.
    #[serde(skip)]
    length: u64,
}

/// An [`Entry`] as it is written in a manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct RootEntry {
    digest: Digest,
    pack: PackId,
    offset: u32,
    stored: u32,
    raw: u32,
    ordinal: u32,
    codec: Codec,
}

impl RootEntry {
    fn of(entry: Entry) -> Self {
        Self {
            digest: entry.digest,
            pack: PackId::from_bits(entry.place.pack),
            offset: entry.place.offset,
            stored: entry.place.stored,
            raw: entry.place.raw,
            ordinal: entry.place.ordinal,
            codec: entry.place.codec,
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            digest: self.digest,
            place: Place {
                pack: u128::from_be_bytes(self.pack.to_bytes()),
                offset: self.offset,
                stored: self.stored,
                raw: self.raw,
                ordinal: self.ordinal,
                codec: self.codec,
            },
        }
    }
}

/// All that a snapshot is made of, before it is committed.
pub(crate) struct Draft {
    pub(crate) snapshot: SnapshotId,
    pub(crate) run: RunId,
    pub(crate) device: String,
    pub(crate) geometry: Geometry,
    pub(crate) parent: Option<SnapshotId>,
    pub(crate) created_at: Timestamp,
    pub(crate) pack_bytes: u64,
    pub(crate) packs: PackSet,
    pub(crate) root: Option<Entry>,
    pub(crate) parent_root: Option<Entry>,
}

impl SnapshotManifest {
    /// Bytes that its run added to the store for it: packs and this manifest.
    pub fn bytes_stored(&self) -> u64 {
        self.pack_bytes + self.length
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::new(self.size, self.block_size).expect("checked when the manifest was read or made")
    }

    pub(crate) fn tree(&self, store: &BlockStore) -> Tree {
        Tree::new(store.clone(), self.geometry(), self.root_entry())
    }

    pub(crate) fn root_entry(&self) -> Option<Entry> {
        self.root.as_ref().map(RootEntry::entry)
    }

    fn check(&self, store: &BlockStore, name: &SnapshotId) -> Result<(), Damage> {
        let field = |field| Damage::Field { part: "the manifest", field };
        let geometry = Geometry::new(self.size, self.block_size).ok_or(field("size"))?;
        if self.snapshot != *name {
            return Err(field("snapshot id"));
        }
        if !self.packs.is_proper() {
            return Err(field("packs"));
        }
        let root = self.root_entry();
        if root.is_some_and(|root| !root.place.is_possible()) {
            return Err(field("root page"));
        }
        if geometry.root_digest(store.keys(), root.map_or(Digest::ZERO, |r| r.digest)) != self.root_digest {
            return Err(field("root digest"));
        }
        Ok(())
    }
}

/// The manifest of a snapshot; `None` if it was never committed, or deleted.
pub async fn load(store: &BlockStore, snapshot: &SnapshotId) -> Result<Option<SnapshotManifest>, Failure> {
    let path = path_of(snapshot);
    let Some(object) = store.get(&path, MAX_MANIFEST).await? else {
        return Ok(None);
    };
    let mut manifest: SnapshotManifest =
        envelope::open(Kind::Snapshot, store.keys(), &object).map_err(|damage| damage.of(&path))?;
    manifest.length = object.len() as u64;
    manifest.check(store, snapshot).map_err(|damage| damage.of(&path))?;
    Ok(Some(manifest))
}

/// The manifest of a snapshot that must exist.
pub(crate) async fn load_existing(store: &BlockStore, snapshot: &SnapshotId) -> Result<SnapshotManifest, Failure> {
    load(store, snapshot)
        .await?
        .ok_or_else(|| Failure::new(Code::StoreCorrupt, format!("snapshot {snapshot} is not in the store")))
}

/// Ids of all committed snapshots.
pub async fn list(store: &BlockStore) -> Result<Vec<SnapshotId>, Failure> {
    Ok(store.list("snapshots").await?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Removes a snapshot's manifest. Its blocks stay until the sweep finds that nobody names them. Repeatable.
pub async fn delete(store: &BlockStore, snapshot: &SnapshotId) -> Result<(), Failure> {
    let _turn = store.manifests().await;
    store.delete(&path_of(snapshot)).await
}

/// Writes the manifest: from then on the snapshot exists. Everything that it names is durable.
pub(crate) async fn commit(store: &BlockStore, draft: Draft) -> Result<SnapshotManifest, Failure> {
    let mut manifest = SnapshotManifest {
        root_digest: draft.geometry.root_digest(store.keys(), draft.root.map_or(Digest::ZERO, |r| r.digest)),
        snapshot: draft.snapshot,
        run: draft.run,
        device: draft.device,
        size: draft.geometry.size(),
        block_size: draft.geometry.block(),
        key: store.keys().id().clone(),
        parent: draft.parent,
        created_at: draft.created_at,
        pack_bytes: draft.pack_bytes,
        packs: draft.packs,
        root: draft.root.map(RootEntry::of),
        parent_root: draft.parent_root.map(RootEntry::of),
        length: 0,
    };
    let object = Bytes::from(envelope::seal(Kind::Snapshot, store.keys(), &manifest));
    manifest.length = object.len() as u64;
    if manifest.length > MAX_MANIFEST {
        let what = format!("snapshot {} would lie in too many packs to be read again", manifest.snapshot);
        return Err(Failure::new(Code::Internal, what));
    }
    if store.put(&path_of(&manifest.snapshot), object).await? == Put::Created {
        return Ok(manifest);
    }
    let existing = load_existing(store, &manifest.snapshot).await?;
    if is_same(&existing, &manifest) {
        return Ok(existing);
    }
    Err(Failure::new(Code::Internal, format!("snapshot {} exists already with another content", manifest.snapshot)))
}

/// Replaces the manifest `was` by one of the same content whose root page is elsewhere. Everything that the new root
/// names is durable. False if the snapshot was deleted or replaced since `was` was read: then it stays as it is.
pub(crate) async fn replace(
    store: &BlockStore,
    was: &SnapshotManifest,
    root: Entry,
    packs: &PackSet,
) -> Result<bool, Failure> {
    let _turn = store.manifests().await;
    if load(store, &was.snapshot).await?.as_ref() != Some(was) {
        return Ok(false);
    }
    let is = SnapshotManifest { root: Some(RootEntry::of(root)), packs: packs.clone(), ..was.clone() };
    let object = Bytes::from(envelope::seal(Kind::Snapshot, store.keys(), &is));
    if object.len() as u64 > MAX_MANIFEST {
        let what = format!("snapshot {} would lie in too many packs to be read again", was.snapshot);
        return Err(Failure::new(Code::Internal, what));
    }
    store.replace(&path_of(&was.snapshot), object).await?;
    Ok(true)
}

/// Whether a snapshot's records were moved since `known` was read.
pub(crate) async fn has_moved(store: &BlockStore, known: &SnapshotManifest) -> Result<bool, Failure> {
    Ok(load(store, &known.snapshot).await?.is_some_and(|is| is.root_entry() != known.root_entry()))
}

/// Whether the parent that a snapshot took blocks over from is still where it was. Asked after the commit, the answer
/// holds for ever: from its commit on, the snapshot itself keeps what it names.
pub(crate) async fn stands_on_its_parent(store: &BlockStore, is: &SnapshotManifest) -> Result<bool, Failure> {
    let (Some(parent), Some(root)) = (&is.parent, &is.parent_root) else { return Ok(true) };
    let parent = load(store, parent).await?;
    Ok(parent.is_some_and(|parent| parent.root_entry() == Some(root.entry())))
}

/// Whether both stand for the same content of the same run. How it is packed may differ: an earlier attempt made it.
fn is_same(a: &SnapshotManifest, b: &SnapshotManifest) -> bool {
    (&a.run, &a.device, a.size, a.root_digest) == (&b.run, &b.device, b.size, b.root_digest)
}

fn path_of(snapshot: &SnapshotId) -> Path {
    Path::from(format!("snapshots/{snapshot}"))
}
