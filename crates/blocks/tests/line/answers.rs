//! Answers of an object store that are behind, or end before their end: neither makes a sweep take what is needed, nor
//! what is whole seem damaged.

use crate::stage::{Book, Volume, content, noise, open, request, run, snapshot_id};
use crate::sweep::{BLOCK, LATE, PACK, check, copied, known, mostly_changed, sweep};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use godwit_blocks::image;
use godwit_blocks::replicate::Request;
use godwit_blocks::snapshot;
use godwit_blocks::sweep::Claims;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::Code;
use godwit_model::id::ImageId;
use godwit_model::key::first_key;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Lists what was there at an earlier time, and gives less than it says while `is_short`.
#[derive(Debug)]
struct Poor {
    now: Arc<dyn ObjectStore>,
    listed: Arc<dyn ObjectStore>,
    is_short: AtomicBool,
}

impl std::fmt::Display for Poor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("poor")
    }
}

#[async_trait]
impl ObjectStore for Poor {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.now.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.now.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let is_short = self.is_short.load(Ordering::SeqCst) && !options.head;
        let answer = self.now.get_opts(path, options).await?;
        if !is_short {
            return Ok(answer);
        }
        let (meta, range, attributes, extensions) =
            (answer.meta.clone(), answer.range.clone(), answer.attributes.clone(), answer.extensions.clone());
        let bytes: Bytes = answer.bytes().await?;
        let most = bytes.slice(..bytes.len() - 1);
        let payload = GetResultPayload::Stream(futures::stream::iter([Ok(most)]).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.now.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.listed.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.now.copy_opts(from, to, options).await
    }
}

fn poor(now: &Arc<dyn ObjectStore>, listed: Arc<dyn ObjectStore>) -> Arc<Poor> {
    Arc::new(Poor { now: now.clone(), listed, is_short: AtomicBool::new(false) })
}

#[tokio::test]
async fn a_sweep_by_a_list_that_is_behind_takes_nothing_that_a_known_snapshot_needs() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, PACK).await;
    let base = noise(1, 600_000);
    run(&store, &request(1, 600_000, BLOCK), &Arc::new(Volume::new(base.clone())), &Book::default()).await.unwrap();
    let before = copied(&*objects).await;
    let model = mostly_changed(&base, 2);
    let second = Request { parent: Some(snapshot_id(1)), ..request(2, 600_000, BLOCK) };
    run(&store, &second, &Arc::new(Volume::since(model.clone(), &base)), &Book::default()).await.unwrap();
    // What the second snapshot shares with the first is released, as far as anybody knows who does not see the second.
    let released = snapshot::load(&store, &snapshot_id(1)).await.unwrap().unwrap().packs;
    snapshot::delete(&store, &snapshot_id(1)).await.unwrap();

    let store = open(poor(&objects, before), 2, PACK).await;
    let claims = Claims { released, ..known([snapshot_id(2)]) };
    sweep(&store, &claims, LATE).await.unwrap();
    check(&store, &snapshot_id(2), &model, "after a sweep by an old list").await;
}

#[tokio::test]
async fn the_newest_version_of_a_key_is_found_by_a_list_that_is_behind() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, PACK).await;
    let before = copied(&*objects).await;
    for version in 2..=4 {
        store.make_key(&first_key(), version).await.unwrap();
    }
    let model = noise(1, 100_000);
    let store = open(poor(&objects, before), 2, PACK).await;
    run(&store, &request(1, 100_000, BLOCK), &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
    assert_eq!(snapshot::load(&store, &snapshot_id(1)).await.unwrap().unwrap().key_version, 4);
    check(&store, &snapshot_id(1), &model, "under the newest version").await;
    store.make_key(&first_key(), 5).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_ends_early_is_a_store_that_is_away_and_not_damage() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let poor = poor(&objects, objects.clone());
    let store = open(poor.clone(), 1, PACK).await;
    let model = noise(1, 100_000);
    run(&store, &request(1, 100_000, BLOCK), &Arc::new(Volume::new(model.clone())), &Book::default()).await.unwrap();
    let id = snapshot_id(1);
    poor.is_short.store(true, Ordering::SeqCst);
    assert_eq!(content(&store, &id).await.unwrap_err().code, Code::StoreUnavailable);
    let verified = verify(&store, &id, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await;
    assert_eq!(verified.unwrap_err().code, Code::StoreUnavailable);
    assert!(image::load(&store, &ImageId::from_bits(1)).await.unwrap().is_none());
    poor.is_short.store(false, Ordering::SeqCst);
    check(&store, &id, &model, "when answers are whole again").await;
}
