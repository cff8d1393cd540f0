//! Bits that change in the store, objects that are cut or gone: reported as corrupt, never wrong bytes, never a panic.

use crate::stage::{Book, Volume, content, noise, objects, open, request, run};
use godwit_blocks::block::BlockSize;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::pack::pack_is_complete;
use godwit_blocks::replicate::replicate;
use godwit_blocks::source::{ExtentKind, SourceExtent, VolumeReader};
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, Verified, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::PackId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const BLOCK: BlockSize = BlockSize::MIN;

async fn verify_all(store: &BlockStore, n: u128) -> Result<Verified, Failure> {
    let snapshot = crate::stage::snapshot_id(n);
    verify(store, &snapshot, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await
}

/// Two generations of a volume over two leaves, in small packs.
async fn fill(objects: &Arc<dyn ObjectStore>) -> (Vec<u8>, BlockStore) {
    let store = open(objects.clone(), 1, 60_000).await;
    let mut model = vec![0; 4_500_000];
    for at in [0, 40_000, 2_000_000, 4_300_000] {
        model[at..at + 20_000].copy_from_slice(&noise(at as u64, 20_000));
        model[at + 20_000..at + 30_000].fill(b't');
    }
    let first = request(1, model.len() as u64, BLOCK);
    run(&store, &first, &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
    let base = model.clone();
    model[2_000_000..2_005_000].fill(9);
    model[4_400_000..4_410_000].copy_from_slice(&noise(3, 10_000));
    let mut second = request(2, model.len() as u64, BLOCK);
    second.parent = Some(first.snapshot);
    run(&store, &second, &Arc::new(Volume::since(model.clone(), &base)), &Book::default()).await.unwrap();
    (model, store)
}

/// Whatever was done to an object: either everything is as before, or it is told.
async fn judge(objects: &Arc<dyn ObjectStore>, path: &Path, model: &[u8], what: &str) {
    let opened = BlockStore::open(objects.clone(), &MasterKey::new([7; 32]), crate::stage::entropy(50)).await;
    let store = match opened {
        Ok(store) => store,
        Err(failure) => {
            assert!(path.as_ref().starts_with("keys/"), "{what}: {failure}");
            assert_eq!(failure.code, Code::StoreCorrupt, "{what}");
            return;
        }
    };
    let read = content(&store, &crate::stage::snapshot_id(2)).await;
    let verified = verify_all(&store, 2).await;
    match (&read, &verified) {
        (Ok(bytes), Ok(verified)) => {
            assert!(bytes == model, "{what}: wrong bytes");
            assert!(verified.damaged.is_empty(), "{what}: {verified:?}");
        }
        (Err(failure), Ok(verified)) => {
            assert_eq!(failure.code, Code::StoreCorrupt, "{what}");
            assert!(failure.evidence.contains(path.as_ref()), "{what}: {failure}");
            assert!(!verified.damaged.is_empty() && verified.first_problem.is_some(), "{what}");
        }
        (Err(read), Err(verified)) => {
            assert!(path.as_ref().starts_with("snapshots/"), "{what}: {read} {verified}");
            assert_eq!((read.code, verified.code), (Code::StoreCorrupt, Code::StoreCorrupt), "{what}");
        }
        (Ok(_), Err(failure)) => panic!("{what}: reads but does not verify: {failure}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flipped_bit_goes_unnoticed_where_it_matters() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (model, _) = fill(&store).await;
    let mut n_objects = 0;
    for (path, size) in objects(&*store).await {
        n_objects += 1;
        let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
        // Every byte of small objects; of packs: all of header and footer, and samples of the rest.
        let step = if size < 1000 { 1 } else { 701 };
        let edges = (0..48).chain(size as usize - 90..size as usize);
        for at in edges.chain((0..size as usize).step_by(step)).filter(|at| *at < size as usize) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            store.put(&path, bytes.into()).await.unwrap();
            judge(&store, &path, &model, &format!("{path} byte {at} of {size}")).await;
        }
        for cut in [0, 1, 39, size as usize / 3, size as usize - 1] {
            store.put(&path, whole.slice(..cut).into()).await.unwrap();
            judge(&store, &path, &model, &format!("{path} cut at {cut} of {size}")).await;
        }
        store.put(&path, whole.into()).await.unwrap();
    }
    assert!(n_objects >= 6, "only {n_objects} objects");
    judge(&store, &Path::from("none"), &model, "untouched").await;
}

#[tokio::test]
async fn records_and_pages_that_change_are_damage_exactly_where_they_are() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 1 << 20).await;
    let mut model = noise(5, 300_000);
    model[100_000..200_000].fill(0);
    let request = request(1, model.len() as u64, BLOCK);
    run(&store, &request, &Arc::new(Volume::new(model)), &Book::default()).await.unwrap();
    let (path, _) =
        crate::stage::objects(&*objects).await.into_iter().find(|(p, _)| p.as_ref().starts_with("packs")).unwrap();
    let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
    // The first record lies behind the header. Which block it is depends on who was first: but it is one block.
    let mut bytes = whole.to_vec();
    bytes[45] ^= 1;
    objects.put(&path, bytes.into()).await.unwrap();
    let verified = verify_all(&store, 1).await.unwrap();
    assert_eq!(verified.damaged.len(), 1);
    assert_eq!((verified.damaged[0].offset % 4096, verified.damaged[0].length), (0, 4096));
    assert!(verified.first_problem.as_ref().unwrap().contains(path.as_ref()));
    let manifest = godwit_blocks::snapshot::load(&store, &request.snapshot).await.unwrap().unwrap();
    assert_ne!(verified.root_digest, manifest.root_digest);

    objects.delete(&path).await.unwrap();
    let verified = verify_all(&store, 1).await.unwrap();
    assert_eq!(verified.damaged, [Extent::between(0, 300_000)], "without its page all of the volume is lost");
}

#[tokio::test]
async fn framing_that_changes_makes_a_pack_incomplete() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (_, store) = fill(&objects).await;
    let (path, size) =
        crate::stage::objects(&*objects).await.into_iter().find(|(p, _)| p.as_ref().starts_with("packs")).unwrap();
    let pack: PackId = path.filename().unwrap().parse().unwrap();
    let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(pack_is_complete(&store, &pack).await.unwrap());
    for at in (0..40).chain(size as usize - 80..size as usize) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x80;
        objects.put(&path, bytes.into()).await.unwrap();
        assert!(!pack_is_complete(&store, &pack).await.unwrap(), "byte {at}");
    }
    for cut in [0, 20, 100, size as usize - 1] {
        objects.put(&path, whole.slice(..cut).into()).await.unwrap();
        assert!(!pack_is_complete(&store, &pack).await.unwrap(), "cut at {cut}");
    }
    objects.delete(&path).await.unwrap();
    assert!(!pack_is_complete(&store, &pack).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_parent_is_read_from_the_source_again() {
    for lose_manifest in [false, true] {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (base, store) = fill(&objects).await;
        let mut model = base.clone();
        (model[1_000_000], model[4_450_000]) = (1, 1);
        for (path, _) in crate::stage::objects(&*objects).await {
            if path.as_ref().starts_with(if lose_manifest { "snapshots" } else { "packs" }) {
                objects.delete(&path).await.unwrap();
            }
        }
        let mut request = request(3, model.len() as u64, BLOCK);
        request.parent = Some(crate::stage::snapshot_id(2));
        let volume = Arc::new(Volume::since(model.clone(), &base));
        let done = run(&store, &request, &volume, &Book::default()).await.unwrap();
        assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
        assert!(content(&store, &request.snapshot).await.unwrap() == model);
        assert_eq!(verify_all(&store, 3).await.unwrap().damaged, []);
    }
}

/// A source that breaks its contract.
struct Liar {
    gap: bool,
}

#[async_trait::async_trait]
impl VolumeReader for Liar {
    async fn extents(&self, window: Extent) -> Result<Vec<SourceExtent>, Failure> {
        let length = if self.gap { window.length - 1 } else { window.length };
        Ok(vec![SourceExtent { extent: Extent { length, ..window }, kind: ExtentKind::Data }])
    }

    async fn zeros(&self, _: Extent) -> Result<Vec<Extent>, Failure> {
        Ok(Vec::new())
    }

    async fn read(&self, extent: Extent) -> Result<bytes::Bytes, Failure> {
        Ok(vec![1; extent.length as usize - 1].into())
    }
}

#[tokio::test]
async fn a_source_that_lies_about_lengths_is_found_out() {
    let store = open(Arc::new(InMemory::new()), 1, 1 << 20).await;
    for (gap, code) in [(true, Code::SourceProtocol), (false, Code::SourceRead)] {
        let request = request(1, 100_000, BLOCK);
        let (book, cancel) = (Book::default(), CancellationToken::new());
        let outcome = replicate(&store, &request, Arc::new(Liar { gap }), &book, &|_| {}, &cancel);
        assert_eq!(outcome.await.unwrap_err().code, code);
    }
}
