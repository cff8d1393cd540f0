//! The life of a volume in a store: copied, copied again, verified, deleted, swept, repacked, read back.

use crate::between::Between;
use crate::stage::{Book, Volume, content, noise, objects, open, request, run, snapshot_id};
use futures::FutureExt;
use godwit_blocks::block::BlockSize;
use godwit_blocks::pack::{PACK_TARGET, PackSet};
use godwit_blocks::replicate::Request;
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Course, Limits, Listed, Swept, execute, survey};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::Failure;
use godwit_model::id::SnapshotId;
use godwit_model::time::{Millis, Timestamp};
use object_store::ObjectStore;
use std::collections::HashSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub const PACK: usize = 100_000;
pub const BLOCK: BlockSize = BlockSize::MIN;
pub const SIZE: usize = 1_200_000;
const LIMITS: Limits =
    Limits { staging: Millis::DAY.times(7), repack_percent: 30, repack_floor: 30_000, repack_bytes: 1 << 30 };

/// What a service that knows these snapshots claims.
pub fn known(ids: impl IntoIterator<Item = SnapshotId>) -> Claims {
    Claims { snapshots: ids.into_iter().collect(), ..Claims::default() }
}

/// Sweeps, when nothing is old.
pub async fn sweep(store: &BlockStore, claims: &Claims) -> Result<Swept, Failure> {
    let listed = Listed::packs(store).await?;
    let course = Course { cancel: &CancellationToken::new(), used: &|_| {} };
    let found = survey(store, listed, claims, &LIMITS, Timestamp(0), &|_, _| {}, course).await?;
    execute(store, &found, &|_| {}, course).await
}

/// The volume with three of four blocks changed.
pub fn mostly_changed(base: &[u8], seed: u64) -> Vec<u8> {
    let mut changed = base.to_vec();
    for (n, block) in changed.chunks_mut(4096).enumerate().filter(|(n, _)| n % 4 != 0) {
        let new = noise(seed * 1000 + n as u64, block.len());
        block.copy_from_slice(&new);
    }
    changed
}

pub async fn packs(objects_of: &dyn ObjectStore) -> HashSet<String> {
    let all = objects(objects_of).await.into_iter().map(|(path, _)| path.to_string());
    all.filter(|path| path.starts_with("packs/")).collect()
}

/// Whether the snapshot is whole and holds this.
pub async fn check(store: &BlockStore, id: &SnapshotId, model: &[u8]) {
    assert!(content(store, id).await.unwrap() == model, "{id} differs");
    let found = verify(store, id, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!((&found.damaged, &found.first_problem), (&Vec::new(), &None));
}

/// Makes snapshot 1 of `base`.
pub async fn first_snapshot(store: &BlockStore, base: &[u8]) {
    let first = request(1, SIZE as u64, BLOCK);
    run(store, &first, &Arc::new(Volume::new(base.to_vec())), &Book::default()).await.unwrap();
}

/// Makes snapshot 2 of `model`, which builds on snapshot 1 of `base`.
pub async fn second_snapshot(store: &BlockStore, base: &[u8], model: &[u8]) {
    let second = Request { parent: Some(snapshot_id(1)), ..request(2, SIZE as u64, BLOCK) };
    let volume = Arc::new(Volume::since(model.to_vec(), base));
    run(store, &second, &volume, &Book::default()).await.unwrap();
    assert!(volume.bytes_read() < SIZE as u64, "an increment reads what changed");
}

/// Deletes snapshot 1 and gives what it named.
pub async fn delete_first(store: &BlockStore) -> PackSet {
    let released = snapshot::load(store, &snapshot_id(1)).await.unwrap().unwrap().packs;
    snapshot::delete(store, &snapshot_id(1)).await.unwrap();
    released
}

/// A store with a snapshot that is worth a repack: what is claimed, and what the snapshot holds.
async fn to_be_repacked(store: &BlockStore) -> (Claims, Vec<u8>) {
    let base = noise(1, SIZE);
    let model = mostly_changed(&base, 2);
    first_snapshot(store, &base).await;
    second_snapshot(store, &base, &model).await;
    let released = delete_first(store).await;
    (Claims { released, ..known([snapshot_id(2)]) }, model)
}

/// Another process has repacked the snapshot when we come to replace its manifest.
pub async fn a_repack_replaces_nothing_that_it_has_not_read(objects_of: Arc<dyn ObjectStore>) {
    let other = open(objects_of.clone(), 1, PACK).await;
    let (claims, model) = to_be_repacked(&other).await;
    let theirs = claims.clone();
    let deed = async move {
        let swept = sweep(&other, &theirs).await.unwrap();
        assert_eq!((swept.repacked.snapshots, swept.left), (1, 0), "{swept:?}");
    };
    let between = Between::new(objects_of.clone(), deed.boxed());
    let swept = sweep(&open(between.clone(), 2, PACK).await, &claims).await.unwrap();
    assert!(between.is_done());
    assert_eq!((swept.repacked.snapshots, swept.left), (0, 0), "{swept:?}");
    // What we moved nobody names, and what they moved is needed.
    let mut claims = claims;
    swept.repacked.emptied.iter().for_each(|pack| claims.released.add(pack, 1));
    let store = open(objects_of, 3, PACK).await;
    sweep(&store, &claims).await.unwrap();
    check(&store, &snapshot_id(2), &model).await;
}

/// Another process has deleted the snapshot when we come to replace its manifest.
pub async fn a_repack_brings_back_nothing_that_was_deleted(objects_of: Arc<dyn ObjectStore>) {
    let other = open(objects_of.clone(), 1, PACK).await;
    let (claims, _) = to_be_repacked(&other).await;
    let between = Between::new(
        objects_of.clone(),
        async move { snapshot::delete(&other, &snapshot_id(2)).await.unwrap() }.boxed(),
    );
    let swept = sweep(&open(between.clone(), 2, PACK).await, &claims).await.unwrap();
    assert!(between.is_done() && swept.repacked.snapshots == 0, "{swept:?}");
    let store = open(objects_of, 3, PACK).await;
    assert_eq!(snapshot::load(&store, &snapshot_id(2)).await.unwrap(), None);
}

pub async fn a_volume_lives_and_is_swept(objects_of: Arc<dyn ObjectStore>) {
    let store = open(objects_of.clone(), 1, PACK).await;
    let base = noise(1, SIZE);
    let model = mostly_changed(&base, 2);
    first_snapshot(&store, &base).await;
    second_snapshot(&store, &base, &model).await;
    check(&store, &snapshot_id(1), &base).await;
    check(&store, &snapshot_id(2), &model).await;

    // Another process finds the same.
    let again = open(objects_of.clone(), 2, PACK).await;
    check(&again, &snapshot_id(2), &model).await;

    let before = packs(&*objects_of).await;
    let released = delete_first(&store).await;
    let claims = Claims { released, ..known([snapshot_id(2)]) };
    let swept = sweep(&store, &claims).await.unwrap();
    assert!(swept.repacked.bytes_moved > 0 && swept.left == 0, "{swept:?}");
    check(&store, &snapshot_id(2), &model).await;

    // What the repack emptied goes with the next sweep.
    let mut claims = claims;
    swept.repacked.emptied.iter().for_each(|pack| claims.released.add(pack, 1));
    let swept = sweep(&store, &claims).await.unwrap();
    assert!(swept.packs > 0 && swept.left == 0, "{swept:?}");
    check(&open(objects_of.clone(), 3, PACK).await, &snapshot_id(2), &model).await;
    let after = packs(&*objects_of).await;
    assert!(before.iter().any(|pack| !after.contains(pack)), "nothing went of {before:?}");

    // A pack as large as they are in use.
    let store = open(objects_of, 4, PACK_TARGET).await;
    let large = noise(7, 24 << 20);
    let third = request(3, large.len() as u64, BlockSize::DEFAULT);
    run(&store, &third, &Arc::new(Volume::new(large.clone())), &Book::default()).await.unwrap();
    check(&store, &snapshot_id(3), &large).await;
}
