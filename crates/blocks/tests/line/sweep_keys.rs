//! Sweeps and repacks over several named keys: rotated, disabled and enabled at every point, killed at every call.

use crate::beside::Counted;
use crate::stage::{Book, Volume, content, noise, objects, open, request, run, snapshot_id};
use crate::sweep::{
    BLOCK, EARLY, LATE, LIMITS, PACK, check, copied, known, look, mostly_changed, pack_bytes, sweep, sweep_twice,
};
use godwit_blocks::pack::PackSet;
use godwit_blocks::replicate::Request;
use godwit_blocks::snapshot::{self, SnapshotManifest};
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Course, Listed, Survey, Swept, execute, survey};
use godwit_model::failure::Code;
use godwit_model::id::KeyId;
use godwit_model::key::first_key;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

const SIZE: usize = 600_000;

fn key(n: u128) -> KeyId {
    KeyId::from_bits(n)
}

pub async fn manifest(store: &BlockStore, n: u128) -> SnapshotManifest {
    snapshot::load(store, &snapshot_id(n)).await.unwrap().unwrap()
}

/// Of each pack in the store: the key and the format version that its header says, and its length.
pub async fn headers(of: &dyn ObjectStore) -> BTreeMap<u128, (KeyId, u8, u64)> {
    let mut found = BTreeMap::new();
    for (path, length) in objects(of).await.into_iter().filter(|(path, _)| path.as_ref().starts_with("packs/")) {
        let bytes = of.get(&path).await.unwrap().bytes().await.unwrap();
        let id = u128::from_be_bytes(bytes[24..40].try_into().unwrap());
        let key = KeyId::from_bits(u128::from_be_bytes(bytes[8..24].try_into().unwrap()));
        found.insert(id, (key, bytes[7], length));
    }
    found
}

/// Replicates `content` as snapshot `n` in the key domain of `key`, on top of `parent`.
pub async fn replicated(store: &BlockStore, key: &KeyId, n: u128, content: &[u8], parent: Option<(u128, &[u8])>) {
    let volume = match parent {
        Some((_, base)) => Volume::since(content.to_vec(), base),
        None => Volume::new(content.to_vec()),
    };
    let parent = parent.map(|(parent, _)| snapshot_id(parent));
    let wanted = Request { parent, ..request(n, content.len() as u64, BLOCK) };
    run(&store.under(key).await.unwrap(), &wanted, &Arc::new(volume), &Book::default()).await.unwrap();
}

/// Some key domains with a chain of three snapshots each. The first one is deleted, so its packs are mostly dead; the
/// others share a quarter of it, and the last one most of the second. Ids alternate between the domains.
#[derive(Clone)]
pub struct Scene {
    pub objects: Arc<dyn ObjectStore>,
    keys: Vec<KeyId>,
    models: BTreeMap<u128, Vec<u8>>,
    released: PackSet,
}

impl Scene {
    /// `rotated`: the keys are rotated between the second and the third snapshots.
    pub async fn new(keys: &[KeyId], rotated: bool) -> Scene {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = open(objects.clone(), 1, PACK).await;
        let n_keys = keys.len() as u128;
        let mut models: BTreeMap<u128, Vec<u8>> = BTreeMap::new();
        for generation in 0..3 {
            for (domain, key) in (0..).zip(keys) {
                store.make_key(key, if rotated && generation == 2 { 2 } else { 1 }).await.unwrap();
                let n = 1 + domain + generation * n_keys;
                let parent = n.checked_sub(n_keys).and_then(|parent| models.get(&parent).map(|base| (parent, base)));
                let model = match (generation, parent) {
                    (1, Some((_, base))) => mostly_changed(base, n as u64),
                    (_, Some((_, base))) => [&noise(n as u64, 50_000)[..], &base[50_000..]].concat(),
                    (_, None) => noise(n as u64, SIZE),
                };
                replicated(&store, key, n, &model, parent.map(|(n, base)| (n, &base[..]))).await;
                models.insert(n, model);
            }
        }
        let mut released = PackSet::default();
        for n in 1..=n_keys {
            manifest(&store, n).await.packs.ranges().for_each(|(first, count)| released.add(first, count));
            snapshot::delete(&store, &snapshot_id(n)).await.unwrap();
            models.remove(&n);
        }
        Scene { objects, keys: keys.to_vec(), models, released }
    }

    /// Of two named keys.
    async fn of_two_keys() -> Scene {
        Scene::new(&[key(77), key(78)], false).await
    }

    pub fn claims(&self) -> Claims {
        Claims { released: self.released.clone(), ..known(self.models.keys().map(|n| snapshot_id(*n))) }
    }

    fn key_of(&self, n: u128) -> &KeyId {
        &self.keys[(n - 1) as usize % self.keys.len()]
    }

    /// Every snapshot reads as it was, and what is said to be its own is of its key.
    async fn check(&self, store: &BlockStore, when: &str) {
        let packs = headers(&*self.objects).await;
        for (n, model) in &self.models {
            check(store, &snapshot_id(*n), model, when).await;
            check_own(&manifest(store, *n).await, &packs, when);
        }
    }
}

/// Domains share nothing: all packs that a manifest names, and that are there, are of its key.
pub fn check_own(manifest: &SnapshotManifest, packs: &BTreeMap<u128, (KeyId, u8, u64)>, when: &str) {
    for (pack, (key, ..)) in packs {
        let is_named = manifest.packs.contains(&godwit_model::id::PackId::from_bits(*pack));
        assert!(!is_named || *key == manifest.key, "{when}: {} names a pack of {key}", manifest.snapshot);
    }
}

fn course(cancel: &CancellationToken) -> Course<'_> {
    Course { cancel, used: &|_| {} }
}

async fn surveyed(store: &BlockStore, claims: &Claims) -> Survey {
    let listed = Listed::packs(store).await.unwrap();
    survey(store, listed, claims, &LIMITS, EARLY, &|_, _| {}, course(&CancellationToken::new())).await.unwrap()
}

async fn executed(store: &BlockStore, found: &Survey) -> Swept {
    execute(store, found, &|_| {}, course(&CancellationToken::new())).await.unwrap()
}

#[tokio::test]
async fn a_repack_of_several_keys_keeps_them_apart() {
    let scene = Scene::of_two_keys().await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    let before = headers(&*scene.objects).await;
    let swept = sweep(&store, &scene.claims(), EARLY).await.unwrap();
    assert_eq!((swept.left, swept.repacked.snapshots), (0, 4), "{swept:?}");
    scene.check(&store, "after a repack").await;

    let mut claims = scene.claims();
    swept.repacked.emptied.iter().for_each(|pack| claims.released.add(pack, 1));
    let next = look(&store, &claims, EARLY).await.unwrap();
    assert!(swept.repacked.emptied.iter().all(|pack| next.deletes(pack)), "{next:?}");
    for key in &scene.keys {
        let is_of = |pack: &u128| before.get(pack).is_some_and(|(of, ..)| of == key);
        let emptied = swept.repacked.emptied.iter().map(|pack| u128::from_be_bytes(pack.to_bytes()));
        assert!(emptied.filter(is_of).count() > 1, "packs of {key} were emptied: {swept:?}");
    }
    sweep(&store, &claims, EARLY).await.unwrap();
    scene.check(&store, "after the emptied packs went").await;

    // What is of one key needs no other one: not even its object.
    for lost in &scene.keys {
        let copy = copied(&*scene.objects).await;
        copy.delete(&Path::from(format!("keys/{lost}"))).await.unwrap();
        let store = open(copy, 3, PACK).await;
        for (n, model) in &scene.models {
            match scene.key_of(*n) == lost {
                true => assert_eq!(content(&store, &snapshot_id(*n)).await.unwrap_err().code, Code::StoreCorrupt),
                false => check(&store, &snapshot_id(*n), model, "without the other key").await,
            }
        }
    }
}

#[tokio::test]
async fn a_repack_across_a_rotation_moves_what_both_versions_share() {
    let scene = Scene::new(&[key(77)], true).await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    let before = [manifest(&store, 2).await, manifest(&store, 3).await];
    assert_eq!(before.each_ref().map(|m| m.key_version), [1, 2]);
    let there = headers(&*scene.objects).await;
    let swept = sweep_twice(&store, &scene.claims(), EARLY).await.unwrap();
    assert_eq!((swept.left, swept.repacked.snapshots), (0, 2), "{swept:?}");
    scene.check(&store, "across a rotation").await;
    let after = [manifest(&store, 2).await, manifest(&store, 3).await];
    assert_eq!(after.each_ref().map(|m| m.key_version), [2, 2], "what was moved is under the newest version");
    assert_eq!(after.each_ref().map(|m| m.root_digest), before.each_ref().map(|m| m.root_digest));
    let left = headers(&*scene.objects).await;
    let (left, there) = (&left, &there);
    let formats = |new: bool| left.iter().filter(move |(id, _)| there.contains_key(id) != new).map(|(_, pack)| pack.1);
    assert_eq!(formats(true).collect::<BTreeSet<_>>(), [2].into());
    assert_eq!(formats(false).collect::<BTreeSet<_>>(), [1, 2].into(), "what need not be moved stays as it is");
    scene.check(&open(scene.objects.clone(), 3, PACK).await, "after a restart").await;
}

/// The service keeps the handle that it opened at its start, with the keys of then.
#[tokio::test]
async fn a_repack_encrypts_under_the_newest_version_also_if_the_key_was_rotated_long_ago() {
    let scene = Scene::new(&[first_key()], false).await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    let there = headers(&*scene.objects).await;
    store.make_key(&first_key(), 2).await.unwrap();
    let swept = sweep(&store, &scene.claims(), EARLY).await.unwrap();
    assert_eq!(swept.repacked.snapshots, 2, "{swept:?}");
    for (id, (_, format, _)) in headers(&*scene.objects).await {
        assert_eq!(format, if there.contains_key(&id) { 1 } else { 2 });
    }
    scene.check(&store, "under the newest version").await;
}

/// What happens to the first of two keys at a call of a repack to the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Rotate,
    Disable,
}

/// Does it at the nth call of a repack, for every n, and before the first one.
async fn during_a_repack(deed: Deed) {
    let scene = Scene::of_two_keys().await;
    let key = scene.keys[0].clone();
    let mut n_done = 0;
    for n in 0.. {
        let scene = Scene { objects: copied(&*scene.objects).await, ..scene.clone() };
        let when = format!("{deed:?} at call {n}");
        let of_hook: Arc<OnceLock<BlockStore>> = Arc::default();
        let hook = {
            let (key, of_hook) = (key.clone(), of_hook.clone());
            move || async move {
                let store = of_hook.get().unwrap();
                match deed {
                    Deed::Rotate => store.make_key(&key, 2).await.unwrap(),
                    Deed::Disable => store.set_key_enabled(&key, false),
                }
            }
        };
        let counted = Counted::doing(scene.objects.clone(), i64::MAX, hook);
        let store = open(counted.clone(), 2, PACK).await;
        // Who holds the key of before the rotation must find what is moved under the new version.
        let held = store.under(&key).await.unwrap();
        let found = surveyed(&store, &scene.claims()).await;
        assert!(of_hook.set(store.clone()).is_ok());
        counted.after(n);
        let swept = executed(&store, &found).await;
        let is_over = !counted.is_over();
        counted.after(i64::MAX);
        let emptied = headers(&*scene.objects)
            .await
            .into_iter()
            .filter(|(id, _)| swept.repacked.emptied.iter().any(|pack| u128::from_be_bytes(pack.to_bytes()) == *id));
        let of: BTreeSet<KeyId> = emptied.map(|(_, (key, ..))| key).collect();
        if deed == Deed::Disable && !is_over {
            assert!(of.contains(&scene.keys[1]), "{when}: the other key's packs were emptied: {swept:?}");
            assert_eq!(of.contains(&key), swept.left == 0, "{when}: {swept:?}");
            assert!(swept.left == 0 || swept.problem.as_ref().is_some_and(|p| p.contains("KeyDisabled")), "{when}");
            let packs = pack_bytes(&scene.objects).await;
            assert_eq!(sweep_twice(&store, &scene.claims(), LATE).await.unwrap().packs, 0, "{when}");
            assert_eq!(pack_bytes(&scene.objects).await, packs, "{when}: all of it stays while the key is disabled");
            store.set_key_enabled(&key, true);
        } else {
            assert_eq!((swept.left, of.len()), (0, 2), "{when}: {swept:?}");
        }
        for store in [&store, &held] {
            scene.check(store, &when).await;
        }
        let mut claims = scene.claims();
        swept.repacked.emptied.iter().for_each(|pack| claims.released.add(pack, 1));
        for _ in 0..2 {
            sweep_twice(&store, &claims, LATE).await.unwrap();
        }
        scene.check(&open(scene.objects.clone(), 3, PACK).await, &when).await;
        assert!(pack_bytes(&scene.objects).await < 2 * SIZE as u64 * 13 / 10, "{when}: what is dead goes");
        if is_over {
            break;
        }
        n_done += 1;
    }
    assert!(n_done > 20, "only {n_done} calls");
}

#[tokio::test]
async fn a_rotation_during_a_repack() {
    during_a_repack(Deed::Rotate).await;
}

#[tokio::test]
async fn a_key_that_is_disabled_during_a_repack_bars_its_own_snapshots_only() {
    during_a_repack(Deed::Disable).await;
}

#[tokio::test]
async fn while_a_key_is_disabled_nothing_goes_and_other_keys_work() {
    let mut scene = Scene::of_two_keys().await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    store.set_key_enabled(&key(77), false);
    let packs = headers(&*scene.objects).await;
    let plan = look(&store, &scene.claims(), LATE).await.unwrap();
    assert_eq!(plan.unreadable.len(), 2, "{plan:?}");
    assert!(plan.doubtful.packs > 0 && plan.unreadable[0].1.contains("disabled"), "{plan:?}");
    let swept = sweep_twice(&store, &scene.claims(), LATE).await.unwrap();
    assert_eq!((swept.packs, swept.snapshots, swept.repacked.bytes_moved), (0, 0, 0), "{swept:?}");
    assert_eq!(headers(&*scene.objects).await, packs);

    let (base, next) = (scene.models[&6].clone(), mostly_changed(&scene.models[&6], 8));
    replicated(&store, &key(78), 8, &next, Some((6, &base))).await;
    scene.models.insert(8, next);
    for n in [4, 6, 8] {
        check(&store, &snapshot_id(n), &scene.models[&n], "beside a disabled key").await;
    }
    store.set_key_enabled(&key(77), true);
    scene.check(&store, "enabled again").await;
    let before = pack_bytes(&scene.objects).await;
    let swept = sweep_twice(&store, &scene.claims(), EARLY).await.unwrap();
    assert!(swept.left == 0 && pack_bytes(&scene.objects).await < before - SIZE as u64 / 2, "{swept:?}");
    scene.check(&store, "swept at last").await;
}

/// As with one that is damaged: a later version of its key is gone.
#[tokio::test]
async fn a_snapshot_whose_version_of_the_key_is_lost_is_named_and_nothing_goes() {
    let scene = Scene::new(&[key(77)], true).await;
    scene.objects.delete(&Path::from(format!("keys/{}.2", key(77)))).await.unwrap();
    let store = open(scene.objects.clone(), 2, PACK).await;
    let plan = look(&store, &scene.claims(), LATE).await.unwrap();
    assert_eq!(plan.unreadable.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [snapshot_id(3)]);
    assert!(plan.unreadable[0].1.contains("version 2") && plan.delete.is_empty() && plan.repack.is_empty());
}

#[tokio::test]
async fn a_repack_of_two_keys_that_is_killed_anywhere_harms_nothing() {
    let origin = Scene::of_two_keys().await;
    let mut ends = Vec::new();
    for n in 3.. {
        let scene = Scene { objects: copied(&*origin.objects).await, ..origin.clone() };
        let dying = Counted::dying(scene.objects.clone(), n);
        let outcome = sweep_twice(&open(dying.clone(), 5, PACK).await, &scene.claims(), EARLY).await;
        let is_killed = dying.is_over() || outcome.is_err();
        let when = format!("killed at call {n}");
        let store = open(scene.objects.clone(), 6, PACK).await;
        scene.check(&store, &when).await;
        for _ in 0..3 {
            sweep_twice(&store, &scene.claims(), LATE).await.unwrap();
        }
        scene.check(&store, &when).await;
        ends.push(pack_bytes(&scene.objects).await);
        if !is_killed {
            break;
        }
    }
    assert!(ends.len() > 50, "only {} calls", ends.len());
    let (least, most) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    // Between two snapshots that share a quarter, the kill makes two of it.
    assert!(most - least < SIZE as u64 / 4 + 20_000, "it takes about as much room in the end: {ends:?}");
}

/// A page that snapshots share is looked into once. When that fails, and its snapshot is gone by then, what is below the
/// page is still to be looked at for the others.
#[tokio::test]
async fn a_snapshot_that_is_deleted_during_a_look_hides_nothing_that_others_share() {
    const LEAF: usize = 4 << 20;
    let origin: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(origin.clone(), 1, 1 << 20).await;
    store.make_key(&key(77), 1).await.unwrap();
    let base = noise(1, 2 * LEAF);
    replicated(&store, &key(77), 1, &base, None).await;
    let model = [&noise(2, LEAF)[..], &base[LEAF..]].concat();
    replicated(&store, &key(77), 2, &model, Some((1, &base))).await;
    for n in 0.. {
        let objects = copied(&*origin).await;
        let of_hook: Arc<OnceLock<BlockStore>> = Arc::default();
        let hook = {
            let of_hook = of_hook.clone();
            move || async move {
                let store = of_hook.get().unwrap();
                snapshot::delete(store, &snapshot_id(1)).await.unwrap();
                store.set_key_enabled(&key(77), false);
            }
        };
        let counted = Counted::doing(objects.clone(), i64::MAX, hook);
        let store = open(counted.clone(), 2, 1 << 20).await;
        assert!(of_hook.set(store.clone()).is_ok());
        let listed = Listed::packs(&store).await.unwrap();
        counted.after(n);
        let enable = |walked, _| {
            if walked > 0 {
                store.set_key_enabled(&key(77), true);
            }
        };
        let (claims, cancel) = (known([snapshot_id(2)]), CancellationToken::new());
        let found = survey(&store, listed, &claims, &LIMITS, LATE, &enable, course(&cancel)).await.unwrap();
        let is_over = !counted.is_over();
        counted.after(i64::MAX);
        executed(&store, &found).await;
        check(&open(objects, 3, 1 << 20).await, &snapshot_id(2), &model, &format!("deleted at call {n}")).await;
        if is_over {
            assert!(n > 5, "only {n} calls");
            break;
        }
    }
}
