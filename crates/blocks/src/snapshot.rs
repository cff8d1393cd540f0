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
//! manifest by one conditional put too: there is nothing between the old places and the new, and what somebody else put
//! there since it was read stays.

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
    /// The latest version of that key which a pack of the snapshot may be under.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub key_version: u32,
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
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    key_version: u32,
}

fn first_version() -> u32 {
    1
}

fn is_first_version(version: &u32) -> bool {
    *version == 1
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
            key_version: entry.place.key_version,
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
                key_version: self.key_version,
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
    pub(crate) key_version: u32,
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
        if self.key != *store.keys().id() {
            return Err(field("key"));
        }
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

/// What is found under the id of a snapshot by somebody who wants to compare with it.
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A snapshot of another key domain: nothing of it can be compared or shared.
    OfOtherKey(KeyId),
    /// A snapshot of the store's own key domain, and the store to read it with.
    Here(BlockStore, Box<SnapshotManifest>),
}

/// Looks for a snapshot in the key domain that `store` writes in. No other domain's key is asked for.
pub(crate) async fn find(store: &BlockStore, snapshot: &SnapshotId) -> Result<Found, Failure> {
    let path = path_of(snapshot);
    let Some(object) = store.get(&path, MAX_MANIFEST).await? else { return Ok(Found::Nothing) };
    let key = envelope::key_of(Kind::Snapshot, &object).map_err(|damage| damage.of(&path))?;
    if key != *store.keys().id() {
        return Ok(Found::OfOtherKey(key));
    }
    let (store, manifest) = decode(store, snapshot, &object).await?;
    Ok(Found::Here(store, Box::new(manifest)))
}

/// The key that a snapshot says it is of, whether that can be used or not; `None` if there is no such snapshot.
pub(crate) async fn key_of(store: &BlockStore, snapshot: &SnapshotId) -> Result<Option<KeyId>, Failure> {
    let path = path_of(snapshot);
    let Some(object) = store.get(&path, MAX_MANIFEST).await? else { return Ok(None) };
    envelope::key_of(Kind::Snapshot, &object).map(Some).map_err(|damage| damage.of(&path))
}

/// The manifest of a snapshot; `None` if it was never committed, or deleted.
pub async fn load(store: &BlockStore, snapshot: &SnapshotId) -> Result<Option<SnapshotManifest>, Failure> {
    Ok(load_with_store(store, snapshot).await?.map(|(_, manifest)| manifest))
}

/// The same with the store that has the keys of its domain.
pub(crate) async fn load_with_store(
    store: &BlockStore,
    snapshot: &SnapshotId,
) -> Result<Option<(BlockStore, SnapshotManifest)>, Failure> {
    match store.get(&path_of(snapshot), MAX_MANIFEST).await? {
        Some(object) => Ok(Some(decode(store, snapshot, &object).await?)),
        None => Ok(None),
    }
}

/// The manifest of a snapshot that must exist, and the store with the keys of its domain.
pub(crate) async fn open(store: &BlockStore, snapshot: &SnapshotId) -> Result<(BlockStore, SnapshotManifest), Failure> {
    let missing = || Failure::new(Code::StoreCorrupt, format!("snapshot {snapshot} is not in the store"));
    load_with_store(store, snapshot).await?.ok_or_else(missing)
}

async fn decode(
    store: &BlockStore,
    snapshot: &SnapshotId,
    object: &[u8],
) -> Result<(BlockStore, SnapshotManifest), Failure> {
    let path = path_of(snapshot);
    let key = envelope::key_of(Kind::Snapshot, object).map_err(|damage| damage.of(&path))?;
    // Manifests are authenticated by what all versions share.
    let store = store.reading(&key, 1, &path).await?;
    let mut manifest: SnapshotManifest =
        envelope::open(Kind::Snapshot, store.keys(), object).map_err(|damage| damage.of(&path))?;
    manifest.length = object.len() as u64;
    manifest.check(&store, snapshot).map_err(|damage| damage.of(&path))?;
    Ok((store.reading(&key, manifest.key_version, &path).await?, manifest))
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
    store.keys().check_leave()?;
    let mut manifest = SnapshotManifest {
        root_digest: draft.geometry.root_digest(store.keys(), draft.root.map_or(Digest::ZERO, |r| r.digest)),
        snapshot: draft.snapshot,
        run: draft.run,
        device: draft.device,
        size: draft.geometry.size(),
        block_size: draft.geometry.block(),
        key: store.keys().id().clone(),
        key_version: draft.key_version,
        parent: draft.parent,
        created_at: draft.created_at,
        pack_bytes: draft.pack_bytes,
        packs: draft.packs,
        root: draft.root.map(RootEntry::of),
        parent_root: draft.parent_root.map(RootEntry::of),
        length: 0,
    };
    let object = Bytes::from(envelope::seal(Kind::Snapshot, manifest.key_version, store.keys(), &manifest));
    manifest.length = object.len() as u64;
    if manifest.length > MAX_MANIFEST {
        let what = format!("snapshot {} would lie in too many packs to be read again", manifest.snapshot);
        return Err(Failure::new(Code::Internal, what));
    }
    if store.put(&path_of(&manifest.snapshot), object).await? == Put::Created {
        return Ok(manifest);
    }
    let (_, existing) = open(store, &manifest.snapshot).await?;
    if is_same(&existing, &manifest) {
        return Ok(existing);
    }
    Err(Failure::new(Code::Internal, format!("snapshot {} exists already with another content", manifest.snapshot)))
}

/// Replaces the manifest `was` by one of the same content whose root page is elsewhere, under the newest version of the
/// store's keys at the latest. Everything that the new root names is durable. False if the snapshot was deleted or
/// replaced since `was` was read: then it stays as it is.
pub(crate) async fn replace(
    store: &BlockStore,
    was: &SnapshotManifest,
    root: Entry,
    packs: &PackSet,
) -> Result<bool, Failure> {
    let _turn = store.manifests().await;
    let path = path_of(&was.snapshot);
    let Some((object, seen)) = store.get_to_replace(&path, MAX_MANIFEST).await? else { return Ok(false) };
    if decode(store, &was.snapshot, &object).await?.1 != *was {
        return Ok(false);
    }
    let key_version = was.key_version.max(store.keys().newest());
    let is = SnapshotManifest { root: Some(RootEntry::of(root)), packs: packs.clone(), key_version, ..was.clone() };
    let object = Bytes::from(envelope::seal(Kind::Snapshot, key_version, store.keys(), &is));
    if object.len() as u64 > MAX_MANIFEST {
        let what = format!("snapshot {} would lie in too many packs to be read again", was.snapshot);
        return Err(Failure::new(Code::Internal, what));
    }
    store.replace(&path, object, seen).await
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
    (&a.run, &a.device, a.size, &a.key, a.root_digest) == (&b.run, &b.device, b.size, &b.key, b.root_digest)
}

fn path_of(snapshot: &SnapshotId) -> Path {
    Path::from(format!("snapshots/{snapshot}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::Keys;
    use proptest::prelude::*;

    fn root() -> impl Strategy<Value = Option<RootEntry>> {
        let root = (any::<[u8; 32]>(), any::<u128>(), 40u32..1 << 30, 17u32..1 << 20, any::<u32>(), 1u32..9);
        proptest::option::of(root.prop_map(|(digest, pack, offset, stored, ordinal, key_version)| RootEntry {
            digest: Digest(digest),
            pack: PackId::from_bits(pack),
            offset,
            stored,
            raw: stored - 16,
            ordinal,
            codec: if ordinal % 2 == 0 { Codec::Raw } else { Codec::Zstd },
            key_version,
        }))
    }

    fn manifest() -> impl Strategy<Value = SnapshotManifest> {
        let ids = (any::<u128>(), any::<u128>(), proptest::option::of(any::<u128>()));
        let packs = proptest::collection::vec((any::<u128>(), 1u64..1000), 0..5);
        let numbers = (0u64..1 << 60, 12u32..=20, any::<i64>(), any::<u64>(), 1u32..9);
        (ids, ".{0,20}", packs, numbers, root(), root()).prop_map(
            |(
                (snapshot, run, parent),
                device,
                ranges,
                (size, shift, at, pack_bytes, key_version),
                root,
                parent_root,
            )| {
                let mut packs = PackSet::default();
                ranges.into_iter().for_each(|(first, count)| packs.insert(first, count));
                SnapshotManifest {
                    snapshot: SnapshotId::from_bits(snapshot),
                    run: RunId::from_bits(run),
                    device,
                    size,
                    block_size: BlockSize::new(1 << shift).expect("a power of two within the bounds"),
                    root_digest: Digest([7; 32]),
                    key: KeyId::from_bits(1),
                    key_version,
                    parent: parent.map(SnapshotId::from_bits),
                    created_at: Timestamp(at),
                    pack_bytes,
                    packs,
                    root,
                    parent_root,
                    length: 0,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn manifests_come_back_and_spoilt_ones_do_not(
            manifest in manifest(),
            at in any::<proptest::sample::Index>(),
            byte: u8,
        ) {
            let keys = Keys::derive(KeyId::from_bits(1), &[5; 32]);
            let mut object = envelope::seal(Kind::Snapshot, manifest.key_version, &keys, &manifest);
            prop_assert_eq!(envelope::open(Kind::Snapshot, &keys, &object), Ok(manifest));
            let at = at.index(object.len());
            prop_assert!(envelope::open::<SnapshotManifest>(Kind::Snapshot, &keys, &object[..at]).is_err());
            let is_spoilt = object[at] != byte;
            object[at] = byte;
            let is_refused = envelope::open::<SnapshotManifest>(Kind::Snapshot, &keys, &object).is_err();
            prop_assert_eq!(is_refused, is_spoilt);
        }

        /// Whoever holds the key may write any body: what is in it is checked, and nothing panics on it.
        #[test]
        fn bodies_that_are_authentic_and_senseless_never_panic(
            size: u64, block: u32, count: u64, first: u128, stored: u32, offset: u32,
        ) {
            let body = serde_json::json!({
                "snapshot": SnapshotId::from_bits(1), "run": RunId::from_bits(1), "device": "vda", "size": size,
                "block_size": block, "root_digest": Digest([7; 32]), "key": KeyId::from_bits(1), "parent": null,
                "created_at": 0, "pack_bytes": size,
                "packs": [{"first": PackId::from_bits(first), "count": count}, {"first": PackId::from_bits(first), "count": 1}],
                "root": {"digest": Digest([8; 32]), "pack": PackId::from_bits(first), "offset": offset, "stored": stored,
                    "raw": stored, "ordinal": offset, "codec": "zstd"},
            });
            let keys = Keys::derive(KeyId::from_bits(1), &[5; 32]);
            let object = envelope::seal(Kind::Snapshot, 1, &keys, &body);
            if let Ok(manifest) = envelope::open::<SnapshotManifest>(Kind::Snapshot, &keys, &object) {
                prop_assert!(!manifest.packs.is_proper());
                prop_assert!(manifest.packs.len() >= count.min(1));
                let _ = manifest.packs.contains(&PackId::from_bits(first));
                let _ = manifest.root_entry().map(|root| root.place.is_possible());
            }
        }
    }
}
