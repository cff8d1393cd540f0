//! Trackers against a model of a disk that knows what truly changed.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A disk with bitmaps, as far as trackers are concerned, and what truly changed since each point of a volume.
#[derive(Default)]
struct Model {
    /// Which volume the disk is now.
    device: u32,
    bitmaps: BTreeMap<TrackerId, (Tracker, BTreeSet<u8>)>,
    since: BTreeMap<TrackerId, BTreeSet<u8>>,
    saved: BTreeSet<TrackerId>,
}

impl Model {
    fn trackers(&self) -> Vec<Tracker> {
        self.bitmaps.values().map(|(tracker, _)| tracker.clone()).collect()
    }

    fn id(&self, run: &RunId) -> TrackerId {
        TrackerId { run: run.clone(), device: self.device }
    }

    fn write(&mut self, block: u8) {
        let recorded = self.bitmaps.values_mut().filter(|(t, _)| t.recording).map(|(_, bits)| bits);
        recorded.chain(self.since.values_mut()).for_each(|bits| bits.extend([block]));
    }

    fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            match action.clone() {
                Action::Add(id) => {
                    let (recording, inconsistent, granularity) = (true, false, GRANULARITY);
                    let tracker = Tracker { id: id.clone(), recording, inconsistent, granularity };
                    assert!(self.bitmaps.insert(id.clone(), (tracker, BTreeSet::new())).is_none(), "added twice");
                    // A point that is taken again replaces the one before, whatever volume the disk was then.
                    self.since.retain(|other, _| other.run != id.run);
                    self.since.insert(id, BTreeSet::new());
                }
                Action::Enable(id) => self.usable(&id).0.recording = true,
                Action::Disable(id) => self.usable(&id).0.recording = false,
                Action::Merge { into, from } => {
                    let bits = self.usable(&from).1.clone();
                    self.usable(&into).1.extend(bits);
                }
                Action::Remove(id) => assert!(self.bitmaps.remove(&id).is_some(), "removed twice"),
            }
        }
    }

    fn usable(&mut self, id: &TrackerId) -> &mut (Tracker, BTreeSet<u8>) {
        let entry = self.bitmaps.get_mut(id).expect("QEMU refuses names that are not there");
        assert!(!entry.0.inconsistent, "QEMU refuses inconsistent bitmaps");
        entry
    }

    /// What an open does before and in its transaction; gives the baseline's tracker if it is believed.
    fn take(&mut self, run: &RunId, baseline: Option<&RunId>, steps: u8) -> Option<TrackerId> {
        self.apply(&abandon(run, &self.trackers()));
        if steps == 0 {
            return None;
        }
        let new = self.id(run);
        let preparation = prepare(&new, baseline.map(|b| (b, 1)), 1, &self.trackers());
        self.apply(&preparation.actions);
        if steps == 1 {
            return None;
        }
        let baseline = baseline.map(|b| self.id(b));
        let believed = baseline.clone().filter(|_| preparation.tracked);
        self.apply(&begin(&new, believed.as_ref()));
        if let Some(b) = baseline {
            assert_eq!(judge_taken(&b, 1, 1, &self.trackers()).is_ok(), believed.is_some(), "a resumed view agrees");
        }
        believed
    }

    fn restart(&mut self) {
        self.saved = self.bitmaps.keys().cloned().collect();
    }

    fn kill(&mut self) {
        let saved = self.saved.clone();
        self.bitmaps.retain(|id, _| saved.contains(id));
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
    /// The disk becomes another volume of the server, and what was that volume's disk becomes this one's.
    Exchange,
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
        1 => Just(Step::Exchange),
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
                    let truth = model.since.clone();
                    let believed = model.take(&run, baseline.as_ref(), stages);
                    taken = stages >= 2;
                    if let Some(b) = believed {
                        let told = &model.bitmaps[&b].1;
                        prop_assert!(truth.contains_key(&b), "believed, but the baseline is of another disk");
                        let truth = &truth[&b];
                        prop_assert!(truth.is_subset(told), "changed {truth:?}, told {told:?}");
                    }
                }
                Step::Commit { settle } if taken => {
                    let run = active.take().expect("it was taken for a run");
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
                    model.apply(&sweep(&|run| keep.contains(run), &model.trackers()));
                    prop_assert!(model.bitmaps.keys().all(|id| keep.contains(&id.run)));
                }
                Step::Restart => model.restart(),
                Step::Kill => model.kill(),
                Step::Exchange => model.device ^= 1,
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
    let id = |run, device| TrackerId { run: RunId::from_bits(run), device };
    let (b, other_run, other_disk) = (id(1, 7), id(2, 7), id(1, 8));
    let tracker = |id: &TrackerId, recording| Tracker {
        id: id.clone(),
        recording,
        inconsistent: false,
        granularity: GRANULARITY,
    };
    let why = |size, trackers: &[Tracker]| match judge(&b, 10, size, trackers) {
        Trust::Doubted(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(why(10, &[]).contains("missing"));
    assert!(why(10, &[tracker(&other_run, true)]).contains("another generation"));
    assert!(why(10, &[tracker(&other_disk, true)]).contains("disks were exchanged"));
    assert!(why(20, &[tracker(&b, true)]).contains("resized from 10 to 20"));
    assert!(why(10, &[Tracker { inconsistent: true, ..tracker(&b, false) }]).contains("killed"));
    assert!(why(10, &[Tracker { granularity: 512, ..tracker(&b, true) }]).contains("512"));
    assert!(why(10, &[tracker(&b, false)]).contains("stopped"));
    assert_eq!(judge(&b, 10, 10, &[tracker(&b, true)]), Trust::Believed);
}
