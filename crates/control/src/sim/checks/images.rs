//! Images, and packs that wait for the next run.

use super::{Owed, Record};
use crate::service::Service;
use crate::sim::journal::{ImageRow, PackRow, Step};
use crate::testing::World;
use godwit_model::failure::Code;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use godwit_model::time::Timestamp;
use std::collections::BTreeSet;

impl Record {
    pub(super) fn take_image(&mut self, step: Step<ImageRow>) {
        match (step.was, step.is) {
            (None, Some(is)) => {
                assert!(self.owed.remove(&Owed::Image(is.run_id.clone())), "an image of no run: {is:?}");
                assert_eq!(is.deleting, 0, "{is:?}");
                self.images.entry(is.job_id.clone()).or_default().push(is.image_id);
                self.counted = Some(is.job_id);
            }
            (Some(was), Some(is)) if was.deleting == 0 && is.deleting == 1 => self.image_vanished(&is),
            (Some(was), None) => assert_eq!(was.deleting, 1, "an image vanished from one moment to the next: {was:?}"),
            (was, is) => panic!("{was:?} became {is:?}"),
        }
    }

    fn image_vanished(&mut self, image: &ImageRow) {
        let listed = self.images.get_mut(&image.job_id).expect("a job with images");
        let place = listed.iter().position(|id| *id == image.image_id).expect("it was on the lists");
        listed.remove(place);
        if self.unwanted_images.remove(&image.image_id) {
            return;
        }
        assert_eq!(self.counted.as_ref(), Some(&image.job_id), "{image:?} vanished by itself");
        assert_eq!(place, 0, "{image:?} vanished before older ones");
        let (left, keep) = (listed.len(), self.jobs[&image.job_id].row.keep_images);
        assert!(
            keep.is_some_and(|keep| keep > 0 && left >= keep as usize),
            "{image:?} vanished; {left} left of {keep:?}"
        );
    }

    /// Behind a new image there are not more than the job keeps.
    pub(super) fn end_of_images(&mut self) {
        let Some(job) = self.counted.take() else { return };
        let left = self.images[&job].len();
        if let Some(keep @ 1..) = self.jobs[&job].row.keep_images {
            assert!(left <= keep as usize, "{job} keeps {keep} images and has {left}");
        }
    }

    /// What a run staged is kept for the next one, unless the job ends or it proved damaged.
    pub(super) fn take_void(&mut self, pack: &PackRow, latest: Timestamp) {
        assert_ne!(pack.run, RunState::Completed, "an image needs it: {pack:?}");
        let is_old = pack.durable_at.is_none_or(|at| at + self.options.sweeping.staging <= latest);
        let is_damaged = pack.failure.as_deref() == Some(Code::VerifyMismatch.as_str());
        let job = &self.known(&pack.job_id).row;
        let is_ending = matches!(job.state, JobState::Failing | JobState::Deleting);
        assert!(is_old || is_damaged || is_ending, "staged, and not kept until {latest:?}: {pack:?} of {job:?}");
    }
}

/// Whatever is on the lists can be read.
pub(super) async fn look(service: &Service, world: &World) {
    let listed: BTreeSet<_> = super::ids(service, "SELECT image_id FROM image WHERE deleting = 0").await;
    let state = world.look();
    for image in listed {
        let order = state.images.get(&image).unwrap_or_else(|| panic!("{image} is listed and not in the store"));
        let gone = order.volumes.iter().find(|(_, snapshot)| !state.snapshots.contains_key(snapshot));
        assert!(gone.is_none(), "{image} has lost a snapshot: {gone:?}");
    }
    drop(state);
    assert!(world.every_snapshot_is_whole(), "a snapshot has lost a pack");
}
