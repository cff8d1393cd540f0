//! The one pipeline: from what a source knows and holds of a volume to a committed snapshot.
//!
//! ```text
//! extents ─► plan ─► read ─► zero? digest, in parent, staged, elsewhere? compress ─► open pack ─► store
//!  window     leaf    8 × 1 MiB        one for each core                           12 MiB       a pack
//!                                       └──────► leaf page ─► tree ─► open pack     └─► ledger
//! ```
//!
//! # Consistency
//! The snapshot's manifest is put last, when every pack is durable. If a repack moved the parent's records meanwhile, the
//! snapshot is withdrawn again before anybody knows of it. What the source says of unchanged extents is honoured
//! only together with a readable parent of the same size and block size, and if the volume was not cut off since
//! (`tail`); else everything is read and compared by digest. What of the parent is damaged is not built on (`suspect`).
//!
//! # Retries
//! The whole call is repeatable. A snapshot that is committed is returned as it is; packs that earlier attempts made
//! durable are used again ([`Request::staged`]). Nothing is retried inside.
//!
//! # Cancellation
//! By token. What is on its way into the store is waited for, so that nothing appears after the call has returned.
//! Dropping the call instead is like a crash.
//!
//! # Completion
//! When the call returns with success the snapshot is committed and durable, and the ledger says so of each pack.
//!
//! # Crash consistency
//! [`Ledger::begun`] is durable before a pack is put, [`Ledger::durable`] some time after and before the commit: so after
//! a crash every pack is durable, or known to have been begun, or nothing. If the source fails, the pack that is being filled is sent before the failure is
//! returned: so a link that breaks often still makes progress.
//!
//! # Memory
//! The open pack, eight reads with their compressed blocks, a few pages and indexes, and over all volumes two packs on
//! their way: under 64 MiB, whatever the size of the volume.

mod elsewhere;
mod examine;
mod meter;
mod packer;
mod plan;
mod staged;
mod suspect;
mod tail;
mod walk;

pub(crate) use examine::page_record;

use crate::block::{BlockSize, Digest};
use crate::replicate::meter::Meter;
use crate::replicate::packer::{Packer, Spare, send_packs, stopped};
use crate::replicate::staged::StagedPacks;
use crate::replicate::suspect::Suspects;
use crate::replicate::walk::{Parent, Walk};
use crate::snapshot::{self, Draft, Found, SnapshotManifest};
use crate::source::VolumeReader;
use crate::store::BlockStore;
use crate::tree::Geometry;
use async_trait::async_trait;
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{PackId, RunId, SnapshotId};
use godwit_model::time::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Wanted: a volume's content as a snapshot.
#[derive(Clone, Debug)]
pub struct Request {
    /// Id of the snapshot to commit.
    pub snapshot: SnapshotId,
    /// The run that it belongs to.
    pub run: RunId,
    /// What it is read from: volumes of one source share its cap, and are read less together when it answers slowly.
    pub source: String,
    /// The volume's name within its server.
    pub device: String,
    /// The volume's size in bytes.
    pub size: u64,
    /// Size of the snapshot's blocks.
    pub block_size: BlockSize,
    /// The volume's last committed snapshot.
    pub parent: Option<SnapshotId>,
    /// Whether the source's unchanged extents refer to `parent`.
    pub tracked: bool,
    /// What of `parent` is known to be damaged: it is read from the source, whatever that says of it, and stored anew.
    pub damaged: Vec<Extent>,
    /// Packs of this run and volume that earlier attempts made durable.
    pub staged: Vec<Staged>,
    /// Figures of earlier attempts.
    pub figures: VolumeFigures,
    /// Goes into the manifest.
    pub created_at: Timestamp,
}

/// A durable pack of an earlier attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Staged {
    /// Which.
    pub pack: PackId,
    /// Whether it was read from the point in time that is being replicated: then its blocks are not read again.
    pub same_point: bool,
}

/// A committed snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replicated {
    /// Its id.
    pub snapshot: SnapshotId,
    /// Digest over the whole volume.
    pub root_digest: Digest,
    /// The latest version of the key that a pack of it may be under.
    pub key_version: u32,
    /// Final figures, those of earlier attempts included.
    pub figures: VolumeFigures,
    /// What the operator should know, one sentence each.
    pub notes: Vec<String>,
    /// Staged packs that the snapshot does not use.
    pub unused: Vec<PackId>,
}

/// Where the state of packs is recorded. What a call records is durable when it returns.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// A pack of `bytes` bytes is about to be put.
    async fn begun(&self, pack: &PackId, bytes: u64) -> Result<(), Failure>;
    /// The packs are durable in the store. Several became so since the last call if that took its time.
    async fn durable(&self, packs: &[PackId]) -> Result<(), Failure>;
}

/// Moves the volume that `reader` reads into the store and commits its snapshot, in the key domain that `store` writes
/// in. A parent of another domain is not compared with.
pub async fn replicate(
    store: &BlockStore,
    request: &Request,
    reader: Arc<dyn VolumeReader>,
    ledger: &dyn Ledger,
    progress: &(dyn Fn(VolumeFigures) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Replicated, Failure> {
    let geometry = Geometry::new(request.size, request.block_size).ok_or_else(|| {
        Failure::new(
            Code::VolumeUnsupported,
            format!("volume {} of {} bytes is too large", request.device, request.size),
        )
    })?;
    match snapshot::find(store, &request.snapshot).await? {
        Found::Nothing => {}
        Found::Here(_, manifest) => {
            let repeated = repeated(request, &manifest)?;
            if snapshot::stands_on_its_parent(store, &manifest).await? {
                return Ok(repeated);
            }
            // An earlier attempt ended before it found out.
            snapshot::delete(store, &request.snapshot).await?;
        }
        Found::OfOtherKey(key) => {
            let what = format!("snapshot {} exists already, encrypted with {key}", request.snapshot);
            return Err(Failure::new(Code::Internal, what));
        }
    }
    let meter = Meter::new(request.figures, request.size, progress);
    let mut notes = Vec::new();
    let mut parent = open_parent(store, request, &mut notes).await?;
    if let Some(parent) = parent.as_mut().filter(|parent| parent.is_believed) {
        parent.is_believed = is_whole(store, &*reader, geometry, parent, &meter, &mut notes).await?;
    }
    let staged = StagedPacks::scan(store, &request.staged).await?;

    let spare = Spare::default();
    let (packer, outgoing) = Packer::new(store, spare.clone());
    let stop = cancel.child_token();
    let walking = async {
        // Owned in here: when the walk has ended, so has the sending.
        let packer = Arc::new(packer);
        let seat = store.turns().seat(&request.source, &request.run);
        let mut walk = Walk::new(store, geometry, reader, seat, parent.as_ref(), packer.clone(), &meter, staged);
        let walked = tokio::select! {
            biased;
            () = stop.cancelled() => Err(stopped()),
            walked = walk.run() => walked,
        };
        let (staged, more_notes, elsewhere) = walk.into_rest();
        let flushed = if may_flush(&walked) { packer.flush() } else { Ok(()) };
        let (packs, bytes) = packer.sent();
        walked.and_then(|root| flushed.map(|()| (root, staged, more_notes, elsewhere, packs, bytes)))
    };
    let sending = send_packs(store, outgoing, &spare, ledger, &meter, &stop);
    let (walked, sent) = futures::future::join(Box::pin(walking), Box::pin(sending)).await;
    if cancel.is_cancelled() {
        return Err(Failure::new(Code::Cancelled, format!("replication of volume {} was stopped", request.device)));
    }
    sent?;
    // What is on loan stays so until the snapshot is committed.
    let (root, staged, more_notes, elsewhere, mut packs, bytes) = walked?;
    let borrowed_version = elsewhere.key_version();
    notes.extend(more_notes);
    let pack_bytes = bytes + staged.adopt(&mut packs);
    let draft = Draft {
        snapshot: request.snapshot.clone(),
        run: request.run.clone(),
        device: request.device.clone(),
        geometry,
        parent_root: parent.as_ref().and_then(|parent| parent.root),
        // What is shared with the parent may be under a version that was made since these keys were read.
        key_version: parent
            .as_ref()
            .map_or(borrowed_version, |p| p.tree.key_version().max(borrowed_version))
            .max(store.keys().newest()),
        parent: parent.and(request.parent.clone()),
        created_at: request.created_at,
        pack_bytes,
        packs,
        root,
    };
    let manifest = snapshot::commit(store, draft).await?;
    if !snapshot::stands_on_its_parent(store, &manifest).await? {
        snapshot::delete(store, &request.snapshot).await?;
        let what = format!(
            "blocks of the parent of volume {} were moved meanwhile; what was sent is used again",
            request.device
        );
        return Err(Failure::new(Code::StoreUnavailable, what));
    }
    notes.extend(staged.notes.iter().cloned());
    Ok(Replicated {
        snapshot: request.snapshot.clone(),
        root_digest: manifest.root_digest,
        key_version: manifest.key_version,
        figures: meter.finish(manifest.length(), manifest.bytes_stored()),
        notes,
        unused: unused(request, &manifest),
    })
}

/// The result of a snapshot that an earlier attempt committed.
fn repeated(request: &Request, manifest: &SnapshotManifest) -> Result<Replicated, Failure> {
    if (&manifest.run, &manifest.device, manifest.size) != (&request.run, &request.device, request.size) {
        return Err(Failure::new(
            Code::Internal,
            format!("snapshot {} exists already, of volume {} of {}", manifest.snapshot, manifest.device, manifest.run),
        ));
    }
    let figures = VolumeFigures {
        bytes_total: manifest.size,
        bytes_done: manifest.size,
        bytes_stored: manifest.bytes_stored(),
        ..request.figures
    };
    Ok(Replicated {
        snapshot: manifest.snapshot.clone(),
        root_digest: manifest.root_digest,
        key_version: manifest.key_version,
        figures,
        notes: Vec::new(),
        unused: unused(request, manifest),
    })
}

/// Staged packs that the manifest does not name. The manifest decides and not this attempt: it may be another one's.
fn unused(request: &Request, manifest: &SnapshotManifest) -> Vec<PackId> {
    let packs = request.staged.iter().map(|staged| &staged.pack);
    packs.filter(|pack| !manifest.packs.contains(pack)).cloned().collect()
}

/// The parent, if there is one to compare with. A parent that is gone or damaged makes the run slower, not impossible.
async fn open_parent(
    store: &BlockStore,
    request: &Request,
    notes: &mut Vec<String>,
) -> Result<Option<Parent>, Failure> {
    let Some(id) = &request.parent else { return Ok(None) };
    let why = match snapshot::find(store, id).await {
        Ok(Found::Here(store, manifest)) if manifest.block_size == request.block_size => {
            return Ok(Some(Parent {
                is_believed: request.tracked && manifest.size == request.size,
                root: manifest.root_entry(),
                suspects: Suspects::new(manifest.geometry(), &request.damaged),
                tree: manifest.tree(&store),
            }));
        }
        Ok(Found::Here(..)) => "it has blocks of another size".to_owned(),
        Ok(Found::OfOtherKey(key)) => format!("it is encrypted with another key, {key}"),
        Ok(Found::Nothing) => "it is not in the store".to_owned(),
        Err(failure) if failure.code == Code::StoreCorrupt => failure.evidence,
        Err(failure) => return Err(failure),
    };
    notes.push(format!("snapshot {id} cannot be compared with, everything is read: {why}"));
    Ok(None)
}

/// Whether what the source says is unchanged can be believed.
async fn is_whole(
    store: &BlockStore,
    reader: &dyn VolumeReader,
    geometry: Geometry,
    parent: &Parent,
    meter: &Meter<'_>,
    notes: &mut Vec<String>,
) -> Result<bool, Failure> {
    match tail::was_cut(store, reader, geometry, &parent.tree).await {
        Ok((was_cut, bytes)) => {
            meter.read(bytes, 0);
            if was_cut {
                let what = "the volume was cut off and grew again since its last run, everything is read and compared";
                notes.push(what.to_owned());
            }
            Ok(!was_cut)
        }
        // It cannot be told. The walk finds the damage, too, and notes it.
        Err(failure) if failure.code == Code::StoreCorrupt => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether the open pack is to be sent: at the end, and when only the source failed.
fn may_flush<T>(walked: &Result<T, Failure>) -> bool {
    match walked {
        Ok(_) => true,
        Err(failure) => matches!(
            failure.code,
            Code::SourceRead | Code::SourceUnreachable | Code::SourceProtocol | Code::PointInTimeLost | Code::TimedOut
        ),
    }
}
