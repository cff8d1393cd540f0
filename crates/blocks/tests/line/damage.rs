//! Parents that are damaged or gone, and sources that lie. What a changed bit does is in `regions`.

use crate::stage::{Book, Volume, content, noise, open, request, run};
use godwit_blocks::block::BlockSize;
use godwit_blocks::replicate::replicate;
use godwit_blocks::source::{ExtentKind, SourceExtent, VolumeReader};
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, Verified, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use object_store::memory::InMemory;
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
