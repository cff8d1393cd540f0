//! What the data line asks of a source. Implemented by `sources`.
//!
//! A source gives **points in time** of a server's volumes: [`Source::open`] takes one, or finds the one that it took
//! for the same run before a crash; [`Source::settle`] ends it. Everything created at the VM manager carries our owner
//! mark and the run's id, so that both calls work from names alone, in any process, any number of times.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use godwit_model::extent::Extent;
use godwit_model::failure::Failure;
use godwit_model::figures::Consistency;
use godwit_model::id::RunId;
use godwit_model::run::Claims;
use godwit_model::server::Discovery;
use std::sync::Arc;

/// A VM manager, or something that stands in for one.
#[async_trait]
pub trait Source: Send + Sync {
    /// What servers there are. What cannot be used is a warning, not an error, as long as something answers.
    async fn discover(&self) -> Result<Discovery, Failure>;

    /// The point in time of `request.run`: taken now, or the one that exists from an earlier call for the same run
    /// (then [`View::resumed`] is true and every reader gives the same bytes as before).
    async fn open(&self, request: &OpenRequest) -> Result<View, Failure>;

    /// Succeeds only if `point` of `run` holds at this moment: then all that was ever read of it is what it showed at
    /// first. Otherwise fails with `PointInTimeLost`, for ever. Readers need not notice a loss themselves, so nothing
    /// that they gave may be believed before this was asked.
    async fn still_holds(&self, vm_id: &str, run: &RunId, point: &str) -> Result<(), Failure>;

    /// Looks after the point in time of `run`, from before it is opened until it is settled. Returns only if the point
    /// had to be ended so that the guest does not suffer, and says why.
    async fn guard(&self, vm_id: &str, run: &RunId) -> Failure;

    /// Ends the point in time of `run` and removes what was created for it. Repeatable; a run that is unknown is done.
    async fn settle(&self, vm_id: &str, run: &RunId, end: Settle) -> Result<(), Failure>;

    /// Removes everything of ours on all servers but what is claimed; thaws guests that we left frozen. Returns one
    /// sentence for each thing removed. Claims are asked for again for each server, when nobody else can begin anything
    /// there: runs may begin while a sweep is under way.
    async fn sweep(&self, claims: AskClaims<'_>) -> Result<Vec<String>, Failure>;
}

/// Tells what is claimed at the moment of the question.
pub type AskClaims<'a> = &'a (dyn Fn() -> BoxFuture<'a, Result<Claims, Failure>> + Send + Sync);

/// What a point in time is wanted for.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// The VM manager's name of the server.
    pub vm_id: String,
    /// The run that owns the view.
    pub run: RunId,
    /// The run whose commit the change trackers were last advanced for, per volume that has one.
    pub baselines: Vec<Baseline>,
    /// If given, only this very point in time will do (see [`View::point`]): nothing is taken anew, and its absence is
    /// the failure `PointInTimeLost`.
    pub expect_point: Option<String>,
}

/// Where the change tracking of a volume starts.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The volume's name, see [`VolumeView::device`].
    pub device: String,
    /// The last run of this volume that committed; the tracker must carry its id.
    pub run: RunId,
    /// The volume's size then.
    pub size: u64,
}

/// How a point in time ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settle {
    /// The run committed: the next run's changes count from this point; older trackers are removed.
    Committed,
    /// The run is given up: changes since the *previous* committed point must not be forgotten.
    Abandoned,
    /// The job is deleted: remove everything of the server that is ours, trackers included.
    Forget,
}

/// One point in time of all volumes of a server.
pub struct View {
    /// Names the point in time: the same text means the same bytes.
    pub point: String,
    /// Whether it existed before this call.
    pub resumed: bool,
    /// What the guest's state was at that moment.
    pub consistency: Consistency,
    /// The volumes, boot disk first.
    pub volumes: Vec<VolumeView>,
    /// What the operator should know: why no freeze, for example.
    pub notes: Vec<String>,
}

/// One volume at a point in time.
pub struct VolumeView {
    /// Stable name of the volume within its server.
    pub device: String,
    /// Virtual size in bytes.
    pub size: u64,
    /// Whether the change tracker is believed: only then does [`VolumeReader::extents`] say [`ExtentKind::Unchanged`].
    pub tracked: bool,
    /// Why the tracker is not believed, if it is not although there was a baseline.
    pub note: Option<String>,
    /// Gives the bytes.
    pub reader: Arc<dyn VolumeReader>,
}

/// What is known of a range before reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExtentKind {
    /// Equal to the baseline's point in time.
    Unchanged,
    /// Reads as zeros.
    Zero,
    /// Must be read.
    Data,
}

/// A range and what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceExtent {
    /// Where.
    pub extent: Extent,
    /// What is known.
    pub kind: ExtentKind,
}

/// Reads one volume at one point in time. Calls may overlap; several reads in flight are wanted.
#[async_trait]
pub trait VolumeReader: Send + Sync {
    /// What is known of `window`: sorted, without gaps or overlaps, covering `window` exactly.
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure>;

    /// What of `window` is known to read as zeros, whatever changed and did not: sorted, without overlaps. Who does not
    /// know says nothing.
    async fn zeros(&self, window: Extent) -> Result<Vec<Extent>, Failure>;

    /// Exactly the bytes of `extent`, at most [`MAX_READ`] of them.
    async fn read(&self, extent: Extent) -> Result<Bytes, Failure>;
}

/// Longest single read: NBD requests beyond this fall out of the processor's cache (see docs/performance.md).
pub const MAX_READ: u64 = 1 << 20;
