//! A sweep beside everything else that works on the store, at every point of it.

use crate::beside::Counted;
use crate::stage::{Book, Volume, objects, open, request, run, snapshot_id};
use crate::sweep::{BLOCK, EARLY, LATE, PACK, SIZE, Scene, check, ledger, mostly_changed, sweep, sweep_twice_asking};
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Swept};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::Code;
use godwit_model::id::PackId;
use godwit_model::time::Timestamp;
use std::sync::{Arc, Mutex, OnceLock};
use tokio_util::sync::CancellationToken;

/// What goes on while a sweep passes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    FirstCopy,
    Incremental,
    /// The sweep asked for claims before the run began.
    IncrementalUnseen,
    Resume,
    Verify,
    Read,
    Delete,
    /// What a job that is deleted leaves: the packs of its failed run are void.
    DeleteJob,
}

/// Lets a whole sweep, repack included, go by at the nth call of the work to the store, for every n.
async fn beside_a_sweep(work: Work, now: Timestamp) {
    let scene = Scene::new().await;
    let next = mostly_changed(&scene.model, 3);
    let mut happened = 0;
    for n in 0.. {
        let objects_of = scene.copy().await;
        let book = Arc::new(Book::default());
        let mut third = request(3, SIZE as u64, BLOCK);
        let mut volume = Volume::new(next.clone());
        if matches!(work, Work::Incremental | Work::IncrementalUnseen) {
            third.parent = Some(snapshot_id(2));
            volume = Volume::since(next.clone(), &scene.model);
        }
        if matches!(work, Work::Resume | Work::DeleteJob) {
            let broken = Volume { fail_read: Some(1), ..Volume::new(next.clone()) };
            let store = open(objects_of.clone(), 7, PACK).await;
            run(&store, &third, &Arc::new(broken), &book).await.unwrap_err();
            third.staged = book.staged(&store, true).await;
            assert!(!third.staged.is_empty());
        }
        let mut claims = scene.claims();
        if work == Work::Incremental {
            claims.in_use = [snapshot_id(2), snapshot_id(3)].into();
        }
        let told: Arc<Mutex<Option<Swept>>> = Arc::default();
        let hook = {
            let (objects_of, book, told) = (objects_of.clone(), book.clone(), told.clone());
            move || async move {
                let store = open(objects_of, 100, PACK).await;
                let ask = || match work {
                    Work::DeleteJob => claims.clone(),
                    _ => Claims { packs: ledger(&book), ..claims.clone() },
                };
                *told.lock().unwrap() = Some(sweep_twice_asking(&store, ask, now).await.unwrap());
            }
        };
        // The first calls open the store.
        let counted = Counted::doing(objects_of.clone(), n + 1, hook);
        let store = open(counted.clone(), 8, PACK).await;
        let volume = Arc::new(volume);
        let when = format!("{work:?}, swept at call {n}");
        match work {
            Work::FirstCopy | Work::Incremental | Work::IncrementalUnseen | Work::Resume => {
                let mut outcome = run(&store, &third, &volume, &book).await;
                if outcome.as_ref().is_err_and(|failure| failure.code == Code::StoreUnavailable) {
                    assert_eq!(work, Work::IncrementalUnseen, "{when}");
                    assert_eq!(snapshot::load(&store, &third.snapshot).await.unwrap(), None, "{when}");
                    third.staged = book.staged(&store, true).await;
                    outcome = run(&store, &third, &volume, &book).await;
                }
                outcome.unwrap();
                check(&store, &snapshot_id(3), &next, &when).await;
            }
            Work::Verify => check_only_verify(&store, &when).await,
            Work::Read => {
                let reader = SnapshotReader::open(&store, &snapshot_id(2)).await.unwrap();
                let mut bytes = Vec::new();
                for piece in Extent::between(0, SIZE as u64).pieces(200_000) {
                    assert!(!reader.data_extents(piece.offset, 10).await.unwrap().extents.is_empty(), "{when}");
                    bytes.extend_from_slice(&reader.read(piece).await.unwrap());
                }
                assert!(bytes == scene.model, "{when}");
            }
            Work::Delete => {
                snapshot::load(&store, &snapshot_id(2)).await.unwrap();
                snapshot::delete(&store, &snapshot_id(2)).await.unwrap();
                snapshot::list(&store).await.unwrap();
            }
            Work::DeleteJob => {
                let void: Vec<PackId> = book.begun.lock().unwrap().iter().map(|(pack, _)| pack.clone()).collect();
                store.discard_packs(&void).await.unwrap();
                let left = objects(&*objects_of).await;
                let is_void = |name: &str| void.iter().any(|pack| name.ends_with(pack.as_str()));
                assert!(!left.iter().any(|(path, _)| is_void(path.as_ref())), "{when}: {left:?}");
            }
        }
        let store = open(objects_of.clone(), 9, PACK).await;
        if work == Work::Delete {
            assert_eq!(snapshot::load(&store, &snapshot_id(2)).await.unwrap(), None, "{when}: it is back");
        } else {
            check(&store, &snapshot_id(2), &scene.model, &when).await;
        }
        let over = told.lock().unwrap().take();
        let Some(swept) = over else { break };
        happened += 1;
        assert_eq!(swept.left, 0, "{when}: {swept:?}");
        if work != Work::Delete {
            assert_eq!(swept.repacked.snapshots > 0, work != Work::Incremental, "{when}: {swept:?}");
        }
    }
    assert!(happened >= 2, "{work:?}: no sweep went by");
}

async fn check_only_verify(store: &BlockStore, when: &str) {
    let found = verify(store, &snapshot_id(2), Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!(found.damaged, [], "{when}: {:?}", found.first_problem);
}

#[tokio::test]
async fn a_first_copy_beside_a_sweep() {
    beside_a_sweep(Work::FirstCopy, LATE).await;
}

#[tokio::test]
async fn an_incremental_copy_beside_a_sweep() {
    beside_a_sweep(Work::Incremental, LATE).await;
}

#[tokio::test]
async fn an_incremental_copy_whose_parent_is_repacked() {
    beside_a_sweep(Work::IncrementalUnseen, LATE).await;
}

#[tokio::test]
async fn a_resumed_copy_beside_a_sweep() {
    beside_a_sweep(Work::Resume, LATE).await;
}

#[tokio::test]
async fn a_verification_beside_a_sweep() {
    beside_a_sweep(Work::Verify, LATE).await;
}

#[tokio::test]
async fn a_reader_beside_a_sweep() {
    beside_a_sweep(Work::Read, LATE).await;
}

#[tokio::test]
async fn a_deletion_beside_a_sweep() {
    beside_a_sweep(Work::Delete, EARLY).await;
}

#[tokio::test]
async fn the_deletion_of_a_job_beside_a_sweep() {
    beside_a_sweep(Work::DeleteJob, LATE).await;
}

/// A manifest that is deleted while a repack is about to replace it does not come back.
#[tokio::test]
async fn a_snapshot_that_is_deleted_during_a_repack_stays_deleted() {
    let scene = Scene::new().await;
    let mut happened = 0;
    for n in 0.. {
        let objects_of = scene.copy().await;
        let same: Arc<OnceLock<BlockStore>> = Arc::default();
        let deletion: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>> = Arc::default();
        let hook = {
            let (same, deletion) = (same.clone(), deletion.clone());
            move || async move {
                let Some(store) = same.get().cloned() else { return };
                let work = async move { snapshot::delete(&store, &snapshot_id(2)).await.unwrap() };
                *deletion.lock().unwrap() = Some(tokio::spawn(work));
                // As far as it comes: the repack may be holding the turn at manifests.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let counted = Counted::doing(objects_of.clone(), n + 1, hook);
        let store = open(counted.clone(), 8, PACK).await;
        let _ = same.set(store.clone());
        let swept = sweep(&store, &scene.claims(), EARLY).await.unwrap();
        let deletion = deletion.lock().unwrap().take();
        let Some(deletion) = deletion else {
            // The first calls are those that open the store.
            if happened == 0 && n < 10 {
                continue;
            }
            break;
        };
        deletion.await.unwrap();
        happened += 1;
        assert_eq!(snapshot::load(&store, &snapshot_id(2)).await.unwrap(), None, "deleted at call {n}: {swept:?}");
    }
    assert!(happened > 20, "only {happened} calls");
}
