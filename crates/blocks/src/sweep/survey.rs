//! Looks at the store: packs, then snapshots and what they name.

use super::{Claims, Course, Limits, Marks, PackFact, Plan, plan};
use crate::dedup::loans::Sweeping;
use crate::image;
use crate::snapshot::{self, SnapshotManifest};
use crate::store::BlockStore;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{KeyId, SnapshotId};
use godwit_model::key::Purpose;
use godwit_model::time::Timestamp;
use std::collections::{BTreeMap, HashSet};

/// The packs of the store, as they were before claims were asked for.
#[derive(Debug)]
pub struct Listed {
    packs: Vec<PackFact>,
    sweeping: Sweeping,
}

impl Listed {
    /// Lists them.
    pub async fn packs(store: &BlockStore) -> Result<Listed, Failure> {
        let sweeping = store.loans().begin_sweep();
        Ok(Listed { packs: store.list_packs().await?, sweeping })
    }
}

/// What was found, and what is to be done.
#[derive(Debug)]
pub struct Survey {
    /// The decisions.
    pub plan: Plan,
    /// Snapshots whose records may be moved, by key domain: domains share no record.
    pub(super) movable: BTreeMap<KeyId, Vec<SnapshotId>>,
    /// Until everything is done: what comes back from loan meanwhile stays.
    _sweeping: Sweeping,
}

/// Walks all snapshots and decides. `claims` were asked for after `listed` was made. `progress` is told how many
/// snapshots of how many are walked.
pub async fn survey(
    store: &BlockStore,
    listed: Listed,
    claims: &Claims,
    limits: &Limits,
    now: Timestamp,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
    course: Course<'_>,
) -> Result<Survey, Failure> {
    // A list may be behind: what is known is looked for by name, too, lest what it names seem unneeded.
    let known = claims.snapshots.iter().chain(&claims.in_use).cloned();
    let mut snapshots: Vec<SnapshotId> = snapshot::list(store).await?.into_iter().chain(known).collect();
    // Those in use come first: what they name is pinned.
    snapshots.sort_by_key(|id| (!claims.in_use.contains(id), id.clone()));
    snapshots.dedup();
    let n_in_use = snapshots.partition_point(|id| claims.in_use.contains(id));
    let mut marks = Marks::default();
    let mut movable: BTreeMap<KeyId, Vec<SnapshotId>> = BTreeMap::new();
    let mut old_strays = Vec::new();
    for (n, id) in snapshots.iter().enumerate() {
        course.stop_if_cancelled()?;
        if n == n_in_use {
            marks.pin();
        }
        progress(n as u64, snapshots.len() as u64);
        let Some(manifest) = mark(store, id, &mut marks, course).await? else { continue };
        if n >= n_in_use {
            movable.entry(manifest.key.clone()).or_default().push(id.clone());
        }
        if !claims.snapshots.contains(id) && !claims.in_use.contains(id) && manifest.created_at + limits.staging <= now
        {
            old_strays.push(id.clone());
        }
    }
    if n_in_use == snapshots.len() {
        marks.pin();
    }
    progress(snapshots.len() as u64, snapshots.len() as u64);
    let mut plan = plan(&listed.packs, &marks, claims, limits, now);
    plan.strays = strays(store, old_strays).await?;
    movable.values_mut().for_each(|snapshots| snapshots.retain(|id| !plan.strays.contains(id)));
    Ok(Survey { plan, movable, _sweeping: listed.sweeping })
}

/// Marks what a snapshot names; `None` if it is gone, or cannot be read.
async fn mark(
    store: &BlockStore,
    id: &SnapshotId,
    marks: &mut Marks,
    course: Course<'_>,
) -> Result<Option<SnapshotManifest>, Failure> {
    let why = match snapshot::load_with_store(store, id).await {
        Ok(None) => return Ok(None),
        Ok(Some((store, manifest))) => match marks.walk(&store, &manifest, course).await {
            Ok(()) => return Ok(Some(manifest)),
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    if !is_closed(&why) {
        return Err(why);
    }
    // It may have been deleted while it was walked, and its packs with it.
    match snapshot::key_of(store, id).await {
        Ok(None) => return Ok(None),
        Ok(Some(key)) => course.note_refusal(&key, Purpose::Decrypt, &why),
        // Not even that can be read: nothing of it is encrypted with a key that anybody could name.
        Err(_) => {}
    }
    marks.unreadable.push((id.clone(), why.evidence));
    Ok(None)
}

/// Those of `candidates` that no image names. An image that cannot be read may name any.
async fn strays(store: &BlockStore, candidates: Vec<SnapshotId>) -> Result<Vec<SnapshotId>, Failure> {
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let mut named = HashSet::new();
    for id in image::list(store).await? {
        match image::load(store, &id).await {
            Ok(image) => named.extend(image.into_iter().flat_map(|i| i.volumes).map(|volume| volume.snapshot)),
            Err(failure) if is_closed(&failure) => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        }
    }
    Ok(candidates.into_iter().filter(|id| !named.contains(id)).collect())
}

/// Whether what is stored cannot be read as it is: damaged, or under a key that is disabled or lost. Then it may name
/// anything; what else is in the store can be read nevertheless.
pub(super) fn is_closed(failure: &Failure) -> bool {
    matches!(failure.code, Code::StoreCorrupt | Code::KeyDisabled | Code::KeyUnavailable)
}
