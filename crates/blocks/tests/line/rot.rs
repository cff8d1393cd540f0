//! Rot in the store: found pack by pack, traced to the snapshots that name it, and repaired by the next run.

use crate::stage::{self, Book, Volume, content, noise, objects, open, request, run, snapshot_id};
use godwit_blocks::block::BlockSize;
use godwit_blocks::replicate::{Replicated, Request};
use godwit_blocks::scrub::{PackCheck, PackState, Suspected, Traced, check_pack, list_packs, trace};
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::Course;
use godwit_blocks::verify::{Scope, Verified, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::Code;
use godwit_model::id::PackId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const BLOCK: BlockSize = BlockSize::MIN;
const SIZE: usize = 4_500_000;

struct Scene {
    objects: Arc<dyn ObjectStore>,
    store: BlockStore,
    /// Content of the second snapshot.
    model: Vec<u8>,
}

impl Scene {
    /// Two snapshots of a volume over two leaves, of which the second shares most with the first.
    async fn new() -> Scene {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = open(objects.clone(), 1, 60_000).await;
        let mut model = vec![0; SIZE];
        for at in [0, 40_000, 2_000_000, 4_300_000] {
            model[at..at + 20_000].copy_from_slice(&noise(at as u64, 20_000));
            model[at + 20_000..at + 30_000].fill(b't');
        }
        let first = request(1, SIZE as u64, BLOCK);
        run(&store, &first, &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
        let base = model.clone();
        model[2_000_000..2_005_000].fill(9);
        let second = Request { parent: Some(first.snapshot), ..request(2, SIZE as u64, BLOCK) };
        run(&store, &second, &Arc::new(Volume::since(model.clone(), &base)), &Book::default()).await.unwrap();
        Scene { objects, store, model }
    }

    async fn packs(&self) -> Vec<(Path, u64)> {
        let all = objects(&*self.objects).await;
        all.into_iter().filter(|(path, _)| path.as_ref().starts_with("packs")).collect()
    }

    async fn flip(&self, path: &Path, at: usize) {
        let mut bytes = self.objects.get(path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[at] ^= 1 << (at % 8);
        self.objects.put(path, bytes.into()).await.unwrap();
    }

    async fn verify(&self, n: u128) -> Verified {
        let cancel = CancellationToken::new();
        verify(&self.store, &snapshot_id(n), Scope::Everything, &|_, _| {}, &cancel).await.unwrap()
    }

    async fn check(&self, path: &Path) -> PackCheck {
        check_pack(&self.store, &pack(path), course(&CancellationToken::new())).await.unwrap()
    }

    async fn trace(&self, suspected: Suspected<'_>, snapshots: &[u128]) -> Vec<Traced> {
        let ids: Vec<_> = snapshots.iter().map(|n| snapshot_id(*n)).collect();
        trace(&self.store, suspected, &ids, course(&CancellationToken::new())).await.unwrap()
    }

    /// What is damaged because a pack is gone.
    async fn missed(&self, snapshots: &[u128]) -> Vec<Traced> {
        let listed = list_packs(&self.store).await.unwrap();
        self.trace(Suspected::NotIn(&listed), snapshots).await
    }

    /// The next run, of a source in which nothing changed. Its result is compared with the source.
    async fn next_run(&self, n: u128, damaged: Vec<Extent>) -> (Replicated, u64) {
        let request = Request { parent: Some(snapshot_id(2)), damaged, ..request(n, SIZE as u64, BLOCK) };
        let volume = Arc::new(Volume::since(self.model.clone(), &self.model));
        let done = run(&self.store, &request, &volume, &Book::default()).await.unwrap();
        (done, volume.bytes_read())
    }
}

fn course(cancel: &CancellationToken) -> Course<'_> {
    Course { cancel, used: &|_| {} }
}

fn pack(path: &Path) -> PackId {
    path.filename().unwrap().parse().unwrap()
}

/// Whatever byte of whatever pack changes: the pack is found, what is damaged of the snapshots is told by a trace as by a
/// verification, and the next run makes a whole snapshot out of it. Every byte of the framing, and samples of the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_anywhere_is_found_traced_and_repaired() {
    let scene = Scene::new().await;
    let (mut n_flips, mut n_damaged, mut n) = (0, 0, 100);
    for (path, size) in scene.packs().await {
        assert_eq!(scene.check(&path).await.state, PackState::Whole);
        let whole = scene.objects.get(&path).await.unwrap().bytes().await.unwrap();
        let edges = (0..41).chain(size as usize - 100..size as usize);
        for at in edges.chain((41..size as usize).step_by(907)) {
            scene.flip(&path, at).await;
            n_flips += 1;
            let what = format!("{path} byte {at} of {size}");
            let PackState::Damaged(problem) = scene.check(&path).await.state else { panic!("{what}: not found") };
            assert!(problem.contains(path.as_ref()), "{what}: {problem}");

            let verified = [scene.verify(1).await, scene.verify(2).await];
            let traced = scene.trace(Suspected::In(&[pack(&path)]), &[1, 2]).await;
            for (n, verified) in (1..).zip(&verified) {
                let traced = traced.iter().find(|traced| traced.snapshot == snapshot_id(n));
                let found = traced.map_or(&[][..], |traced| &traced.damaged);
                assert_eq!(found, verified.damaged, "{what}");
                assert_eq!(verified.packs.is_empty(), verified.damaged.is_empty(), "{what}");
                assert!(verified.packs.iter().all(|bad| *bad == pack(&path)), "{what}");
            }
            let damaged = verified[1].damaged.clone();
            if !damaged.is_empty() {
                n_damaged += 1;
                n += 1;
                let bytes: u64 = damaged.iter().map(|extent| extent.length).sum();
                // Without the end of the parent nobody can tell whether the volume was cut off: then all of it is read.
                let is_end_lost = damaged.last().is_some_and(|extent| extent.end() == SIZE as u64);
                let most = if is_end_lost { SIZE as u64 } else { bytes + 4096 };
                let (done, read) = scene.next_run(n, damaged).await;
                assert_eq!(done.notes.len(), 1, "{what}: {:?}", done.notes);
                assert!(read <= most, "{what}: {read} bytes were read for {bytes}");
                assert_eq!(scene.verify(n).await.damaged, [], "{what}");
                assert!(content(&scene.store, &snapshot_id(n)).await.unwrap() == scene.model, "{what}");
                assert!(!scene.verify(2).await.damaged.is_empty(), "{what}: the old one stays what it is");
            }
            scene.objects.put(&path, whole.clone().into()).await.unwrap();
        }
    }
    assert!(n_damaged > 20 && n_flips > n_damaged, "{n_damaged} of {n_flips}");
    assert_eq!(scene.verify(2).await.damaged, []);
}

#[tokio::test]
async fn what_a_repair_stored_is_verified_as_the_runs_own() {
    let scene = Scene::new().await;
    let (path, _) = scene.packs().await.remove(0);
    scene.flip(&path, 50).await;
    let damaged = scene.verify(2).await.damaged;
    scene.next_run(3, damaged).await;
    let cancel = CancellationToken::new();
    let own = verify(&scene.store, &snapshot_id(3), Scope::OwnBlocks, &|_, _| {}, &cancel).await.unwrap();
    assert_eq!((own.damaged.as_slice(), own.bytes_verified), (&[][..], 4096));
}

/// A run verifies what it stored: what is older was verified by its own run, and is the scrub's to look at.
#[tokio::test]
async fn a_verification_of_a_runs_own_finds_what_it_stored_and_nothing_else() {
    let scene = Scene::new().await;
    let cancel = CancellationToken::new();
    let first = snapshot::load(&scene.store, &snapshot_id(1)).await.unwrap().unwrap().packs;
    let (mut n_own, mut n_older) = (0, 0);
    for (path, size) in scene.packs().await {
        let whole = scene.objects.get(&path).await.unwrap().bytes().await.unwrap();
        for at in (41..size as usize - 100).step_by(307) {
            scene.flip(&path, at).await;
            let all = scene.verify(2).await;
            let own = verify(&scene.store, &snapshot_id(2), Scope::OwnBlocks, &|_, _| {}, &cancel).await.unwrap();
            if first.contains(&pack(&path)) {
                assert_eq!(own.damaged, [], "{path} byte {at}");
                n_older += usize::from(!all.damaged.is_empty());
            } else {
                assert_eq!(own.damaged, all.damaged, "{path} byte {at}");
                n_own += usize::from(!all.damaged.is_empty());
            }
        }
        scene.objects.put(&path, whole.into()).await.unwrap();
    }
    assert!(n_own > 2 && n_older > 2, "{n_own}, {n_older}");
}

/// Nobody knew: the run finds it, because it reads everything, and though all of it is equal it builds on nothing damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_page_that_a_run_meets_is_stored_anew() {
    let scene = Scene::new().await;
    let (mut n_pages, mut n) = (0, 100);
    for (path, size) in scene.packs().await {
        let whole = scene.objects.get(&path).await.unwrap().bytes().await.unwrap();
        for at in (41..size as usize - 100).step_by(211) {
            scene.flip(&path, at).await;
            if scene.verify(2).await.damaged.iter().any(|extent| extent.length > 4096) {
                n_pages += 1;
                n += 1;
                let request = Request { parent: Some(snapshot_id(2)), ..request(n, SIZE as u64, BLOCK) };
                let base = Some(scene.model.clone());
                let volume = Volume { base, vagueness: 255, ..Volume::new(scene.model.clone()) };
                let done = run(&scene.store, &request, &Arc::new(volume), &Book::default()).await.unwrap();
                assert_eq!(done.notes.len(), 1, "{path} byte {at}: {:?}", done.notes);
                assert_eq!(scene.verify(n).await.damaged, [], "{path} byte {at}");
            }
            scene.objects.put(&path, whole.clone().into()).await.unwrap();
        }
    }
    assert!(n_pages > 1, "{n_pages}");
}

#[tokio::test]
async fn packs_that_are_gone_are_missed_and_what_needed_them_is_repaired() {
    let scene = Scene::new().await;
    assert_eq!(scene.missed(&[1, 2]).await, []);
    for (n, (path, _)) in (100..).zip(scene.packs().await) {
        let whole = scene.objects.get(&path).await.unwrap().bytes().await.unwrap();
        scene.objects.delete(&path).await.unwrap();
        assert_eq!(scene.check(&path).await, PackCheck { state: PackState::Gone, bytes: 0 });
        let traced = scene.missed(&[2]).await;
        let verified = scene.verify(2).await.damaged;
        assert_eq!(traced.iter().flat_map(|traced| traced.damaged.clone()).collect::<Vec<_>>(), verified);
        for traced in traced {
            assert!(traced.problem.contains("missing") && !traced.is_cut_off, "{traced:?}");
            scene.next_run(n, traced.damaged).await;
            assert_eq!(scene.verify(n).await.damaged, []);
        }
        scene.objects.put(&path, whole.into()).await.unwrap();
    }
    assert_eq!(scene.missed(&[1, 2]).await, []);
}

#[tokio::test]
async fn a_snapshot_without_its_manifest_is_lost_as_a_whole() {
    let scene = Scene::new().await;
    let path = Path::from(format!("snapshots/{}", snapshot_id(2)));
    scene.flip(&path, 60).await;
    let traced = scene.missed(&[1, 2]).await;
    assert_eq!(traced.len(), 1);
    assert!(traced[0].snapshot == snapshot_id(2) && traced[0].is_cut_off, "{traced:?}");
}

#[tokio::test]
async fn what_nobody_may_read_is_neither_whole_nor_damaged_and_a_stop_is_obeyed() {
    let scene = Scene::new().await;
    let (path, _) = scene.packs().await.remove(0);
    let stopped = CancellationToken::new();
    stopped.cancel();
    let failure = check_pack(&scene.store, &pack(&path), course(&stopped)).await.unwrap_err();
    assert_eq!(failure.code, Code::Cancelled);
    scene.store.set_key_enabled(&godwit_model::key::first_key(), false);
    assert_eq!(scene.check(&path).await.state, PackState::Closed);
}

#[tokio::test]
async fn a_store_is_read_without_a_byte_being_written() {
    let scene = Scene::new().await;
    let master = godwit_blocks::crypt::MasterKey::new([7; 32]);
    let before = objects(&*scene.objects).await;
    let store = BlockStore::open_to_read(scene.objects.clone(), &master).await.unwrap();
    let cancel = CancellationToken::new();
    let verified = verify(&store, &snapshot_id(2), Scope::Everything, &|_, _| {}, &cancel).await.unwrap();
    assert_eq!(verified.damaged, []);
    let volume = Arc::new(Volume::new(noise(1, 9_000)));
    let refused = run(&store, &request(9, 9_000, BLOCK), &volume, &Book::default()).await.unwrap_err();
    assert!(refused.evidence.contains("only looked at"), "{refused}");
    assert_eq!(objects(&*scene.objects).await, before);

    let empty: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let refused = BlockStore::open_to_read(empty.clone(), &master).await.err().unwrap();
    assert_eq!(refused.code, Code::KeyUnavailable);
    assert_eq!(stage::objects(&*empty).await, []);
}
