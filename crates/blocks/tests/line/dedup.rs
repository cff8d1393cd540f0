//! Blocks that the store holds already are not stored again, and never missing afterwards.

use crate::beside::Counted;
use crate::stage::{Book, Volume, noise, objects, open, request, run, snapshot_id};
use crate::sweep::{BLOCK, EARLY, LATE, PACK, check, known, mostly_changed, pack_bytes, sweep, sweep_twice};
use godwit_blocks::dedup;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::pack::PackSet;
use godwit_blocks::replicate::{Replicated, Request};
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Swept};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::id::{ImageId, JobId, KeyId, PackId, RunId};
use godwit_model::time::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::{Arc, Mutex, OnceLock};
use tokio_util::sync::CancellationToken;

const SIZE: usize = 1_000_000;

fn manifest(n: u128) -> ImageManifest {
    ImageManifest {
        image: ImageId::from_bits(n),
        job: JobId::from_bits(2),
        run: RunId::from_bits(n),
        server_name: "web-1".to_owned(),
        volumes: vec![ImageVolume { device: "vda".to_owned(), snapshot: snapshot_id(n) }],
        created_at: Timestamp(5),
    }
}

async fn copy(store: &BlockStore, n: u128, bytes: &[u8]) -> Replicated {
    let volume = Arc::new(Volume::new(bytes.to_vec()));
    run(store, &request(n, bytes.len() as u64, BLOCK), &volume, &Book::default()).await.unwrap()
}

/// A copy that is an image.
async fn copy_as_image(store: &BlockStore, n: u128, bytes: &[u8]) -> Replicated {
    let copied = copy(store, n, bytes).await;
    image::register(store, &manifest(n)).await.unwrap();
    copied
}

async fn remove_image(store: &BlockStore, n: u128) {
    image::delete(store, &ImageId::from_bits(n)).await.unwrap();
    snapshot::delete(store, &snapshot_id(n)).await.unwrap();
}

/// Half of another volume's blocks, elsewhere, between new ones.
fn related(base: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = noise(seed, base.len());
    let blocks = base.chunks_exact(4096).collect::<Vec<_>>();
    for (n, block) in bytes.chunks_exact_mut(4096).enumerate().filter(|(n, _)| n % 2 == 0) {
        block.copy_from_slice(blocks[(n * 7 + 3) % blocks.len()]);
    }
    bytes
}

async fn packs_of(store: &BlockStore, n: u128) -> PackSet {
    snapshot::load(store, &snapshot_id(n)).await.unwrap().unwrap().packs
}

/// How many packs were ever lent.
async fn lent(objects_of: &Arc<dyn ObjectStore>) -> usize {
    objects(&**objects_of).await.iter().filter(|(path, _)| path.as_ref().starts_with("loans/")).count()
}

fn listed(packs: &PackSet) -> Vec<PackId> {
    packs
        .ranges()
        .flat_map(|(first, count)| {
            let first = u128::from_be_bytes(first.to_bytes());
            (0..count).map(move |n| PackId::from_bits(first + u128::from(n)))
        })
        .collect()
}

#[tokio::test]
async fn what_another_volume_has_is_not_stored_again_and_reads_the_same() {
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    let first = noise(1, SIZE);
    // No image yet: clones that are copied at the same time share.
    copy(&store, 1, &first).await;
    let second = related(&first, 2);
    let copied = copy(&store, 2, &second).await;
    let stored = copied.figures.bytes_stored;
    assert!(stored < (SIZE / 2 + 60_000) as u64, "{stored} of {SIZE} bytes");
    check(&store, &snapshot_id(2), &second, "borrowed").await;
    assert!(lent(&objects_of).await > 3);

    // A new process knows nothing until it has looked.
    let again = open(objects_of.clone(), 2, PACK).await;
    let third = related(&first, 3);
    assert!(copy(&again, 3, &third).await.figures.bytes_stored > SIZE as u64);
    dedup::learn(&again, &CancellationToken::new()).await.unwrap();
    let fourth = related(&first, 4);
    assert!(copy(&again, 4, &fourth).await.figures.bytes_stored < (SIZE / 2 + 60_000) as u64);
    check(&again, &snapshot_id(4), &fourth, "borrowed after a start").await;
}

#[tokio::test]
async fn what_a_failed_run_stored_is_not_stored_again_by_another() {
    let store = open(Arc::new(InMemory::new()), 1, PACK).await;
    let bytes = noise(1, 8 << 20);
    let failing = Arc::new(Volume { fail_read: Some(6), ..Volume::new(bytes.clone()) });
    let book = Book::default();
    assert!(run(&store, &request(1, bytes.len() as u64, BLOCK), &failing, &book).await.is_err());
    assert!(!book.durable.lock().unwrap().is_empty());
    let copied = copy(&store, 2, &bytes).await;
    assert!(copied.figures.bytes_stored < (bytes.len() - (1 << 20)) as u64, "{:?}", copied.figures);
    check(&store, &snapshot_id(2), &bytes, "borrowed from a failed run").await;
}

#[tokio::test]
async fn blocks_that_a_volume_repeats_are_stored_once() {
    let store = open(Arc::new(InMemory::new()), 1, PACK).await;
    let piece = noise(1, SIZE / 10 / 4096 * 4096);
    let bytes = piece.repeat(10);
    let copied = copy(&store, 1, &bytes).await;
    assert!(copied.figures.bytes_stored < (bytes.len() / 5) as u64, "{:?}", copied.figures);
    check(&store, &snapshot_id(1), &bytes, "repeated").await;
    // What is read at the same time may be stored beside each other, before one of them is noted.
    let long = noise(2, 3 << 20).repeat(20);
    let copied = copy(&store, 2, &long).await;
    assert!(copied.figures.bytes_stored < (long.len() / 2) as u64, "{:?}", copied.figures);
    check(&store, &snapshot_id(2), &long, "repeated").await;
}

#[tokio::test]
async fn nothing_is_found_in_another_key_domain() {
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    let other = KeyId::from_bits(9);
    store.make_key(&other, 1).await.unwrap();
    let bytes = noise(1, SIZE);
    copy_as_image(&store, 1, &bytes).await;
    let under = store.under(&other).await.unwrap();
    dedup::learn(&under, &CancellationToken::new()).await.unwrap();
    let copied = copy(&under, 2, &bytes).await;
    assert!(copied.figures.bytes_stored > SIZE as u64);
    assert_eq!(lent(&objects_of).await, 0);
}

#[tokio::test]
async fn a_rotated_key_still_finds_what_older_versions_hold() {
    let store = open(Arc::new(InMemory::new()), 1, PACK).await;
    let key = KeyId::from_bits(9);
    store.make_key(&key, 1).await.unwrap();
    let bytes = noise(1, SIZE);
    copy_as_image(&store.under(&key).await.unwrap(), 1, &bytes).await;
    store.make_key(&key, 2).await.unwrap();
    let rotated = store.under(&key).await.unwrap();
    let copied = copy(&rotated, 2, &bytes).await;
    assert!(copied.figures.bytes_stored < 60_000, "{:?}", copied.figures);
    assert_eq!(copied.key_version, 2);
    check(&rotated, &snapshot_id(2), &bytes, "rotated").await;
}

#[tokio::test]
async fn rot_is_not_borrowed() {
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    let bytes = noise(1, SIZE);
    copy_as_image(&store, 1, &bytes).await;
    let packs: Vec<Path> = objects(&*objects_of)
        .await
        .into_iter()
        .map(|(path, _)| path)
        .filter(|p| p.as_ref().starts_with("packs/"))
        .collect();
    for path in &packs[..packs.len() / 2] {
        let mut object = objects_of.get(path).await.unwrap().bytes().await.unwrap().to_vec();
        object[30_000] ^= 1;
        objects_of.put(path, object.into()).await.unwrap();
    }
    let copied = copy(&store, 2, &bytes).await;
    assert!(copied.figures.bytes_stored > 4096 * packs.len() as u64 / 2, "what is rotten was stored anew");
    check(&store, &snapshot_id(2), &bytes, "beside rot").await;
    let verified = verify(&store, &snapshot_id(2), Scope::Everything, &|_, _| {}, &CancellationToken::new()).await;
    assert_eq!(verified.unwrap().damaged, []);
}

/// At every call to the store that a borrowing run makes, the image that it borrows from is deleted and swept away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_borrowed_survives_its_owner_whenever_that_goes() {
    let (mut happened, mut shared) = (0, 0);
    for call in 0.. {
        let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let same: Arc<OnceLock<BlockStore>> = Arc::default();
        let hook = {
            let same = same.clone();
            move || async move {
                let store = same.get().unwrap();
                remove_image(store, 1).await;
                // The run's own packs are in its ledger: here they are young.
                let claims = Claims { released: packs_of_first(), ..known([snapshot_id(2)]) };
                sweep(store, &claims, EARLY).await.unwrap();
            }
        };
        let counted = Counted::doing(objects_of.clone(), i64::MAX, hook);
        let store = open(counted.clone(), 1, PACK).await;
        let first = noise(1, SIZE / 4);
        copy_as_image(&store, 1, &first).await;
        let _ = same.set(store.clone());
        let second = related(&first, 2);
        counted.after(call);
        copy(&store, 2, &second).await;
        let is_over = !counted.is_over();
        counted.after(i64::MAX);
        check(&store, &snapshot_id(2), &second, &format!("owner gone at call {call}")).await;
        shared += u64::from(lent(&objects_of).await > 0);
        // Whatever is swept from now on, it stays.
        let claims = Claims { released: packs_of_first(), ..known([snapshot_id(2)]) };
        sweep(&store, &claims, LATE).await.unwrap();
        check(&store, &snapshot_id(2), &second, &format!("swept, owner gone at call {call}")).await;
        if is_over {
            break;
        }
        happened += 1;
    }
    assert!(happened > 10 && shared > 5, "{happened} calls, {shared} times something was shared");
}

/// Ids are drawn from the same seed in each turn.
fn packs_of_first() -> PackSet {
    let mut packs = PackSet::default();
    packs.add(&PackId::from_bits(0), u64::MAX);
    packs
}

/// At every call to the store that a borrowing run makes, what it borrows from is repacked: its packs are mostly dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_borrowed_survives_a_repack_of_its_owner() {
    let (mut happened, mut shared, mut moved) = (0, 0, 0);
    for call in 0.. {
        let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let same: Arc<OnceLock<(BlockStore, Claims)>> = Arc::default();
        let told: Arc<Mutex<Option<Swept>>> = Arc::default();
        let hook = {
            let (same, told) = (same.clone(), told.clone());
            move || async move {
                let (store, claims) = same.get().unwrap();
                *told.lock().unwrap() = Some(sweep_twice(store, claims, EARLY).await.unwrap());
            }
        };
        let counted = Counted::doing(objects_of.clone(), i64::MAX, hook);
        let store = open(counted.clone(), 1, PACK).await;
        let base = noise(1, SIZE / 2);
        copy(&store, 1, &base).await;
        let owner = mostly_changed(&base, 2);
        let second = Request { parent: Some(snapshot_id(1)), ..request(2, owner.len() as u64, BLOCK) };
        run(&store, &second, &Arc::new(Volume::since(owner.clone(), &base)), &Book::default()).await.unwrap();
        let claims = Claims { released: packs_of(&store, 1).await, ..known([snapshot_id(2), snapshot_id(3)]) };
        snapshot::delete(&store, &snapshot_id(1)).await.unwrap();
        let _ = same.set((store.clone(), claims.clone()));

        let borrower = related(&owner, 3);
        counted.after(call);
        copy(&store, 3, &borrower).await;
        let is_over = !counted.is_over();
        counted.after(i64::MAX);
        for now in [EARLY, LATE] {
            check(&store, &snapshot_id(3), &borrower, &format!("repacked at call {call}")).await;
            check(&store, &snapshot_id(2), &owner, &format!("repacked at call {call}")).await;
            sweep_twice(&store, &claims, now).await.unwrap();
        }
        check(&store, &snapshot_id(3), &borrower, &format!("swept late, repacked at call {call}")).await;
        shared += u64::from(lent(&objects_of).await > 0);
        if is_over {
            break;
        }
        happened += 1;
        moved += u64::from(told.lock().unwrap().take().unwrap().repacked.snapshots > 0);
    }
    assert!(happened > 10 && shared > 5 && moved > 5, "{happened} calls, {shared} shared, {moved} repacked");
}

#[tokio::test]
async fn a_sweep_that_began_before_the_commit_leaves_what_was_borrowed() {
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    let first = noise(1, SIZE);
    copy_as_image(&store, 1, &first).await;
    let own = packs_of(&store, 1).await;
    remove_image(&store, 1).await;
    let course = godwit_blocks::sweep::Course { cancel: &CancellationToken::new(), used: &|_| {} };
    let listed_before = godwit_blocks::sweep::Listed::packs(&store).await.unwrap();
    let claims = Claims { released: own, ..known([snapshot_id(2)]) };
    let limits = crate::sweep::LIMITS;
    let survey = godwit_blocks::sweep::survey(&store, listed_before, &claims, &limits, EARLY, &|_, _| {}, course);
    let survey = survey.await.unwrap();
    assert!(survey.plan.delete.len() > 5);
    let second = related(&first, 2);
    copy(&store, 2, &second).await;
    assert!(lent(&objects_of).await > 0);
    godwit_blocks::sweep::execute(&store, &survey, &|_| {}, course).await.unwrap();
    check(&store, &snapshot_id(2), &second, "swept by an old plan").await;
    drop(survey);
    // The next sweep sees who needs what, and what nobody needs goes.
    let before = pack_bytes(&objects_of).await;
    remove_image(&store, 2).await;
    sweep(&store, &claims, LATE).await.unwrap();
    assert!(pack_bytes(&objects_of).await < before / 2);
    assert_eq!(lent(&objects_of).await, 0, "the notes go with the packs");
}

#[tokio::test]
async fn packs_that_others_borrowed_are_not_discarded() {
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    let first = noise(1, SIZE);
    copy_as_image(&store, 1, &first).await;
    let second = related(&first, 2);
    copy(&store, 2, &second).await;
    let own = packs_of(&store, 1).await;
    remove_image(&store, 1).await;
    // Also by a process that knows nothing of the loan.
    let again = open(objects_of.clone(), 2, PACK).await;
    again.discard_packs(&listed(&own)).await.unwrap();
    check(&again, &snapshot_id(2), &second, "the owner's packs were discarded").await;
    remove_image(&again, 2).await;
    sweep(&again, &Claims::default(), LATE).await.unwrap();
    assert_eq!((pack_bytes(&objects_of).await, lent(&objects_of).await), (0, 0));
}
