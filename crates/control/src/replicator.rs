//! What the decision line asks of the data line. Implemented by the embedded connector in `server`.
//!
//! Every call may happen twice, with a crash between: each is keyed by a run, a snapshot or an image, and ends in the
//! same state however often it is made. All failures are [`Failure`]s; only their code's kind decides about retries.

use async_trait::async_trait;
use futures::future::BoxFuture;
use godwit_model::cap::{HeldBack, Rate};
use godwit_model::connector::ConnectorConfig;
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use godwit_model::figures::{Consistency, VolumeFigures};
use godwit_model::id::{ImageId, JobId, KeyId, PackId, RunId, SnapshotId};
use godwit_model::key::NoteKeyUse;
use godwit_model::run::Claims;
use godwit_model::server::Discovery;
use godwit_model::time::{Millis, Timestamp};
use tokio_util::sync::CancellationToken;

/// The part that stands next to a VM manager: discovers, takes points in time, reads, sends.
#[async_trait]
pub trait Replicator: Send + Sync {
    /// What servers the VM manager offers.
    async fn discover(&self, config: &ConnectorConfig) -> Result<Discovery, Failure>;

    /// Takes the point in time of a run, or finds the one already taken for it.
    async fn take_point(&self, order: &PointOrder) -> Result<Point, Failure>;

    /// Moves one volume of the run's point in time into the store and commits its snapshot. Blocks that an earlier
    /// attempt made durable (`order.staged`) are not sent again. If the snapshot is already committed, its result is
    /// returned. Fails with `PointInTimeLost` if the source does not hold `order.point` any more: then the run takes a
    /// new point for *all* its volumes, so that an image never mixes two of them.
    async fn transfer(
        &self,
        order: &TransferOrder,
        report: &dyn TransferReport,
        cancel: &CancellationToken,
    ) -> Result<VolumeResult, Failure>;

    /// How fast may be read from now on, also by transfers at work. What is not named is unlimited.
    fn set_rates(&self, rates: &ReadRates);

    /// What holds the reads of a run back at the moment, if anything does.
    fn held_back(&self, run: &RunId) -> Option<HeldBack>;

    /// Ends the run's point in time at the source.
    async fn settle(&self, source: &SourceServer, run: &RunId, end: SettleEnd) -> Result<(), Failure>;

    /// Removes everything of ours at the VM manager but what is claimed. One sentence for each thing removed. Claims are
    /// asked for again for each server: runs may begin while a sweep is under way.
    async fn sweep_source(&self, config: &ConnectorConfig, claims: AskClaims<'_>) -> Result<Vec<String>, Failure>;
}

/// Tells what is claimed at the moment of the question.
pub type AskClaims<'a> = &'a (dyn Fn() -> BoxFuture<'a, Result<Claims, Failure>> + Send + Sync);

/// The part that holds snapshots and images.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// Re-reads what is stored and compares it with the digests taken while the source was read.
    /// Corruption found is a result, not a failure.
    async fn verify(
        &self,
        snapshot: &SnapshotId,
        scope: VerifyScope,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<VerifyResult, Failure>;

    /// Writes the image; the snapshots it names are committed. The same image written twice is one image.
    async fn register(&self, order: &ImageOrder) -> Result<(), Failure>;

    /// Removes staged packs that no snapshot names: those of a run that was given up.
    async fn discard_staged(&self, packs: &[PackId]) -> Result<(), Failure>;

    /// Whether the pack's object is there in full: asked after a crash for packs that were begun.
    async fn pack_is_complete(&self, pack: &PackId) -> Result<bool, Failure>;

    /// Removes the image; its snapshots stay. An image that is not there is done.
    async fn delete_image(&self, image: &ImageId) -> Result<(), Failure>;

    /// Removes snapshots that no image names. Blocks that others name stay; a snapshot that is not there is done.
    async fn delete_snapshots(&self, snapshots: &[SnapshotId]) -> Result<(), Failure>;

    /// The packs that a snapshot's run stored for it; none if there is no such snapshot.
    async fn packs_of(&self, snapshot: &SnapshotId) -> Result<Vec<PackRange>, Failure>;

    /// Looks at the whole store and says what a sweep would do. Changes nothing.
    async fn plan_sweep(&self, order: &SweepOrder<'_>, cancel: &CancellationToken) -> Result<SweepPlan, Failure>;

    /// Removes what nobody needs, and repacks. What cannot be removed is left to the next sweep. One at a time.
    async fn sweep(
        &self,
        order: &SweepOrder<'_>,
        report: &(dyn Fn(SweepProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<SweepEnd, Failure>;

    /// Number and bytes of every pack in the store, by number.
    async fn list_packs(&self) -> Result<Vec<(u128, u64)>, Failure>;

    /// Reads a pack whole and compares everything in it with what was written.
    async fn check_pack(
        &self,
        pack: &PackId,
        used: NoteKeyUse<'_>,
        cancel: &CancellationToken,
    ) -> Result<PackFinding, Failure>;

    /// Which of `snapshots` are damaged, and where: their pages are walked, and of their blocks those are read that lie in
    /// `packs`; without `packs`, those whose packs are gone. `used` is told of each page.
    async fn trace(
        &self,
        packs: Option<&[PackId]>,
        snapshots: &[SnapshotId],
        used: NoteKeyUse<'_>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Traced>, Failure>;

    /// Where a volume of an image holds data: up to `limit` extents from `from` on, sorted. What lies between is zeros.
    async fn data_extents(&self, snapshot: &SnapshotId, from: u64, limit: usize) -> Result<ExtentPage, Failure>;

    /// Where a volume's content is another than in `base`, in whole blocks: like [`ImageStore::data_extents`]. Both are of
    /// one key; behind the end of the smaller one zeros are supposed.
    async fn changed_extents(
        &self,
        base: &SnapshotId,
        snapshot: &SnapshotId,
        from: u64,
        limit: usize,
    ) -> Result<ExtentPage, Failure>;

    /// Exactly the bytes of `extent`.
    async fn read(&self, snapshot: &SnapshotId, extent: Extent) -> Result<bytes::Bytes, Failure>;
}

/// Which server, through which connector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceServer {
    /// How to reach the VM manager.
    pub config: ConnectorConfig,
    /// The VM manager's name of the server.
    pub vm_id: String,
}

/// How fast sources may be read at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRates {
    /// By all runs together.
    pub total: Rate,
    /// By all runs of a connector together.
    pub connectors: Vec<(ConnectorConfig, Rate)>,
    /// By a run, over all its volumes.
    pub runs: Vec<(RunId, Rate)>,
}

/// Wanted: a point in time.
#[derive(Clone, Debug)]
pub struct PointOrder {
    /// Of which server.
    pub source: SourceServer,
    /// For which run.
    pub run: RunId,
    /// Last committed state of each volume.
    pub baselines: Vec<VolumeBaseline>,
}

/// Last committed state of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeBaseline {
    /// The volume's name within its server.
    pub device: String,
    /// The run that committed it.
    pub run: RunId,
    /// Its snapshot.
    pub snapshot: SnapshotId,
    /// Its size then, in bytes.
    pub size: u64,
    /// What it is encrypted with.
    pub key: KeyId,
}

/// A point in time that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// Names it: the same text means the same bytes.
    pub point: String,
    /// What the guest's state was.
    pub consistency: Consistency,
    /// The volumes, boot disk first.
    pub volumes: Vec<PointVolume>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// A volume of a point in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointVolume {
    /// Its name within its server.
    pub device: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether only tracked changes are read; otherwise everything is read and compared by digest.
    pub tracked: bool,
    /// Why not, if a baseline was there.
    pub note: Option<String>,
}

/// Wanted: the content of one volume in the store.
#[derive(Clone, Debug)]
pub struct TransferOrder {
    /// Of which server.
    pub source: SourceServer,
    /// For which run.
    pub run: RunId,
    /// Same baselines as the point was ordered with.
    pub baselines: Vec<VolumeBaseline>,
    /// Which point in time the run's record names.
    pub point: String,
    /// Which volume.
    pub device: String,
    /// Id of the snapshot to commit.
    pub snapshot: SnapshotId,
    /// What to encrypt with, under its newest version. A baseline of another key is not compared with: of it only the
    /// source's change tracker counts.
    pub key: KeyId,
    /// What of the baseline's snapshot proved damaged: it is read from the source and stored anew.
    pub repairs: Vec<Extent>,
    /// Packs of this run and volume that earlier attempts made durable.
    pub staged: Vec<StagedPack>,
    /// Figures of earlier attempts, from which this one goes on.
    pub figures: VolumeFigures,
}

/// A durable pack that no snapshot names yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedPack {
    /// Which.
    pub pack: PackId,
    /// Whether it was read from the very point in time that the order names: then its blocks are not read again.
    /// Otherwise they are read and compared by digest, and only not sent again.
    pub same_point: bool,
}

/// What a transfer tells while it works. Both pack calls are durable when they return.
#[async_trait]
pub trait TransferReport: Send + Sync {
    /// A pack of `bytes` bytes is about to be sent.
    async fn pack_begun(&self, pack: &PackId, bytes: u64) -> Result<(), Failure>;
    /// The packs are durable in the store.
    async fn packs_durable(&self, packs: &[PackId]) -> Result<(), Failure>;
    /// Figures so far; called often, must be cheap.
    fn progress(&self, figures: VolumeFigures);
}

/// A volume that was moved and whose snapshot is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeResult {
    /// The committed snapshot.
    pub snapshot: SnapshotId,
    /// Digest over all blocks of the volume: 64 hexadecimal digits.
    pub root_digest: String,
    /// The latest version of the key that a pack of it may be under.
    pub key_version: u32,
    /// Final figures.
    pub figures: VolumeFigures,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// How a point in time ends. See `blocks::source::Settle`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettleEnd {
    /// The run committed.
    Committed,
    /// The run is given up.
    Abandoned,
    /// The job is deleted.
    Forget,
}

/// How much to verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerifyScope {
    /// All pages, and the blocks that the snapshot's own run stored: older ones were verified by theirs.
    OwnBlocks,
    /// Every block of the volume.
    Everything,
}

/// What verification found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyResult {
    /// Digest over all blocks as recomputed.
    pub root_digest: String,
    /// Bytes re-read and compared.
    pub bytes_verified: u64,
    /// Ranges that are damaged, merged, at most a thousand; empty means equal.
    pub damaged: Vec<Extent>,
    /// What was wrong with the first one.
    pub first_problem: Option<String>,
    /// Packs in which damage was found.
    pub packs: Vec<PackId>,
    /// Whether there may be more damage than is listed.
    pub is_cut_off: bool,
}

/// How a pack was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PackFinding {
    /// All of it is what was written.
    Whole,
    /// It is not there any more.
    Gone,
    /// Its key may not be used: nobody can tell.
    Closed,
    /// Something in it is not what was written: what, first.
    Damaged(String),
}

/// Damage of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced {
    /// Which snapshot.
    pub snapshot: SnapshotId,
    /// Where its volume is damaged, merged, at most a thousand extents; none if all of it is lost.
    pub damaged: Vec<Extent>,
    /// Whether there is more than is listed, or all of it is lost.
    pub is_cut_off: bool,
    /// What is wrong first.
    pub problem: String,
}

/// Wanted: an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageOrder {
    /// Its id.
    pub image: ImageId,
    /// The job and run that made it.
    pub job: JobId,
    /// See `job`.
    pub run: RunId,
    /// Name of the server.
    pub server_name: String,
    /// What its snapshots are encrypted with.
    pub key: KeyId,
    /// Device name and snapshot of each volume, boot disk first.
    pub volumes: Vec<(String, SnapshotId)>,
    /// When, in milliseconds since the epoch.
    pub created_at: i64,
}

/// A page of a list of extents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtentPage {
    /// Sorted, not touching.
    pub extents: Vec<Extent>,
    /// Where to go on; `None` at the end of the volume.
    pub next: Option<u64>,
}

/// Packs whose ids follow each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackRange {
    /// The first.
    pub first: PackId,
    /// How many.
    pub count: u64,
}

impl PackRange {
    /// The number behind the last one's.
    pub fn next(&self) -> Option<u128> {
        u128::from_be_bytes(self.first.to_bytes()).checked_add(u128::from(self.count))
    }

    /// Whether the pack is one of them.
    pub fn holds(&self, pack: &PackId) -> bool {
        let (first, pack) = (u128::from_be_bytes(self.first.to_bytes()), u128::from_be_bytes(pack.to_bytes()));
        pack.checked_sub(first).is_some_and(|nth| nth < u128::from(self.count))
    }
}

/// What is claimed of the store, whatever snapshots name. See `blocks::sweep::Claims`.
#[derive(Clone, Default, Debug)]
pub struct SweepClaims {
    /// The ledger: packs that runs are sending, or may be resumed from.
    pub packs: Vec<PackRange>,
    /// Packs of snapshots that were deleted.
    pub released: Vec<PackRange>,
    /// Snapshots that have a record.
    pub snapshots: Vec<SnapshotId>,
    /// Snapshots of runs at work, and their parents.
    pub in_use: Vec<SnapshotId>,
}

/// Tells what is claimed of the store at the moment of the question. Asked after packs were listed.
pub type AskSweepClaims<'a> = &'a (dyn Fn() -> BoxFuture<'a, Result<SweepClaims, Failure>> + Send + Sync);

/// Wanted: a sweep of the store.
pub struct SweepOrder<'a> {
    /// Tells what is claimed.
    pub claims: AskSweepClaims<'a>,
    /// Told of each use of a key before anything comes of it, whatever comes of the sweep.
    pub used: NoteKeyUse<'a>,
    /// How long what nobody names or claims is kept.
    pub staging: Millis,
    /// A pack is repacked if at least so many percent of it are dead; 0: never.
    pub repack_percent: u8,
    /// Bytes that are moved at most.
    pub repack_bytes: u64,
    /// The time of the sweep.
    pub now: Timestamp,
}

/// Some packs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PackCount {
    /// How many.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was made.
    pub oldest: Option<Timestamp>,
}

/// What a sweep found, and would do. Every pack is in exactly one of `named`, `staged`, `waiting`, `released`, `expired`
/// and `doubtful`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SweepPlan {
    /// All packs.
    pub all: PackCount,
    /// Packs that snapshots name.
    pub named: PackCount,
    /// Bytes of them that nothing names any more.
    pub dead_bytes: u64,
    /// Packs that only the ledger has.
    pub staged: PackCount,
    /// Packs that nobody needs and that are not old enough.
    pub waiting: PackCount,
    /// When the first of them goes.
    pub waiting_until: Option<Timestamp>,
    /// Packs that go because only deleted snapshots named them.
    pub released: PackCount,
    /// Packs that go because their time is over.
    pub expired: PackCount,
    /// Packs that stay because a snapshot cannot be read.
    pub doubtful: PackCount,
    /// Packs that are worth repacking; the bytes are what that frees.
    pub repackable: PackCount,
    /// How many of them this sweep repacks.
    pub repack_packs: u64,
    /// What that frees.
    pub repack_frees: u64,
    /// Snapshots that go because nobody knows them.
    pub strays: u64,
    /// Snapshots that cannot be read, and why.
    pub unreadable: Vec<(SnapshotId, String)>,
}

/// How far a sweep has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SweepProgress {
    /// Snapshots whose pages were walked.
    pub snapshots_read: u64,
    /// Snapshots there are.
    pub snapshots: u64,
    /// Packs to delete.
    pub packs_to_free: u64,
    /// Packs deleted.
    pub packs_freed: u64,
    /// Their bytes.
    pub bytes_freed: u64,
    /// Bytes moved by repacking.
    pub bytes_moved: u64,
}

/// What a sweep did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SweepEnd {
    /// Packs deleted.
    pub packs_freed: u64,
    /// Their bytes.
    pub bytes_freed: u64,
    /// Bytes moved by repacking.
    pub bytes_moved: u64,
    /// Packs from which everything was moved: they go with the next look.
    pub emptied: Vec<PackId>,
    /// What could not be deleted or moved.
    pub left: u64,
    /// Why, of the first.
    pub problem: Option<String>,
}
