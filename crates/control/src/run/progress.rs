//! Live figures of runs and verifications, and the rates that follow from them.

use crate::changes::{Changes, Kind, Kinds};
use crate::store::VolumeRecord;
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{ImageId, RunId};
use godwit_model::run::Stage;
use godwit_model::time::{Millis, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// How far back rates look: long enough to be calm, short enough to follow a link that changes.
const WINDOW: Millis = Millis(10_000);

/// Samples are at least this far apart, so that a busy transfer does not fill the window's memory.
const SAMPLE_EVERY: Millis = Millis(250);

/// Live figures of everything at work.
#[derive(Default)]
pub(crate) struct Progress {
    runs: Mutex<HashMap<RunId, Live>>,
    images: Mutex<HashMap<ImageId, u64>>,
    /// What only moves in memory is told from here; figures of volumes are written every second, and told then.
    changes: Changes,
}

/// Live figures of a run.
#[derive(Clone, Default, Debug)]
pub(crate) struct Live {
    /// The stage that samples and figures are of.
    stage: Option<Stage>,
    volumes: Vec<(String, VolumeFigures)>,
    samples: VecDeque<Sample>,
    verify: Option<(u64, u64)>,
    /// What is being waited out.
    pub trouble: Option<String>,
}

/// How far something was at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    pub at: Timestamp,
    /// Bytes that were really moved.
    pub moved: u64,
    /// How far the walk came.
    pub done: u64,
    /// Where it ends.
    pub total: u64,
}

/// What follows from samples.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Rates {
    pub percent: f64,
    pub bytes_per_second: Option<f64>,
    pub seconds_left: Option<f64>,
}

impl Progress {
    /// Nothing is at work; what comes is told to those who listen to `changes`.
    pub fn telling(changes: Changes) -> Progress {
        Progress { changes, ..Progress::default() }
    }

    /// A run enters a stage: its figures are those of the store, its rates begin anew.
    pub fn enter(&self, run: &RunId, stage: Option<Stage>, volumes: Vec<VolumeRecord>) {
        let volumes = volumes.into_iter().map(|v| (v.device, v.figures)).collect();
        self.lock().insert(run.clone(), Live { stage, volumes, ..Live::default() });
    }

    pub fn forget(&self, run: &RunId) {
        self.lock().remove(run);
    }

    /// New figures of a volume. None but `bytes_total` may shrink.
    pub fn update(&self, run: &RunId, device: &str, figures: VolumeFigures, now: Timestamp) {
        let mut runs = self.lock();
        let Some(live) = runs.get_mut(run) else { return };
        if let Some((_, known)) = live.volumes.iter_mut().find(|(d, _)| d == device) {
            *known = grown(*known, figures);
        }
        let sum = live.sum();
        live.sample(Sample { at: now, moved: sum.bytes_read, done: sum.bytes_done, total: sum.bytes_total });
    }

    /// How far verification has come in the volumes. Holes count, so no pace in bytes follows from it.
    pub fn verify(&self, run: &RunId, (done, total): (u64, u64), now: Timestamp) {
        let mut runs = self.lock();
        let Some(live) = runs.get_mut(run) else { return };
        live.verify = Some((done, total));
        live.sample(Sample { at: now, moved: 0, done, total });
        self.changes.tell(Kinds::of(Kind::Progress));
    }

    pub fn trouble(&self, run: &RunId, what: Option<String>) {
        if let Some(live) = self.lock().get_mut(run) {
            live.trouble = what;
        }
    }

    pub fn live(&self, run: &RunId) -> Option<Live> {
        self.lock().get(run).cloned()
    }

    /// How far the run's stage has come. What is only done again does not count.
    pub fn position(&self, run: &RunId) -> u64 {
        self.lock().get(run).map_or(0, |live| match live.stage {
            Some(Stage::Verifying) => live.verify.map_or(0, |(done, _)| done),
            _ => live.sum().bytes_done,
        })
    }

    pub fn image_verified(&self, image: &ImageId, bytes: u64) {
        self.images.lock().expect("no thread panics while it holds this").insert(image.clone(), bytes);
        self.changes.tell(Kinds::of(Kind::Progress));
    }

    pub fn forget_image(&self, image: &ImageId) {
        self.images.lock().expect("no thread panics while it holds this").remove(image);
    }

    pub fn image(&self, image: &ImageId) -> Option<u64> {
        self.images.lock().expect("no thread panics while it holds this").get(image).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Live>> {
        self.runs.lock().expect("no thread panics while it holds this")
    }
}

impl Live {
    pub fn figures(&self, device: &str) -> Option<VolumeFigures> {
        self.volumes.iter().find(|(d, _)| d == device).map(|(_, f)| *f)
    }

    pub fn rates(&self, stage: Option<Stage>, now: Timestamp) -> Rates {
        // The record is a moment ahead when a stage ends: what was sampled of the last stage says nothing of the next.
        match stage.filter(|_| stage == self.stage) {
            Some(Stage::Transferring) => rates(&self.window(), now),
            Some(Stage::Verifying) => Rates { bytes_per_second: None, ..rates(&self.window(), now) },
            _ => Rates::default(),
        }
    }

    fn window(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }

    fn sum(&self) -> VolumeFigures {
        self.volumes.iter().fold(VolumeFigures::default(), |sum, (_, f)| sum.plus(*f))
    }

    fn sample(&mut self, sample: Sample) {
        let close = |last: &Sample| sample.at - last.at < SAMPLE_EVERY;
        // The newest sample always tells the truth: one that is close to the one before it is replaced.
        if self.samples.len() >= 2 && self.samples.iter().nth_back(1).is_some_and(close) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        while self.samples.len() > 2 && self.samples.front().is_some_and(|s| sample.at - s.at > WINDOW) {
            self.samples.pop_front();
        }
    }
}

/// What follows from `samples`, oldest first, at `now`. A pace that cannot be known yet is not given.
pub(crate) fn rates(samples: &[Sample], now: Timestamp) -> Rates {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Rates::default() };
    let percent = if last.total == 0 { 0.0 } else { (last.done as f64 / last.total as f64 * 100.0).clamp(0.0, 100.0) };
    let seconds = (now.max(last.at) - first.at).0 as f64 / 1_000.0;
    if samples.len() < 2 || seconds <= 0.0 {
        return Rates { percent, ..Rates::default() };
    }
    let moved = last.moved.saturating_sub(first.moved) as f64 / seconds;
    let pace = last.done.saturating_sub(first.done) as f64 / seconds;
    let left = last.total.saturating_sub(last.done) as f64;
    let seconds_left = if left == 0.0 { Some(0.0) } else { (pace > 0.0).then(|| left / pace) };
    Rates { percent, bytes_per_second: Some(moved), seconds_left }
}

/// `new`, but nothing smaller than it was.
fn grown(known: VolumeFigures, new: VolumeFigures) -> VolumeFigures {
    VolumeFigures {
        bytes_total: new.bytes_total.max(known.bytes_total),
        bytes_done: new.bytes_done.max(known.bytes_done),
        bytes_read: new.bytes_read.max(known.bytes_read),
        bytes_sent: new.bytes_sent.max(known.bytes_sent),
        bytes_stored: new.bytes_stored.max(known.bytes_stored),
        bytes_resent: new.bytes_resent.max(known.bytes_resent),
        bytes_verified: new.bytes_verified.max(known.bytes_verified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64, done: u64) -> Sample {
        Sample { at: Timestamp(ms), moved: done / 2, done, total: 1_000 }
    }

    #[test]
    fn what_is_only_done_again_is_no_progress() {
        let (progress, run) = (Progress::default(), RunId::from_bits(1));
        let volume = |bytes_done, bytes_stored| VolumeFigures { bytes_done, bytes_stored, ..VolumeFigures::default() };
        progress.enter(&run, Some(Stage::Transferring), vec![]);
        progress.lock().get_mut(&run).expect("entered").volumes.push(("vda".into(), volume(100, 40)));
        let before = progress.position(&run);
        progress.update(&run, "vda", volume(90, 80), Timestamp(1));
        assert_eq!(progress.position(&run), before, "packs were sent again");
        progress.update(&run, "vda", volume(101, 80), Timestamp(2));
        assert!(progress.position(&run) > before);
        progress.enter(&run, Some(Stage::Verifying), vec![]);
        progress.verify(&run, (7, 10), Timestamp(3));
        assert_eq!(progress.position(&run), 7);
    }

    #[test]
    fn rates_follow_from_the_first_and_last_sample() {
        let rates = rates(&[at(0, 0), at(1_000, 250), at(2_000, 500)], Timestamp(2_000));
        assert_eq!((rates.percent, rates.bytes_per_second, rates.seconds_left), (50.0, Some(125.0), Some(2.0)));
    }

    #[test]
    fn what_stands_still_has_no_end() {
        assert_eq!(rates(&[at(0, 100), at(5_000, 100)], Timestamp(6_000)).seconds_left, None);
        assert_eq!(rates(&[], Timestamp(6_000)), Rates::default());
        assert_eq!(rates(&[at(0, 100)], Timestamp(6_000)).bytes_per_second, None);
        assert_eq!(rates(&[at(0, 100), at(1, 1_000)], Timestamp(6_000)).seconds_left, Some(0.0));
    }

    proptest! {
        #[test]
        fn the_window_is_bounded_and_keeps_the_newest(steps in proptest::collection::vec((0i64..5_000, 0u64..50), 1..200)) {
            let mut live = Live::default();
            let (mut now, mut done) = (0, 0);
            for (ms, bytes) in steps {
                now += ms;
                done += bytes;
                live.sample(at(now, done));
                prop_assert_eq!(live.samples.back().copied(), Some(at(now, done)));
                prop_assert!(live.samples.len() as i64 <= WINDOW.0 / SAMPLE_EVERY.0 * 2 + 3);
                let rates = rates(&live.window(), Timestamp(now));
                prop_assert!((0.0..=100.0).contains(&rates.percent));
                prop_assert!(rates.bytes_per_second.is_none_or(|r| r.is_finite() && r >= 0.0));
                prop_assert!(rates.seconds_left.is_none_or(|s| s.is_finite() && s >= 0.0));
            }
        }
    }
}
