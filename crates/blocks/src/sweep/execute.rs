//! Does what a plan says, object by object.

use super::Course;
use super::repack::{Repacked, repack};
use super::survey::Survey;
use crate::snapshot;
use crate::store::BlockStore;
use godwit_model::failure::Failure;

/// What a sweep did so far.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Swept {
    /// Packs deleted.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Stray snapshots deleted.
    pub snapshots: u64,
    /// What was repacked.
    pub repacked: Repacked,
    /// What could not be deleted, or moved.
    pub left: u64,
    /// Why, of the first.
    pub problem: Option<String>,
}

impl Swept {
    /// Something is left as it was.
    pub(super) fn leave(&mut self, failure: &Failure) {
        self.left += 1;
        self.problem.get_or_insert_with(|| failure.to_string());
    }
}

/// Deletes what the plan dooms, then repacks. What fails is left to the next sweep; only a stop ends it early, and
/// `progress` has been told everything until then.
pub async fn execute(
    store: &BlockStore,
    survey: &Survey,
    progress: &(dyn Fn(&Swept) + Send + Sync),
    course: Course<'_>,
) -> Result<Swept, Failure> {
    let mut swept = Swept::default();
    for id in &survey.plan.strays {
        course.stop_if_cancelled()?;
        match snapshot::delete(store, id).await {
            Ok(()) => swept.snapshots += 1,
            Err(failure) => swept.leave(&failure),
        }
        progress(&swept);
    }
    for doomed in &survey.plan.delete {
        course.stop_if_cancelled()?;
        let going = store.loans().let_go([doomed.pack]);
        if going.packs().is_empty() {
            // A run has found blocks in it since. If its snapshot is committed, the pack is needed.
            continue;
        }
        match store.remove_pack(doomed.pack).await {
            Ok(()) => {
                swept.packs += 1;
                swept.bytes += doomed.bytes;
            }
            Err(failure) => swept.leave(&failure),
        }
        progress(&swept);
    }
    if !survey.plan.repack.is_empty() {
        // Room that was just made comes first: a repack needs some before it gives more.
        repack(store, survey, &mut swept, progress, course).await?;
    }
    Ok(swept)
}
