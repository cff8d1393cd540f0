//! Interrupted at any put, the next attempt ends with the right content and sends nothing twice.

use crate::faults::{Fault, Faulty};
use crate::stage::{Book, Volume, content, noise, objects, open, request, run};
use godwit_blocks::block::BlockSize;
use godwit_blocks::replicate::{Replicated, Request, Staged, replicate};
use godwit_blocks::snapshot;
use godwit_blocks::source::VolumeReader;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::Code;
use godwit_model::figures::VolumeFigures;
use godwit_model::id::{PackId, SnapshotId};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

const PACK: usize = 150_000;
const BLOCK: BlockSize = BlockSize::MIN;

/// Six megabytes over two leaves, with holes and text.
fn disk() -> Vec<u8> {
    let mut disk = noise(1, 6_000_000);
    disk[700_000..2_000_000].fill(0);
    disk[4_100_000..4_400_000].fill(b'x');
    disk
}

/// A snapshot to be incremental to, in a store that works.
/// Bytes of blocks that are equal to an earlier one, and not zeros.
fn repeated(model: &[u8]) -> u64 {
    let mut seen = HashSet::new();
    let blocks = model.chunks(BLOCK.bytes() as usize).filter(|block| block.iter().any(|b| *b != 0));
    blocks.filter(|block| !seen.insert(*block)).map(|block| block.len() as u64).sum()
}

async fn with_parent(objects: &Arc<dyn ObjectStore>) -> (Vec<u8>, SnapshotId) {
    let store = open(objects.clone(), 1, PACK).await;
    let base = disk();
    let request = request(1, base.len() as u64, BLOCK);
    run(&store, &request, &Arc::new(Volume::new(base.clone())), &Book::default()).await.unwrap();
    (base, request.snapshot)
}

async fn check(objects: &Arc<dyn ObjectStore>, request: &Request, done: &Replicated, model: &[u8]) {
    let store = open(objects.clone(), 999, PACK).await;
    assert!(content(&store, &request.snapshot).await.unwrap() == model);
    let verified =
        verify(&store, &request.snapshot, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!((verified.damaged, verified.root_digest), (Vec::new(), done.root_digest));
    let own = verify(&store, &request.snapshot, Scope::OwnBlocks, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert!(own.bytes_verified <= verified.bytes_verified && own.damaged.is_empty());
}

/// Crashes at the `n`th put for every `n`, then goes on, at the same point in time or at another one.
async fn crash_everywhere(on_disk: bool, fault: Fault, incremental: bool, same_point: bool) {
    for n in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let objects: Arc<dyn ObjectStore> = match on_disk {
            true => Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()),
            false => Arc::new(InMemory::new()),
        };
        let mut first = request(2, 6_000_000, BLOCK);
        let mut model = disk();
        let mut base = None;
        if incremental {
            let (before, parent) = with_parent(&objects).await;
            first.parent = Some(parent);
            for at in [0, 100_000, 1_000_000, 2_500_000, 5_000_000] {
                model[at..at + 150_000].copy_from_slice(&noise(at as u64 + 7, 150_000));
            }
            base = Some(before);
        } else {
            open(objects.clone(), 1, PACK).await;
        }
        let volume = |model: &[u8]| {
            Arc::new(match &base {
                Some(base) => Volume::since(model.to_vec(), base),
                None => Volume::new(model.to_vec()),
            })
        };
        let book = Book::default();
        let dying = open(Faulty::after_puts(objects.clone(), n, fault), 100 + n as u64, PACK).await;
        let outcome = run(&dying, &first, &volume(&model), &book).await;
        let store = open(objects.clone(), 5000 + n as u64, PACK).await;
        if outcome.is_ok() {
            assert!(n > 5, "only {n} puts to crash at");
            return;
        }
        if fault != Fault::Ambiguous {
            assert_eq!(
                snapshot::load(&store, &first.snapshot).await.unwrap(),
                None,
                "half-made things are not visible"
            );
        }

        let staged = book.staged(&store, same_point).await;
        let staged_bytes = book.bytes_of(&staged);
        let mut second = Request { staged: staged.clone(), ..first.clone() };
        if !same_point {
            // The source is at another point in time now, and the run takes another snapshot id for it. Half of what was
            // staged is out of date.
            second.snapshot = SnapshotId::from_bits(3);
            model[..2_500_000].copy_from_slice(&noise(77, 2_500_000));
        }
        let reference = {
            let clean: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            if let Some(base) = &base {
                let store = open(clean.clone(), 1, PACK).await;
                let parent = request(1, base.len() as u64, BLOCK);
                run(&store, &parent, &Arc::new(Volume::new(base.clone())), &Book::default()).await.unwrap();
            }
            let volume = volume(&model);
            let done = run(&open(clean, 1, PACK).await, &first, &volume, &Book::default()).await.unwrap();
            (done.figures, volume.bytes_read())
        };
        let source = volume(&model);
        second.figures = VolumeFigures { bytes_sent: 11, bytes_read: 5, ..VolumeFigures::default() };
        let done = run(&store, &second, &source, &Book::default()).await.unwrap();
        assert_eq!(done.notes, Vec::<String>::new());
        check(&objects, &second, &done, &model).await;

        let (clean, clean_read) = reference;
        if same_point {
            // Pages are sent again, blocks are not.
            let pages = 90_000;
            let sent = done.figures.bytes_sent - 11;
            assert!(
                sent <= clean.bytes_sent.saturating_sub(staged_bytes) + pages,
                "{n}: {sent} {clean:?} {staged_bytes}"
            );
            // A block that equals an earlier one is in no pack under its own number: it is read to find that out.
            let read = source.bytes_read();
            assert!(
                read <= clean_read.saturating_sub(staged_bytes.saturating_sub(pages)) + repeated(&model),
                "{n}: read {read} of {clean_read}"
            );
            assert_eq!(done.figures.bytes_read, read + 5);
            assert!(
                done.unused.len() <= 1,
                "all but the last one, which may hold pages only, hold blocks of this point"
            );
            assert!(done.figures.bytes_stored >= staged_bytes);
        } else {
            assert_eq!(source.bytes_read(), clean_read, "another point in time is read and compared");
            assert!(done.figures.bytes_sent - 11 <= clean.bytes_sent + 3000);
        }

        // Once more: nothing happens.
        let idle = volume(&model);
        let again = run(&store, &second, &idle, &Book::default()).await.unwrap();
        assert_eq!((again.root_digest, idle.bytes_read()), (done.root_digest, 0));
        assert_eq!(again.figures.bytes_stored, done.figures.bytes_stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_copy_survives_a_crash_at_any_put() {
    crash_everywhere(false, Fault::Lost, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_copy_survives_puts_of_unknown_outcome() {
    crash_everywhere(true, Fault::Ambiguous, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incremental_run_survives_a_crash_at_any_put() {
    crash_everywhere(true, Fault::Lost, true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_of_another_point_in_time_are_compared() {
    crash_everywhere(false, Fault::Lost, false, false).await;
    crash_everywhere(false, Fault::Ambiguous, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_often_still_gets_done() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 16 << 20).await;
    let model = disk();
    let mut request = request(2, model.len() as u64, BLOCK);
    let book = Book::default();
    let mut attempts = 0;
    let done = loop {
        attempts += 1;
        assert!(attempts < 20, "no progress");
        let volume = Arc::new(Volume { fail_read: Some(3), ..Volume::new(model.clone()) });
        match run(&store, &request, &volume, &book).await {
            Ok(done) => break done,
            Err(failure) => assert_eq!(failure.code, Code::SourceRead),
        }
        request.staged = book.staged(&store, true).await;
    };
    check(&objects, &request, &done, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staged_packs_that_are_gone_or_damaged_are_read_from_the_source_again() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let model = disk();
    let mut request = request(2, model.len() as u64, BLOCK);
    let book = Book::default();
    let dying = open(Faulty::after_puts(objects.clone(), 9, Fault::Lost), 3, PACK).await;
    run(&dying, &request, &Arc::new(Volume::new(model.clone())), &book).await.unwrap_err();
    let store = open(objects.clone(), 4, PACK).await;
    request.staged = book.staged(&store, true).await;
    request.staged.push(Staged { pack: PackId::from_bits(123), same_point: true });
    request.staged.push(request.staged[0].clone());
    let packs: Vec<_> =
        crate::stage::objects(&*objects).await.into_iter().filter(|(p, _)| p.as_ref().starts_with("packs")).collect();
    // One is cut, one has a flipped bit in its footer, one in its index.
    for (n, (path, size)) in packs.iter().take(3).enumerate() {
        let mut bytes =
            object_store::ObjectStoreExt::get(&objects, path).await.unwrap().bytes().await.unwrap().to_vec();
        match n {
            0 => bytes.truncate(*size as usize / 2),
            1 => bytes[*size as usize - 60] ^= 1,
            _ => bytes[*size as usize - 200] ^= 1,
        }
        object_store::ObjectStoreExt::put(&objects, path, bytes.into()).await.unwrap();
    }
    let done = run(&store, &request, &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
    assert_eq!(done.notes.len(), 4, "{:?}", done.notes);
    assert!(done.notes.iter().all(|note| note.contains("is not used")));
    assert_eq!(done.unused.len(), 5, "three damaged, one missing, named twice: the first is one of the damaged or not");
    check(&objects, &request, &done, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_the_run_soon_and_what_was_sent_is_on_record() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, PACK).await;
    let model = disk();
    let request = request(2, model.len() as u64, BLOCK);
    let (book, cancel) = (Book::default(), CancellationToken::new());
    let seen = Mutex::new(Vec::new());
    let volume: Arc<dyn VolumeReader> = Arc::new(Volume::new(model.clone()));
    let progress = |figures: VolumeFigures| {
        seen.lock().unwrap().push(figures);
        if figures.bytes_stored > 0 {
            cancel.cancel();
        }
    };
    let failure = replicate(&store, &request, volume, &book, &progress, &cancel).await.unwrap_err();
    assert_eq!(failure.code, Code::Cancelled);
    assert_eq!(snapshot::load(&store, &request.snapshot).await.unwrap(), None);
    let n_packs = objects_below(&*objects, "packs").await;
    assert_eq!(n_packs, book.durable.lock().unwrap().len(), "nothing appears that is not recorded");
    let seen = seen.into_inner().unwrap();
    assert!(seen.windows(2).all(|w| w[0].bytes_done <= w[1].bytes_done && w[0].bytes_sent <= w[1].bytes_sent));

    let begun: Vec<PackId> = book.begun.lock().unwrap().iter().map(|(pack, _)| pack.clone()).collect();
    store.discard_packs(&begun).await.unwrap();
    store.discard_packs(&[PackId::from_bits(5)]).await.unwrap();
    assert_eq!(objects_below(&*objects, "packs").await, 0);
}

async fn objects_below(store: &dyn ObjectStore, folder: &str) -> usize {
    objects(store).await.iter().filter(|(path, _)| path.as_ref().starts_with(folder)).count()
}
