//! Taking a point in time of all disks of a machine, or finding the one that a run took before.
//!
//! ```text
//! look ─▶ a living point of the run? ──yes──▶ exports ─▶ readers
//!           │ no (and one was expected: PointInTimeLost)
//!           ▼
//! remove left-overs ─▶ mend trackers ─▶ NBD server ─▶ scratch files
//!           ─▶ freeze ─▶ transaction ─▶ thaw ─▶ exports ─▶ readers
//! ```
//!
//! The text of a point is its run and the random part of its mark. The lowest bit of that part says whether the file
//! systems were frozen, so that a resumed view knows.

use crate::freeze::{Frozen, Held};
use crate::qmp::client::QmpError;
use crate::qmp::inventory::{Disk, Inventory, Job, Node};
use crate::qmp::names::{Mark, NodeKind, Owner, TrackerId, short_hash};
use crate::qmp::session::Session;
use crate::qmp::source::QmpOptions;
use crate::qmp::tracking;
use crate::qmp::{clean, quiesce, scratch, server};
use crate::reader::{NbdVolume, VolumeTarget};
use godwit_blocks::source::{Baseline, OpenRequest, View, VolumeView};
use godwit_model::failure::{Code, Failure};
use godwit_model::figures::Consistency;
use godwit_model::id::RunId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Said when a run has to do without frozen file systems.
const CRASH_CONSISTENT: &str = "the point in time is crash-consistent";

/// One volume of a point in time.
struct Part {
    disk: Disk,
    mark: Mark,
    tracked: bool,
    note: Option<String>,
}

/// Opens the view of a run.
pub(super) async fn open(
    session: &mut Session,
    options: &QmpOptions,
    nbd_socket: &Path,
    request: &OpenRequest,
) -> Result<View, Failure> {
    if let Some(danger) = session.danger().await? {
        return Err(Failure::new(Code::SourceRefused, danger));
    }
    let mut notes = Vec::new();
    if let Some(sentence) = quiesce::thaw(session, options, &request.vm_id).await? {
        notes.push(sentence);
    }
    let inventory = session.inventory().await?;
    let living = living_point(options, &inventory, request);
    let found = living.as_ref().map(|parts| point_text(&parts[0].mark));
    if let Some(expected) = &request.expect_point
        && found.as_ref() != Some(expected)
    {
        return Err(lost(expected, found));
    }
    let resumed = living.is_some();
    let (parts, sockets) = match living {
        Some(parts) => (parts, server::ensure(session, nbd_socket, options.nbd_socket.as_deref()).await?),
        None => take_honestly(session, options, nbd_socket, request, &mut notes).await?,
    };
    ensure_exports(session, options, &parts, request).await?;
    let mark = &parts[0].mark;
    let (point, frozen) = (point_text(mark), mark.point & 1 == 1);
    let consistency = if frozen { Consistency::FileSystem } else { Consistency::Crash };
    let mut volumes = Vec::with_capacity(parts.len());
    for part in parts {
        volumes.push(volume(options, part, &sockets, request).await?);
    }
    Ok(View { point, resumed, consistency, volumes, notes })
}

/// Fails unless every copy job of the run's point in time lives.
pub(super) async fn still_holds(
    session: &mut Session,
    options: &QmpOptions,
    run: &RunId,
    point: &str,
) -> Result<(), Failure> {
    let found = whole_point(&options.owner, &session.jobs().await?, run).map(|marks| point_text(&marks[0]));
    if found.as_deref() == Some(point) { Ok(()) } else { Err(lost(point, found)) }
}

/// The marks of the run's point in time in the order of its volumes, if each of them has a job that lives.
fn whole_point(owner: &Owner, jobs: &[Job], run: &RunId) -> Option<Vec<Mark>> {
    let jobs = jobs.iter().filter(|job| job.r#type == "backup");
    let living = jobs.filter(|job| !matches!(job.status.as_str(), "aborting" | "concluded" | "null"));
    let mut marks: Vec<Mark> =
        living.filter_map(|job| owner.parse_mark(&job.id)).filter(|mark| mark.run == *run).collect();
    marks.sort_by_key(|mark| mark.index);
    let first = marks.first()?;
    let whole = marks.len() == first.total
        && marks.iter().enumerate().all(|(index, mark)| mark.index == index && mark.point == first.point);
    whole.then_some(marks)
}

/// The point in time of the run, if all of it lives: a job and a scratch node for each of its volumes.
fn living_point(options: &QmpOptions, inventory: &Inventory, request: &OpenRequest) -> Option<Vec<Part>> {
    let owner = &options.owner;
    let marks = whole_point(owner, &inventory.jobs, &request.run)?;
    let part = |mark: Mark| {
        let disk = inventory.disks.iter().find(|disk| short_hash(&disk.device) == mark.device)?.clone();
        let trackers = tracking::trackers(owner, inventory.nodes.get(&disk.node)?);
        inventory.nodes.get(&owner.node(&mark.run, mark.index, NodeKind::Scratch))?;
        let id = TrackerId { run: mark.run.clone(), device: mark.device };
        trackers.iter().find(|tracker| tracker.id == id && tracker.recording)?;
        let verdict = baseline_of(request, &disk)
            .map(|baseline| tracking::judge_taken(&tracker_of(baseline), baseline.size, disk.size, &trackers));
        let (tracked, note) = match verdict {
            Some(Ok(())) => (true, None),
            Some(Err(why)) => (false, Some(why)),
            None => (false, None),
        };
        Some(Part { disk, mark, tracked, note })
    };
    // A point that says "frozen" counts only once the thaw has shown that the freeze held until then; exports are made
    // after that.
    let confirmed = |mark: &Mark| inventory.exports.iter().any(|export| export.id == owner.mark(mark));
    if marks[0].point & 1 == 1 && !marks.iter().all(confirmed) {
        return None;
    }
    marks.into_iter().map(part).collect()
}

/// The volumes of a point in time, and where they may be read.
type Taken = (Vec<Part>, Vec<PathBuf>);

/// Takes a new point in time, of frozen file systems if they surely were; else once more, without asking the agent.
async fn take_honestly(
    session: &mut Session,
    options: &QmpOptions,
    nbd_socket: &Path,
    request: &OpenRequest,
    notes: &mut Vec<String>,
) -> Result<Taken, Failure> {
    let freeze = session.has_guest();
    let doubt = match take(session, options, nbd_socket, request, freeze, notes).await? {
        Ok(taken) => return Ok(taken),
        Err(doubt) => doubt,
    };
    notes.push(format!("{doubt}: {CRASH_CONSISTENT}"));
    let taken = take(session, options, nbd_socket, request, false, notes).await?;
    taken.map_err(|doubt| Failure::new(Code::Internal, format!("nothing was frozen, and yet: {doubt}")))
}

/// Takes a new point in time. The inner error says why it may not be what its mark says; then it is gone again.
async fn take(
    session: &mut Session,
    options: &QmpOptions,
    nbd_socket: &Path,
    request: &OpenRequest,
    freeze: bool,
    notes: &mut Vec<String>,
) -> Result<Result<Taken, String>, Failure> {
    // A machine has one run at a time: whatever of ours is there belongs to no run that goes on.
    let old = clean::dismantle(session, &options.owner, &|_| true).await?;
    for sentence in old.sentences {
        tracing::info!(vm_id = request.vm_id, "before a new point in time: {sentence}");
    }
    let mut of_old = old.runs;
    of_old.insert(request.run.clone());
    scratch::remove_files(&options.scratch_dir, &options.owner, move |run| of_old.contains(run)).await;
    let disks = session.inventory().await?.disks;
    if disks.is_empty() {
        let what = format!("machine {} has no disk that can be replicated", request.vm_id);
        return Err(Failure::new(Code::VolumeUnsupported, what));
    }
    scratch::check_folder(options, disks.iter().map(|disk| disk.size).sum()).await?;
    let sockets = server::ensure(session, nbd_socket, options.nbd_socket.as_deref()).await?;
    let random = (options.random)() & !1;
    let total = disks.len();
    let mut parts = Vec::with_capacity(total);
    for (index, disk) in disks.into_iter().enumerate() {
        let (tracked, note) = prepare_trackers(session, options, &disk, request).await?;
        let mark = Mark { run: request.run.clone(), index, total, point: random, device: short_hash(&disk.device) };
        parts.push(Part { disk, mark, tracked, note });
    }
    let inventory = session.inventory().await?;
    for part in &parts {
        let path = scratch::file(&options.scratch_dir, &options.owner, &part.mark);
        let Disk { node, size, .. } = &part.disk;
        scratch::create(session, &options.owner, &part.mark, &path, node, *size).await?;
    }
    let held = if freeze { hold(session, options, request, notes).await? } else { None };
    let doubt = begin(session, options, request, &inventory, &mut parts, held).await?;
    Ok(doubt.map_or_else(|| Ok((parts, sockets)), Err))
}

/// Brings the trackers of a disk into a state from which a new point can be taken. Gives whether the baseline's is
/// believed, and why not.
async fn prepare_trackers(
    session: &mut Session,
    options: &QmpOptions,
    disk: &Disk,
    request: &OpenRequest,
) -> Result<(bool, Option<String>), Failure> {
    let owner = &options.owner;
    // What an earlier attempt of this run recorded belongs to the baseline again.
    let inventory = session.inventory().await?;
    let node = node_of(&inventory, disk)?;
    let leftover = tracking::abandon(&request.run, &tracking::trackers(owner, node));
    clean::apply(session, owner, node, &leftover).await?;

    let inventory = session.inventory().await?;
    let node = node_of(&inventory, disk)?;
    let new = TrackerId::new(&request.run, &disk.device);
    let baseline = baseline_of(request, disk).map(|baseline| (&baseline.run, baseline.size));
    let preparation = tracking::prepare(&new, baseline, disk.size, &tracking::trackers(owner, node));
    clean::apply(session, owner, node, &preparation.actions).await?;
    Ok((preparation.tracked, preparation.note))
}

/// Freezes the guest's file systems, if its agent lets us.
async fn hold(
    session: &mut Session,
    options: &QmpOptions,
    request: &OpenRequest,
    notes: &mut Vec<String>,
) -> Result<Option<Frozen>, Failure> {
    match quiesce::hold(session, options, &request.vm_id).await? {
        Ok(frozen) => Ok(Some(frozen)),
        Err(why) => {
            notes.push(format!("{why}: {CRASH_CONSISTENT}"));
            Ok(None)
        }
    }
}

/// The moment itself: one transaction for all disks, then the thaw. Gives why the file systems may not have been frozen
/// although they were to be; then the point in time is gone.
async fn begin(
    session: &mut Session,
    options: &QmpOptions,
    request: &OpenRequest,
    inventory: &Inventory,
    parts: &mut [Part],
    held: Option<Frozen>,
) -> Result<Option<String>, Failure> {
    let frozen = u64::from(held.is_some());
    parts.iter_mut().for_each(|part| part.mark.point |= frozen);
    let actions = transaction(options, request, inventory, parts)?;
    let taken = session.transaction(actions).await;
    // Thawed before anything else, whatever came of the transaction.
    if let Some(held) = held {
        let doubt = match held.thaw().await {
            Held::Throughout => None,
            Held::TooShort => Some("the guest's file systems may not have been frozen all the time".to_owned()),
            Held::Stuck(why) => Some(format!("thawing the guest is in doubt: {why}")),
        };
        if let (Some(doubt), Ok(())) = (doubt, &taken) {
            // Its mark says "frozen", and that may not be true: this point must not be found again.
            clean::dismantle(session, &options.owner, &|run| *run == request.run).await?;
            return Ok(Some(doubt));
        }
    }
    taken?;
    Ok(None)
}

/// The copies of all disks, then the trackers of all disks: in this order, or changes are lost.
///
/// QEMU prepares the actions one after the other and carries all of them out only then. It holds back the guest's writes
/// to a disk from the moment that it prepares the disk's copy (`bdrv_drained_begin`) until the whole transaction is done,
/// but a tracker begins or stops at the moment that it is prepared. So while the first tracker is changed every disk must
/// have its copy prepared: then nothing is written between the stop of the old tracker, the begin of the new one and the
/// moment that the copies show. The other way round, a write behind the stop and before the copy is part of the view and
/// on no list.
fn transaction(
    options: &QmpOptions,
    request: &OpenRequest,
    inventory: &Inventory,
    parts: &[Part],
) -> Result<Vec<Value>, Failure> {
    let owner = &options.owner;
    let copy = |Part { disk, mark, .. }: &Part| {
        json!({ "type": "blockdev-backup", "data": {
            "job-id": owner.mark(mark),
            "device": disk.node,
            "target": owner.node(&mark.run, mark.index, NodeKind::Scratch),
            "sync": "none",
            "filter-node-name": owner.node(&mark.run, mark.index, NodeKind::Filter),
        } })
    };
    let mut actions: Vec<Value> = parts.iter().map(copy).collect();
    for part in parts {
        let node = node_of(inventory, &part.disk)?;
        let new = TrackerId { run: request.run.clone(), device: part.mark.device };
        let trackers = tracking::begin(&new, baseline_tracker(request, part).as_ref());
        actions.extend(trackers.iter().map(|action| tracking::to_json(action, owner, node)));
    }
    Ok(actions)
}

async fn ensure_exports(
    session: &mut Session,
    options: &QmpOptions,
    parts: &[Part],
    request: &OpenRequest,
) -> Result<(), QmpError> {
    let owner = &options.owner;
    let exports = session.exports().await?;
    for part in parts {
        let Part { disk, mark, .. } = part;
        let name = owner.mark(mark);
        if exports.iter().any(|export| export.id == name && !export.shutting_down) {
            continue;
        }
        let bitmap = baseline_tracker(request, part).map(|id| owner.bitmap(&id));
        let bitmaps: Vec<Value> = bitmap.iter().map(|bitmap| json!({ "node": disk.node, "name": bitmap })).collect();
        let node = owner.node(&mark.run, mark.index, NodeKind::Scratch);
        let export = json!({
            "type": "nbd", "id": name, "name": name, "node-name": node, "writable": false, "bitmaps": bitmaps,
        });
        session.execute("block-export-add", export).await?;
    }
    Ok(())
}

async fn volume(
    options: &QmpOptions,
    part: Part,
    sockets: &[PathBuf],
    request: &OpenRequest,
) -> Result<VolumeView, Failure> {
    let bitmap = baseline_tracker(request, &part).map(|id| options.owner.bitmap(&id));
    let Part { disk, mark, tracked, note } = part;
    let target = VolumeTarget {
        sockets: sockets.to_vec(),
        export: options.owner.mark(&mark),
        bitmap,
        size: disk.size,
        connect_limit: options.limits.nbd_connect,
        request_limit: options.limits.nbd_request,
    };
    let reader = Arc::new(NbdVolume::connect(target).await?);
    Ok(VolumeView { device: disk.device, size: disk.size, tracked, note, reader })
}

fn lost(point: &str, found: Option<String>) -> Failure {
    let what = match found {
        Some(found) => format!("the machine holds {found} instead of {point}"),
        None => format!("the machine does not hold {point} any more: it was restarted, or a copy job was ended"),
    };
    Failure::new(Code::PointInTimeLost, what)
}

fn point_text(mark: &Mark) -> String {
    format!("{}-{:016x}", mark.run, mark.point)
}

fn baseline_of<'a>(request: &'a OpenRequest, disk: &Disk) -> Option<&'a Baseline> {
    request.baselines.iter().find(|baseline| baseline.device == disk.device)
}

fn tracker_of(baseline: &Baseline) -> TrackerId {
    TrackerId::new(&baseline.run, &baseline.device)
}

/// The tracker of the part's baseline, if it is believed.
fn baseline_tracker(request: &OpenRequest, part: &Part) -> Option<TrackerId> {
    baseline_of(request, &part.disk).filter(|_| part.tracked).map(tracker_of)
}

fn node_of<'a>(inventory: &'a Inventory, disk: &Disk) -> Result<&'a Node, Failure> {
    let gone = || Failure::new(Code::ServerGone, format!("disk {} was removed while it was looked at", disk.device));
    inventory.nodes.get(&disk.node).ok_or_else(gone)
}
