//! When a change tracker is believed, and how trackers are begun, merged and removed. Pure.
//!
//! A tracker is a bitmap that carries a run's id and records what changed since that run's point in time. Taking the
//! next point stops the baseline's tracker and begins a new one, atomically:
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

use crate::qmp::inventory::{Bitmap, Node};
use crate::qmp::names::Owner;
use godwit_model::id::RunId;
use serde_json::{Value, json};

/// Bytes per bit of our bitmaps: the digest block.
pub const GRANULARITY: u64 = 64 << 10;

/// A bitmap of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tracker {
    /// The run since whose point in time it records.
    pub run: RunId,
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

/// A change to the bitmaps of one node. A list of them is one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Begin to record.
    Add(RunId),
    /// Record again.
    Enable(RunId),
    /// Stop recording.
    Disable(RunId),
    /// Add the bits of one to another.
    Merge {
        /// What grows.
        into: RunId,
        /// What it takes over.
        from: RunId,
    },
    /// Forget.
    Remove(RunId),
}

/// Our trackers on a node.
pub fn trackers(owner: &Owner, node: &Node) -> Vec<Tracker> {
    let ours = |bitmap: &Bitmap| {
        let run = owner.parse_bitmap(&bitmap.name)?;
        let Bitmap { recording, inconsistent, granularity, .. } = *bitmap;
        Some(Tracker { run, recording, inconsistent, granularity })
    };
    node.bitmaps.iter().filter_map(ours).collect()
}

/// What the tracker of `baseline` is worth for a volume that had `size_then` bytes and has `size_now`.
pub fn judge(baseline: &RunId, size_then: u64, size_now: u64, trackers: &[Tracker]) -> Trust {
    let doubted = |why: String| Trust::Doubted(why);
    let Some(tracker) = trackers.iter().find(|t| t.run == *baseline) else {
        let of = |t: &&Tracker| !t.inconsistent;
        return doubted(match trackers.iter().find(of) {
            Some(other) => {
                format!(
                    "the change tracker of {baseline} is missing; the one found is of another generation, {}",
                    other.run
                )
            }
            None => {
                format!("the change tracker of {baseline} is missing: QEMU ended without saving it, or it was removed")
            }
        });
    };
    if size_then != size_now {
        return doubted(format!("the volume was resized from {size_then} to {size_now} bytes"));
    }
    if tracker.inconsistent {
        return doubted(format!("the change tracker of {baseline} is inconsistent: QEMU was killed while it recorded"));
    }
    if tracker.granularity != GRANULARITY {
        return doubted(format!("the change tracker of {baseline} counts in {} bytes", tracker.granularity));
    }
    if tracker.recording {
        return Trust::Believed;
    }
    let others: Vec<&Tracker> = trackers.iter().filter(|t| t.run != *baseline && !t.inconsistent).collect();
    if !others.iter().any(|t| t.recording) {
        return doubted(format!("the change tracker of {baseline} was stopped and nothing recorded since"));
    }
    Trust::Mend(hand_over(&[tracker], &others))
}

/// The same for a point in time that was taken before: then a tracker that is believed has been stopped, and one that
/// was not believed has been removed.
pub fn judge_taken(baseline: &RunId, size_then: u64, size_now: u64, trackers: &[Tracker]) -> Result<(), String> {
    let stopped = trackers.iter().any(|t| t.run == *baseline && !t.recording);
    match judge(baseline, size_then, size_now, trackers) {
        Trust::Believed | Trust::Mend(_) if stopped => Ok(()),
        Trust::Doubted(why) => Err(why),
        _ => Err(format!("the change tracker of {baseline} was not part of this point in time")),
    }
}

/// Begins the tracker of `run`, which reads what `baseline` recorded.
pub fn begin(run: &RunId, baseline: Option<&RunId>) -> Vec<Action> {
    let stop = baseline.map(|baseline| Action::Disable(baseline.clone()));
    [Action::Add(run.clone())].into_iter().chain(stop).collect()
}

/// Ends the tracker of a run that is given up: all others take over what it recorded.
pub fn abandon(run: &RunId, trackers: &[Tracker]) -> Vec<Action> {
    let Some(tracker) = trackers.iter().find(|t| t.run == *run) else { return Vec::new() };
    if tracker.inconsistent {
        return vec![Action::Remove(run.clone())];
    }
    let others: Vec<&Tracker> = trackers.iter().filter(|t| t.run != *run && !t.inconsistent).collect();
    hand_over(&others, &[tracker])
}

/// Ends all trackers but that of `run`, which has committed. If it does not record, a later point in time stopped it:
/// then this is an old order and nothing is to be done.
pub fn commit(run: &RunId, trackers: &[Tracker]) -> Vec<Action> {
    if !trackers.iter().any(|t| t.run == *run && t.recording && !t.inconsistent) {
        return Vec::new();
    }
    trackers.iter().filter(|t| t.run != *run).map(|t| Action::Remove(t.run.clone())).collect()
}

/// Ends all trackers that nobody needs.
pub fn sweep(keep: &[RunId], trackers: &[Tracker]) -> Vec<Action> {
    let (kept, unwanted): (Vec<&Tracker>, Vec<&Tracker>) = trackers.iter().partition(|t| keep.contains(&t.run));
    let kept: Vec<&Tracker> = kept.into_iter().filter(|t| !t.inconsistent).collect();
    let whole: Vec<&Tracker> = unwanted.iter().copied().filter(|t| !t.inconsistent).collect();
    if kept.iter().any(|t| t.recording) || !whole.iter().any(|t| t.recording) {
        return unwanted.iter().map(|t| Action::Remove(t.run.clone())).collect();
    }
    let broken = unwanted.iter().filter(|t| t.inconsistent).map(|t| Action::Remove(t.run.clone()));
    hand_over(&kept, &whole).into_iter().chain(broken).collect()
}

/// A transaction's action.
pub fn to_json(action: &Action, owner: &Owner, node: &Node) -> Value {
    let of = |run: &RunId| json!({ "node": node.name, "name": owner.bitmap(run) });
    match action {
        Action::Add(run) => {
            let (granularity, persistent) = (GRANULARITY, node.keeps_bitmaps);
            let data = json!({
                "node": node.name, "name": owner.bitmap(run), "granularity": granularity, "persistent": persistent,
            });
            json!({ "type": "block-dirty-bitmap-add", "data": data })
        }
        Action::Enable(run) => json!({ "type": "block-dirty-bitmap-enable", "data": of(run) }),
        Action::Disable(run) => json!({ "type": "block-dirty-bitmap-disable", "data": of(run) }),
        Action::Merge { into, from } => json!({ "type": "block-dirty-bitmap-merge", "data": {
            "node": node.name, "target": owner.bitmap(into), "bitmaps": [owner.bitmap(from)],
        } }),
        Action::Remove(run) => json!({ "type": "block-dirty-bitmap-remove", "data": of(run) }),
    }
}

/// `heirs` record on and take over what `leaving` recorded; `leaving` go.
fn hand_over(heirs: &[&Tracker], leaving: &[&Tracker]) -> Vec<Action> {
    let mut actions = Vec::new();
    for heir in heirs {
        if !heir.recording {
            actions.push(Action::Enable(heir.run.clone()));
        }
        // Bitmaps of another granularity cannot be ours to believe: merging into them is wasted.
        for from in leaving.iter().filter(|_| heir.granularity == GRANULARITY) {
            actions.push(Action::Merge { into: heir.run.clone(), from: from.run.clone() });
        }
    }
    actions.extend(leaving.iter().map(|t| Action::Remove(t.run.clone())));
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// A disk with bitmaps, as far as trackers are concerned, and what truly changed since each run's point.
    #[derive(Default)]
    struct Model {
        bitmaps: BTreeMap<RunId, (Tracker, BTreeSet<u8>)>,
        since: BTreeMap<RunId, BTreeSet<u8>>,
        saved: BTreeSet<RunId>,
    }

    impl Model {
        fn trackers(&self) -> Vec<Tracker> {
            self.bitmaps.values().map(|(tracker, _)| tracker.clone()).collect()
        }

        fn write(&mut self, block: u8) {
            let recorded = self.bitmaps.values_mut().filter(|(t, _)| t.recording).map(|(_, bits)| bits);
            recorded.chain(self.since.values_mut()).for_each(|bits| bits.extend([block]));
        }

        fn apply(&mut self, actions: &[Action]) {
            for action in actions {
                match action.clone() {
                    Action::Add(run) => {
                        let (recording, inconsistent, granularity) = (true, false, GRANULARITY);
                        let tracker = Tracker { run: run.clone(), recording, inconsistent, granularity };
                        assert!(self.bitmaps.insert(run.clone(), (tracker, BTreeSet::new())).is_none(), "added twice");
                        self.since.insert(run, BTreeSet::new());
                    }
                    Action::Enable(run) => self.usable(&run).0.recording = true,
                    Action::Disable(run) => self.usable(&run).0.recording = false,
                    Action::Merge { into, from } => {
                        let bits = self.usable(&from).1.clone();
                        self.usable(&into).1.extend(bits);
                    }
                    Action::Remove(run) => assert!(self.bitmaps.remove(&run).is_some(), "removed twice"),
                }
            }
        }

        fn usable(&mut self, run: &RunId) -> &mut (Tracker, BTreeSet<u8>) {
            let entry = self.bitmaps.get_mut(run).expect("QEMU refuses names that are not there");
            assert!(!entry.0.inconsistent, "QEMU refuses inconsistent bitmaps");
            entry
        }

        /// What an open does before and in its transaction; gives the baseline if it is believed.
        fn take(&mut self, run: &RunId, baseline: Option<&RunId>, steps: u8) -> Option<RunId> {
            self.apply(&abandon(run, &self.trackers()));
            if steps == 0 {
                return None;
            }
            let inconsistent: Vec<_> = self.trackers().into_iter().filter(|t| t.inconsistent).collect();
            let verdict = baseline.map(|b| judge(b, 1, 1, &self.trackers()));
            let believed = match (&verdict, baseline) {
                (Some(Trust::Believed), Some(b)) => Some(b.clone()),
                (Some(Trust::Mend(actions)), Some(b)) => {
                    self.apply(actions);
                    Some(b.clone())
                }
                (Some(Trust::Doubted(_)), Some(b)) if self.bitmaps.contains_key(b) => {
                    self.apply(&[Action::Remove(b.clone())]);
                    None
                }
                _ => None,
            };
            for tracker in inconsistent.iter().filter(|t| self.bitmaps.contains_key(&t.run)).collect::<Vec<_>>() {
                self.apply(&[Action::Remove(tracker.run.clone())]);
            }
            if steps == 1 {
                return None;
            }
            self.apply(&begin(run, believed.as_ref()));
            if let Some(b) = baseline {
                assert_eq!(judge_taken(b, 1, 1, &self.trackers()).is_ok(), believed.is_some(), "a resumed view agrees");
            }
            believed
        }

        fn restart(&mut self) {
            self.saved = self.bitmaps.keys().cloned().collect();
        }

        fn kill(&mut self) {
            let saved = self.saved.clone();
            self.bitmaps.retain(|run, _| saved.contains(run));
            for (tracker, _) in self.bitmaps.values_mut() {
                (tracker.inconsistent, tracker.recording) = (true, false);
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u8),
        /// Take a point for the run at hand or, if true, for a new one that nobody gave up in order.
        Take(bool, u8),
        Commit {
            settle: bool,
        },
        GiveUp {
            settle: bool,
        },
        Sweep,
        Restart,
        Kill,
        Repeat,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => any::<u8>().prop_map(Step::Write),
            4 => (any::<bool>(), 0u8..4).prop_map(|(new, steps)| Step::Take(new, steps)),
            3 => any::<bool>().prop_map(|settle| Step::Commit { settle }),
            2 => any::<bool>().prop_map(|settle| Step::GiveUp { settle }),
            2 => Just(Step::Sweep),
            1 => Just(Step::Restart),
            1 => Just(Step::Kill),
            1 => Just(Step::Repeat),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn no_change_is_lost_whatever_fails(steps in proptest::collection::vec(step(), 1..60)) {
            let mut model = Model::default();
            let mut baseline: Option<RunId> = None;
            let mut active: Option<RunId> = None;
            let mut last_settled: Option<(RunId, bool)> = None;
            // A run that is between its point and its commit; what it was told to read.
            let mut taken = false;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Write(block) => model.write(block),
                    Step::Take(new, stages) => {
                        if new || active.is_none() {
                            active = Some(RunId::from_bits(number as u128));
                        }
                        let run = active.clone().expect("just set");
                        let truth = baseline.as_ref().map(|b| model.since[b].clone()).unwrap_or_default();
                        let believed = model.take(&run, baseline.as_ref(), stages);
                        taken = stages >= 2;
                        if let Some(b) = believed {
                            let told = &model.bitmaps[&b].1;
                            prop_assert!(truth.is_subset(told), "changed {truth:?}, told {told:?}");
                        }
                    }
                    Step::Commit { settle } if taken && active.as_ref().is_some_and(|a| model.since.contains_key(a)) => {
                        let run = active.take().expect("checked");
                        if settle {
                            model.apply(&commit(&run, &model.trackers()));
                            last_settled = Some((run.clone(), true));
                        }
                        baseline = Some(run);
                        taken = false;
                    }
                    Step::GiveUp { settle } => {
                        if let Some(run) = active.take() {
                            if settle {
                                model.apply(&abandon(&run, &model.trackers()));
                                last_settled = Some((run, false));
                            }
                            taken = false;
                        }
                    }
                    Step::Sweep => {
                        let keep: Vec<RunId> = baseline.iter().chain(&active).cloned().collect();
                        model.apply(&sweep(&keep, &model.trackers()));
                        prop_assert!(model.bitmaps.keys().all(|run| keep.contains(run)));
                    }
                    Step::Restart => model.restart(),
                    Step::Kill => model.kill(),
                    Step::Repeat => match last_settled.clone() {
                        Some((run, true)) => model.apply(&commit(&run, &model.trackers())),
                        Some((run, false)) => model.apply(&abandon(&run, &model.trackers())),
                        None => {}
                    },
                    Step::Commit { .. } => {}
                }
            }
        }
    }

    #[test]
    fn reasons_are_told() {
        let (b, x) = (RunId::from_bits(1), RunId::from_bits(2));
        let tracker = |run: &RunId, recording| Tracker {
            run: run.clone(),
            recording,
            inconsistent: false,
            granularity: GRANULARITY,
        };
        let why = |size, trackers: &[Tracker]| match judge(&b, 10, size, trackers) {
            Trust::Doubted(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(10, &[]).contains("missing"));
        assert!(why(10, &[tracker(&x, true)]).contains("another generation"));
        assert!(why(20, &[tracker(&b, true)]).contains("resized from 10 to 20"));
        assert!(why(10, &[Tracker { inconsistent: true, ..tracker(&b, false) }]).contains("killed"));
        assert!(why(10, &[Tracker { granularity: 512, ..tracker(&b, true) }]).contains("512"));
        assert!(why(10, &[tracker(&b, false)]).contains("stopped"));
        assert_eq!(judge(&b, 10, 10, &[tracker(&b, true)]), Trust::Believed);
    }
}
