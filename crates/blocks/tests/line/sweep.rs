//! Sweeps and repacks: over random histories, on full disks, and killed at every call to the store.

use crate::beside::Counted;
use crate::stage::{Book, Volume, content, noise, objects, open, request, run, runtime, snapshot_id};
use godwit_blocks::block::BlockSize;
use godwit_blocks::pack::PackSet;
use godwit_blocks::replicate::Request;
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Course, Limits, Listed, Plan, Swept, execute, survey};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::SnapshotId;
use godwit_model::time::{Millis, Timestamp};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub const PACK: usize = 100_000;
pub const BLOCK: BlockSize = BlockSize::MIN;
pub const SIZE: usize = 1_200_000;
pub const LIMITS: Limits =
    Limits { staging: Millis::DAY.times(7), repack_percent: 30, repack_floor: 30_000, repack_bytes: 1 << 30 };

/// Nothing is old.
pub const EARLY: Timestamp = Timestamp(0);
/// Everything is.
pub const LATE: Timestamp = Timestamp(i64::MAX / 2);

pub async fn look(store: &BlockStore, claims: &Claims, now: Timestamp) -> Result<Plan, Failure> {
    let listed = Listed::packs(store).await?;
    Ok(survey(
        store,
        listed,
        claims,
        &LIMITS,
        now,
        &|_, _| {},
        Course { cancel: &CancellationToken::new(), used: &|_| {} },
    )
    .await?
    .plan)
}

pub async fn sweep(store: &BlockStore, claims: &Claims, now: Timestamp) -> Result<Swept, Failure> {
    sweep_asking(store, || claims.clone(), now).await
}

/// A sweep beside work that goes on: claims are asked for when the packs are listed.
async fn sweep_asking(store: &BlockStore, ask: impl Fn() -> Claims, now: Timestamp) -> Result<Swept, Failure> {
    let listed = Listed::packs(store).await?;
    let claims = ask();
    let course = Course { cancel: &CancellationToken::new(), used: &|_| {} };
    let found = survey(store, listed, &claims, &LIMITS, now, &|_, _| {}, course).await?;
    execute(store, &found, &|_| {}, course).await
}

/// A sweep, and one behind it that removes what the first one emptied.
pub async fn sweep_twice(store: &BlockStore, claims: &Claims, now: Timestamp) -> Result<Swept, Failure> {
    sweep_twice_asking(store, || claims.clone(), now).await
}

pub async fn sweep_twice_asking(
    store: &BlockStore,
    ask: impl Fn() -> Claims,
    now: Timestamp,
) -> Result<Swept, Failure> {
    let first = sweep_asking(store, &ask, now).await?;
    let ask_again = || {
        let mut claims = ask();
        first.repacked.emptied.iter().for_each(|pack| claims.released.add(pack, 1));
        claims
    };
    sweep_asking(store, ask_again, now).await?;
    Ok(first)
}

pub fn known(ids: impl IntoIterator<Item = SnapshotId>) -> Claims {
    Claims { snapshots: ids.into_iter().collect(), ..Claims::default() }
}

pub fn ledger(book: &Book) -> PackSet {
    let mut packs = PackSet::default();
    book.begun.lock().unwrap().iter().for_each(|(pack, _)| packs.add(pack, 1));
    packs
}

pub async fn pack_bytes(objects_of: &Arc<dyn ObjectStore>) -> u64 {
    objects(&**objects_of).await.iter().filter(|(path, _)| path.as_ref().starts_with("packs/")).map(|(_, n)| n).sum()
}

pub async fn copied(from: &dyn ObjectStore) -> Arc<dyn ObjectStore> {
    let copy = InMemory::new();
    for (path, _) in objects(from).await {
        let bytes = from.get(&path).await.unwrap().bytes().await.unwrap();
        copy.put(&path, bytes.into()).await.unwrap();
    }
    Arc::new(copy)
}

/// The volume with three of four blocks changed.
pub fn mostly_changed(base: &[u8], seed: u64) -> Vec<u8> {
    let mut changed = base.to_vec();
    for (n, block) in changed.chunks_mut(4096).enumerate() {
        if n % 4 != 0 {
            let new = noise(seed * 1000 + n as u64, block.len());
            block.copy_from_slice(&new);
        }
    }
    changed
}

/// A store with two snapshots of a chain whose first is deleted: its packs are mostly dead, and not quite.
pub struct Scene {
    pub objects: Arc<dyn ObjectStore>,
    /// Content of snapshot 2.
    pub model: Vec<u8>,
    released: PackSet,
}

impl Scene {
    pub async fn new() -> Scene {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = open(objects.clone(), 1, PACK).await;
        let base = noise(1, SIZE);
        let first = request(1, SIZE as u64, BLOCK);
        run(&store, &first, &Arc::new(Volume::new(base.clone())), &Book::default()).await.unwrap();
        let model = mostly_changed(&base, 2);
        let second = Request { parent: Some(snapshot_id(1)), ..request(2, SIZE as u64, BLOCK) };
        run(&store, &second, &Arc::new(Volume::since(model.clone(), &base)), &Book::default()).await.unwrap();
        let released = snapshot::load(&store, &snapshot_id(1)).await.unwrap().unwrap().packs;
        snapshot::delete(&store, &snapshot_id(1)).await.unwrap();
        Scene { objects, model, released }
    }

    pub fn claims(&self) -> Claims {
        Claims { released: self.released.clone(), ..known([snapshot_id(2), snapshot_id(3)]) }
    }

    async fn store(&self, seed: u64) -> BlockStore {
        open(self.objects.clone(), seed, PACK).await
    }

    pub async fn copy(&self) -> Arc<dyn ObjectStore> {
        copied(&*self.objects).await
    }
}

pub async fn check(store: &BlockStore, id: &SnapshotId, model: &[u8], when: &str) {
    assert!(content(store, id).await.unwrap() == model, "{when}: {id} differs");
    let found = verify(store, id, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!(found.damaged, [], "{when}: {:?}", found.first_problem);
}

#[tokio::test]
async fn what_only_deleted_snapshots_named_goes_at_once_and_the_rest_is_repacked() {
    let scene = Scene::new().await;
    let store = scene.store(2).await;
    let before = pack_bytes(&scene.objects).await;
    let digest = snapshot::load(&store, &snapshot_id(2)).await.unwrap().unwrap().root_digest;
    let plan = look(&store, &scene.claims(), EARLY).await.unwrap();
    assert!(plan.repack_frees > plan.named.bytes / 4, "{plan:?}");
    assert_eq!(pack_bytes(&scene.objects).await, before, "a preview changes nothing");

    let mut claims = scene.claims();
    let mut n_sweeps = 0;
    loop {
        let swept = sweep(&store, &claims, EARLY).await.unwrap();
        assert!(n_sweeps > 0 || swept.repacked.bytes_moved > 0, "{swept:?}");
        assert_eq!(swept.left, 0, "{swept:?}");
        n_sweeps += 1;
        assert!(n_sweeps < 5, "it comes to rest");
        if swept.repacked.emptied.is_empty() {
            break;
        }
        swept.repacked.emptied.iter().for_each(|pack| claims.released.add(pack, 1));
    }
    assert!((2..5).contains(&n_sweeps), "it comes to rest after {n_sweeps} sweeps");
    let after = pack_bytes(&scene.objects).await;
    assert!(after < before - plan.repack_frees / 2, "{before} bytes became {after}");
    check(&store, &snapshot_id(2), &scene.model, "after a repack").await;
    assert_eq!(snapshot::load(&store, &snapshot_id(2)).await.unwrap().unwrap().root_digest, digest);
    let again = look(&store, &claims, EARLY).await.unwrap();
    assert!(again.repack.is_empty() && again.delete.is_empty() && again.waiting.packs == 0, "{again:?}");
}

#[tokio::test]
async fn what_nobody_names_waits_for_its_time_and_what_the_ledger_has_stays() {
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    let volume = Volume { fail_read: Some(1), ..Volume::new(noise(1, 3 << 20)) };
    let book = Book::default();
    run(&store, &request(1, 3 << 20, BLOCK), &Arc::new(volume), &book).await.unwrap_err();
    let n = book.durable.lock().unwrap().len() as u64;
    assert!(n > 2);

    let claimed = Claims { packs: ledger(&book), ..Claims::default() };
    let plan = look(&store, &claimed, LATE).await.unwrap();
    assert_eq!((plan.staged.packs, plan.delete.len()), (n, 0));
    let plan = look(&store, &Claims::default(), EARLY).await.unwrap();
    assert_eq!((plan.waiting.packs, plan.delete.len()), (n, 0));
    assert!(plan.waiting_until.is_some_and(|until| until > EARLY + LIMITS.staging));
    let swept = sweep(&store, &Claims::default(), LATE).await.unwrap();
    assert_eq!((swept.packs, pack_bytes(&objects_of).await), (n, 0));
}

#[tokio::test]
async fn a_stray_snapshot_goes_when_it_is_old_and_no_image_names_it() {
    use godwit_blocks::image::{self, ImageManifest, ImageVolume};
    let objects_of: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects_of.clone(), 1, PACK).await;
    for n in 1..3 {
        let volume = Arc::new(Volume::new(noise(n as u64, 300_000)));
        run(&store, &request(n, 300_000, BLOCK), &volume, &Book::default()).await.unwrap();
    }
    let image = ImageManifest {
        image: godwit_model::id::ImageId::from_bits(1),
        job: godwit_model::id::JobId::from_bits(1),
        run: request(1, 0, BLOCK).run,
        server_name: "one".to_owned(),
        volumes: vec![ImageVolume { device: "vda".to_owned(), snapshot: snapshot_id(1) }],
        created_at: EARLY,
    };
    image::register(&store, &image).await.unwrap();
    assert_eq!(sweep(&store, &Claims::default(), EARLY).await.unwrap().snapshots, 0, "they are young");
    assert_eq!(sweep(&store, &known([snapshot_id(2)]), LATE).await.unwrap().snapshots, 0, "it is known");
    assert_eq!(sweep(&store, &Claims::default(), LATE).await.unwrap().snapshots, 1);
    assert_eq!(snapshot::list(&store).await.unwrap(), [snapshot_id(1)], "an image names the other");
    sweep(&store, &Claims::default(), LATE).await.unwrap();
    check(&store, &snapshot_id(1), &noise(1, 300_000), "beside a stray").await;
    assert!(pack_bytes(&objects_of).await < 400_000, "and its packs follow");
}

#[tokio::test]
async fn while_a_snapshot_cannot_be_read_nothing_that_it_may_name_goes() {
    let scene = Scene::new().await;
    let store = scene.store(2).await;
    let root = scene.objects.get(&"snapshots/snap-00000000000000002".into()).await.unwrap().bytes().await.unwrap();
    let mut bad = root.to_vec();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    scene.objects.put(&"snapshots/snap-00000000000000002".into(), bad.into()).await.unwrap();
    let before = pack_bytes(&scene.objects).await;
    let plan = look(&store, &scene.claims(), LATE).await.unwrap();
    assert_eq!((plan.unreadable.len(), plan.doubtful.packs), (1, plan.all.packs), "{plan:?}");
    let swept = sweep(&store, &scene.claims(), LATE).await.unwrap();
    assert_eq!((swept.packs, pack_bytes(&scene.objects).await), (0, before));
}

/// A block that is damaged where it lies is not carried elsewhere as if it were whole: its pack stays, and says why.
#[tokio::test]
async fn a_damaged_block_is_not_moved_and_its_snapshot_stays_as_it_is() {
    let scene = Scene::new().await;
    let store = scene.store(2).await;
    let named = |path: &object_store::path::Path| path.filename().and_then(|name| name.parse().ok());
    for (path, length) in objects(&*scene.objects).await {
        if named(&path).is_some_and(|pack| scene.released.contains(&pack)) {
            let mut bad = scene.objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
            (1..10).for_each(|part| bad[length as usize / 10 * part] ^= 1);
            scene.objects.put(&path, bad.into()).await.unwrap();
        }
    }
    let verified = || async {
        verify(&store, &snapshot_id(2), Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap()
    };
    let before = verified().await;
    let swept = sweep_twice(&store, &scene.claims(), LATE).await.unwrap();
    let after = verified().await;
    assert!(!before.damaged.is_empty());
    assert_eq!(after.damaged, before.damaged, "neither better nor worse");
    assert!(swept.left > 0 && swept.repacked.emptied.is_empty(), "{swept:?}");
    assert!(swept.problem.unwrap().contains("StoreCorrupt"));
}

/// Killed at every call to the store, a sweep leaves every snapshot whole, and the next ones come to the same end.
#[tokio::test]
async fn a_sweep_that_is_killed_anywhere_harms_nothing_and_is_made_up_for() {
    let scene = Scene::new().await;
    let mut ends = Vec::new();
    for n in 3.. {
        let objects_of = scene.copy().await;
        let dying = Counted::dying(objects_of.clone(), n);
        let is_killed = match sweep_twice(&open(dying.clone(), 5, PACK).await, &scene.claims(), EARLY).await {
            Ok(swept) => swept.left > 0 || dying.is_over(),
            Err(_) => true,
        };
        let store = open(objects_of.clone(), 6, PACK).await;
        let when = format!("killed at call {n}");
        check(&store, &snapshot_id(2), &scene.model, &when).await;
        // What was put and is named by nothing waits until it is old.
        for _ in 0..3 {
            sweep_twice(&store, &scene.claims(), LATE).await.unwrap();
        }
        check(&store, &snapshot_id(2), &scene.model, &when).await;
        ends.push(pack_bytes(&objects_of).await);
        if !is_killed {
            assert!(n > 20, "nothing was killed");
            break;
        }
    }
    let (least, most) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(most - least < 20_000, "killed or not, it takes as much room in the end: {ends:?}");
}

#[tokio::test]
async fn a_full_disk_does_not_keep_a_sweep_from_deleting() {
    use crate::faults::{Fault, Faulty};
    let scene = Scene::new().await;
    let store = scene.store(2).await;
    snapshot::delete(&store, &snapshot_id(2)).await.unwrap();
    let third = request(3, SIZE as u64, BLOCK);
    run(&store, &third, &Arc::new(Volume::new(scene.model.clone())), &Book::default()).await.unwrap();
    let full = open(Faulty::after_puts(scene.objects.clone(), 0, Fault::Full), 3, PACK).await;
    let swept = sweep(&full, &scene.claims(), LATE).await.unwrap();
    assert!(swept.packs > 5 && swept.left == 0, "{swept:?}");
    check(&store, &snapshot_id(3), &scene.model, "after a sweep of a full disk").await;
}

/// A volume with one block of data below each of forty leaves.
fn thin() -> Vec<u8> {
    const LEAF: usize = 1024 * 4096;
    let mut volume = vec![0; 40 * LEAF];
    for (n, leaf) in volume.chunks_mut(LEAF).enumerate() {
        leaf[..4096].copy_from_slice(&noise(n as u64 + 1, 4096));
    }
    volume
}

#[tokio::test]
async fn a_look_reads_pages_together_and_none_twice() {
    let counted = Counted::doing(Arc::new(InMemory::new()), i64::MAX, async || {});
    let store = open(counted.clone(), 1, PACK).await;
    let base = thin();
    let size = base.len() as u64;
    run(&store, &request(1, size, BLOCK), &Arc::new(Volume::new(base.clone())), &Book::default()).await.unwrap();
    let mut changed = base.clone();
    for leaf in (0..40).step_by(3) {
        changed[leaf * 1024 * 4096 + 8192] = 1;
    }
    let second = Request { parent: Some(snapshot_id(1)), ..request(2, size, BLOCK) };
    run(&store, &second, &Arc::new(Volume::since(changed, &base)), &Book::default()).await.unwrap();
    let calls_of = async |snapshots: &[u128]| {
        let before = counted.left();
        look(&store, &known(snapshots.iter().map(|n| snapshot_id(*n))), EARLY).await.unwrap();
        before - counted.left()
    };
    // The second one's own: fourteen leaves and the root.
    let both = calls_of(&[1, 2]).await;
    assert!(both <= 16, "{both} calls for two manifests, two roots and 54 leaves");
    snapshot::delete(&store, &snapshot_id(2)).await.unwrap();
    let one = calls_of(&[1]).await;
    assert_eq!(both - one, 3, "the second one's manifest, its root, and its leaves together");
}

#[tokio::test]
async fn a_look_is_stopped_within_a_snapshot() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, PACK).await;
    let volume = thin();
    let request = request(1, volume.len() as u64, BLOCK);
    run(&store, &request, &Arc::new(Volume::new(volume)), &Book::default()).await.unwrap();
    let look_with = async |store: &BlockStore, cancel: &CancellationToken| {
        let course = Course { cancel, used: &|_| {} };
        let listed = Listed::packs(store).await.unwrap();
        survey(store, listed, &known([snapshot_id(1)]), &LIMITS, EARLY, &|_, _| {}, course).await.map(drop)
    };
    let cancel = CancellationToken::new();
    let counted = Counted::doing(objects.clone(), i64::MAX, async || {});
    let store = open(counted.clone(), 2, PACK).await;
    let before = counted.left();
    look_with(&store, &cancel).await.unwrap();
    let calls = before - counted.left();

    // The last call but one reads leaves, and so would the last.
    let stop = cancel.clone();
    let counted = Counted::doing(objects.clone(), i64::MAX, move || async move { stop.cancel() });
    let store = open(counted.clone(), 3, PACK).await;
    counted.after(calls - 2);
    assert_eq!(look_with(&store, &cancel).await.unwrap_err().code, Code::Cancelled);
    assert_eq!(counted.left(), -1, "no call after the stop");
}

#[derive(Clone, Debug)]
enum Step {
    Replicate { job: usize, seed: u64, quarters: u8 },
    DeleteOldest { job: usize },
    Sweep { late: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..2, 0u64..1000, 1u8..4).prop_map(|(job, seed, quarters)| Step::Replicate { job, seed, quarters }),
        2 => (0usize..2).prop_map(|job| Step::DeleteOldest { job }),
        2 => any::<bool>().prop_map(|late| Step::Sweep { late }),
    ]
}

/// A store and what should be in it.
struct History {
    objects: Arc<dyn ObjectStore>,
    store: BlockStore,
    /// Of each job: its snapshots, oldest first, and their content.
    jobs: [BTreeMap<u128, Vec<u8>>; 2],
    released: PackSet,
    n: u128,
}

impl History {
    async fn replicate(&mut self, job: usize, seed: u64, quarters: u8) {
        self.n += 1;
        let last = self.jobs[job].last_key_value().map(|(n, content)| (*n, content.clone()));
        let mut content = last.as_ref().map_or_else(|| noise(seed, 400_000), |(_, content)| content.clone());
        for (n, block) in content.chunks_mut(4096).enumerate() {
            if n % 4 < usize::from(quarters) {
                let new = noise(seed * 7919 + n as u64, block.len());
                block.copy_from_slice(&new);
            }
        }
        let volume = match &last {
            Some((_, base)) => Volume::since(content.clone(), base),
            None => Volume::new(content.clone()),
        };
        let request =
            Request { parent: last.map(|(n, _)| snapshot_id(n)), ..request(self.n, content.len() as u64, BLOCK) };
        run(&self.store, &request, &Arc::new(volume), &Book::default()).await.unwrap();
        self.jobs[job].insert(self.n, content);
    }

    async fn delete_oldest(&mut self, job: usize) {
        let Some((n, _)) = self.jobs[job].pop_first() else { return };
        let packs = snapshot::load(&self.store, &snapshot_id(n)).await.unwrap().unwrap().packs;
        packs.ranges().for_each(|(first, count)| self.released.add(first, count));
        snapshot::delete(&self.store, &snapshot_id(n)).await.unwrap();
    }

    async fn sweep(&mut self, late: bool) {
        let ids = self.jobs.iter().flat_map(BTreeMap::keys).map(|n| snapshot_id(*n));
        let claims = Claims { released: self.released.clone(), ..known(ids) };
        let swept = sweep(&self.store, &claims, if late { LATE } else { EARLY }).await.unwrap();
        assert_eq!(swept.left, 0, "{swept:?}");
        swept.repacked.emptied.iter().for_each(|pack| self.released.add(pack, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn histories_of_replications_deletions_and_sweeps(steps in proptest::collection::vec(step(), 4..16)) {
        runtime().block_on(async {
            let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let store = open(objects.clone(), 1, PACK).await;
            let mut history = History { objects, store, jobs: Default::default(), released: PackSet::default(), n: 0 };
            for step in &steps {
                match *step {
                    Step::Replicate { job, seed, quarters } => history.replicate(job, seed, quarters).await,
                    Step::DeleteOldest { job } => history.delete_oldest(job).await,
                    Step::Sweep { late } => history.sweep(late).await,
                }
                for (n, model) in history.jobs.iter().flatten() {
                    check(&history.store, &snapshot_id(*n), model, &format!("{step:?}")).await;
                }
            }
            // Swept until nothing is left to do, at most a third of what is in the store is dead.
            for _ in 0..4 {
                history.sweep(false).await;
            }
            let live: u64 = history.jobs.iter().flatten().map(|(_, model)| model.len() as u64).sum();
            assert!(live > 0 || pack_bytes(&history.objects).await == 0, "everything was deleted and something is left");
            for job in 0..2 {
                while !history.jobs[job].is_empty() {
                    history.delete_oldest(job).await;
                }
            }
            history.sweep(false).await;
            assert_eq!(pack_bytes(&history.objects).await, 0);
        });
    }
}
