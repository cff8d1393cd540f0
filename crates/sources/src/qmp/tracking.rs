//! When a change tracker is believed, and how trackers are begun, merged and removed. Pure.
//!
//! A tracker is a bitmap that carries a run's id and a volume's name and records what changed since that run's point in
//! time. Taking the next point stops the baseline's tracker and begins a new one, atomically:
//!
//! ```text
//!            point of B        point of R
//!   B        ├── records ──────┤ stopped: it is the list of what R must read
//!   R                          ├── records ──▶
//!   R commits:    B is removed, R is the new baseline.
//!   R is given up: B goes on and takes over what R recorded; R is removed.
//! ```
//!
//! The rule that keeps every change: *a tracker that is removed without its run having committed is first merged into
//! all that stay*. Too many bits cost reading; one too few would be a silent gap. So a baseline's tracker is whole if
//! it records; if it was stopped, it is whole together with all others of ours as long as one of them records.
//!
//! If disks were exchanged, the trackers on a disk carry another volume's name: they are no baseline's of the volume
//! that the disk is now, and what is recorded there from now on concerns another volume. They go before the next point.

use crate::qmp::inventory::{Bitmap, Node};
use crate::qmp::names::{Owner, TrackerId};
use godwit_model::id::RunId;
use serde_json::{Value, json};

/// Bytes per bit of our bitmaps: the digest block.
pub const GRANULARITY: u64 = 64 << 10;

/// A bitmap of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tracker {
    /// Since which point in time it records, and of which volume.
    pub id: TrackerId,
    /// Whether it records now.
    pub recording: bool,
    /// Whether QEMU was killed while it was in use.
    pub inconsistent: bool,
    /// Bytes per bit.
    pub granularity: u64,
}

/// What a baseline's tracker is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It holds every change since the baseline.
    Believed,
    /// It does once what other trackers recorded has been merged into it: apply these.
    Mend(Vec<Action>),
    /// It does not, for this reason.
    Doubted(String),
}

/// What is done to a volume's trackers before the next point is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preparation {
    /// One transaction.
    pub actions: Vec<Action>,
    /// Whether the baseline's tracker is believed then.
    pub tracked: bool,
    /// Why not, if there is a baseline.
    pub note: Option<String>,
}

/// A change to the bitmaps of one node. A list of them is one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Begin to record.
    Add(TrackerId),
    /// Record again.
    Enable(TrackerId),
    /// Stop recording.
    Disable(TrackerId),
    /// Add the bits of one to another.
    Merge {
        /// What grows.
        into: TrackerId,
        /// What it takes over.
        from: TrackerId,
    },
    /// Forget.
    Remove(TrackerId),
}

/// Our trackers on a node.
pub fn trackers(owner: &Owner, node: &Node) -> Vec<Tracker> {
    let ours = |bitmap: &Bitmap| {
        let id = owner.parse_bitmap(&bitmap.name)?;
        let Bitmap { recording, inconsistent, granularity, .. } = *bitmap;
        Some(Tracker { id, recording, inconsistent, granularity })
    };
    node.bitmaps.iter().filter_map(ours).collect()
}

/// What the tracker of `baseline` is worth for a volume that had `size_then` bytes and has `size_now`.
pub fn judge(baseline: &TrackerId, size_then: u64, size_now: u64, trackers: &[Tracker]) -> Trust {
    let doubted = |why: String| Trust::Doubted(why);
    let run = &baseline.run;
    let Some(tracker) = trackers.iter().find(|t| t.id == *baseline) else {
        return doubted(why_missing(run, trackers));
    };
    if size_then != size_now {
        return doubted(format!("the volume was resized from {size_then} to {size_now} bytes"));
    }
    if tracker.inconsistent {
        return doubted(format!("the change tracker of {run} is inconsistent: QEMU was killed while it recorded"));
    }
    if tracker.granularity != GRANULARITY {
        return doubted(format!("the change tracker of {run} counts in {} bytes", tracker.granularity));
    }
    if tracker.recording {
        return Trust::Believed;
    }
    let others: Vec<&Tracker> = trackers.iter().filter(|t| t.id != *baseline && !t.inconsistent).collect();
    if !others.iter().any(|t| t.recording) {
        return doubted(format!("the change tracker of {run} was stopped and nothing recorded since"));
    }
    Trust::Mend(hand_over(&[tracker], &others))
}

/// Why a disk has no tracker of this run and its volume.
fn why_missing(run: &RunId, trackers: &[Tracker]) -> String {
    if trackers.iter().any(|t| t.id.run == *run) {
        return format!("the change tracker of {run} is that of another disk: disks were exchanged");
    }
    match trackers.iter().find(|t| !t.inconsistent) {
        Some(other) => {
            let other = &other.id.run;
            format!("the change tracker of {run} is missing; the one found is of another generation, {other}")
        }
        None => format!("the change tracker of {run} is missing: QEMU ended without saving it, or it was removed"),
    }
}

/// Brings the trackers of the volume `new` is of into a state from which its point can be taken. `baseline` is its last
/// committed run and the size it had then.
pub fn prepare(new: &TrackerId, baseline: Option<(&RunId, u64)>, size_now: u64, trackers: &[Tracker]) -> Preparation {
    let baseline = baseline.map(|(run, size_then)| (TrackerId { run: run.clone(), ..new.clone() }, size_then));
    let verdict = baseline.as_ref().map(|(id, size_then)| judge(id, *size_then, size_now, trackers));
    let (tracked, mut actions, note) = match verdict {
        None => (false, Vec::new(), None),
        Some(Trust::Believed) => (true, Vec::new(), None),
        Some(Trust::Mend(actions)) => (true, actions, None),
        Some(Trust::Doubted(why)) => (false, Vec::new(), Some(why)),
    };
    // These will never be believed again; and a view that is resumed tells by its absence that a baseline's tracker
    // was not believed.
    let doubted = baseline.map(|(id, _)| id).filter(|_| !tracked);
    let useless = |t: &&Tracker| t.inconsistent || t.id.device != new.device || Some(&t.id) == doubted.as_ref();
    for tracker in trackers.iter().filter(useless) {
        let remove = Action::Remove(tracker.id.clone());
        if !actions.contains(&remove) {
            actions.push(remove);
        }
    }
    Preparation { actions, tracked, note }
}

/// The same for a point in time that was taken before: then a tracker that is believed has been stopped, and one that
/// was not believed has been removed.
pub fn judge_taken(baseline: &TrackerId, size_then: u64, size_now: u64, trackers: &[Tracker]) -> Result<(), String> {
    let stopped = trackers.iter().any(|t| t.id == *baseline && !t.recording);
    match judge(baseline, size_then, size_now, trackers) {
        Trust::Believed | Trust::Mend(_) if stopped => Ok(()),
        Trust::Doubted(why) => Err(why),
        _ => Err(format!("the change tracker of {} was not part of this point in time", baseline.run)),
    }
}

/// Begins a tracker; the run that it is of reads what `baseline` recorded.
pub fn begin(new: &TrackerId, baseline: Option<&TrackerId>) -> Vec<Action> {
    let stop = baseline.map(|baseline| Action::Disable(baseline.clone()));
    [Action::Add(new.clone())].into_iter().chain(stop).collect()
}

/// Ends the tracker of a run that is given up: all others take over what it recorded.
pub fn abandon(run: &RunId, trackers: &[Tracker]) -> Vec<Action> {
    let Some(tracker) = trackers.iter().find(|t| t.id.run == *run) else { return Vec::new() };
    if tracker.inconsistent {
        return vec![Action::Remove(tracker.id.clone())];
    }
    let others: Vec<&Tracker> = trackers.iter().filter(|t| t.id != tracker.id && !t.inconsistent).collect();
    hand_over(&others, &[tracker])
}

/// Ends all trackers but that of `run`, which has committed. If it does not record, a later point in time stopped it:
/// then this is an old order and nothing is to be done.
pub fn commit(run: &RunId, trackers: &[Tracker]) -> Vec<Action> {
    if !trackers.iter().any(|t| t.id.run == *run && t.recording && !t.inconsistent) {
        return Vec::new();
    }
    trackers.iter().filter(|t| t.id.run != *run).map(|t| Action::Remove(t.id.clone())).collect()
}

/// Ends all trackers that nobody needs.
pub fn sweep(keep: &dyn Fn(&RunId) -> bool, trackers: &[Tracker]) -> Vec<Action> {
    let (kept, unwanted): (Vec<&Tracker>, Vec<&Tracker>) = trackers.iter().partition(|t| keep(&t.id.run));
    let kept: Vec<&Tracker> = kept.into_iter().filter(|t| !t.inconsistent).collect();
    let whole: Vec<&Tracker> = unwanted.iter().copied().filter(|t| !t.inconsistent).collect();
    if kept.iter().any(|t| t.recording) || !whole.iter().any(|t| t.recording) {
        return unwanted.iter().map(|t| Action::Remove(t.id.clone())).collect();
    }
    let broken = unwanted.iter().filter(|t| t.inconsistent).map(|t| Action::Remove(t.id.clone()));
    hand_over(&kept, &whole).into_iter().chain(broken).collect()
}

/// A transaction's action.
pub fn to_json(action: &Action, owner: &Owner, node: &Node) -> Value {
    let of = |id: &TrackerId| json!({ "node": node.name, "name": owner.bitmap(id) });
    match action {
        Action::Add(id) => {
            let (granularity, persistent) = (GRANULARITY, node.keeps_bitmaps);
            let data = json!({
                "node": node.name, "name": owner.bitmap(id), "granularity": granularity, "persistent": persistent,
            });
            json!({ "type": "block-dirty-bitmap-add", "data": data })
        }
        Action::Enable(id) => json!({ "type": "block-dirty-bitmap-enable", "data": of(id) }),
        Action::Disable(id) => json!({ "type": "block-dirty-bitmap-disable", "data": of(id) }),
        Action::Merge { into, from } => json!({ "type": "block-dirty-bitmap-merge", "data": {
            "node": node.name, "target": owner.bitmap(into), "bitmaps": [owner.bitmap(from)],
        } }),
        Action::Remove(id) => json!({ "type": "block-dirty-bitmap-remove", "data": of(id) }),
    }
}

/// `heirs` record on and take over what `leaving` recorded; `leaving` go.
fn hand_over(heirs: &[&Tracker], leaving: &[&Tracker]) -> Vec<Action> {
    let mut actions = Vec::new();
    for heir in heirs {
        if !heir.recording {
            actions.push(Action::Enable(heir.id.clone()));
        }
        // Bitmaps of another granularity cannot be ours to believe: merging into them is wasted.
        for from in leaving.iter().filter(|_| heir.granularity == GRANULARITY) {
            actions.push(Action::Merge { into: heir.id.clone(), from: from.id.clone() });
        }
    }
    actions.extend(leaving.iter().map(|t| Action::Remove(t.id.clone())));
    actions
}

#[cfg(test)]
mod tests;
