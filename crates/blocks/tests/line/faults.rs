//! Object stores that fail on purpose, and what the data line makes of it.

use crate::stage::{Book, Volume, noise, open, request, run};
use async_trait::async_trait;
use futures::stream::BoxStream;
use godwit_blocks::block::BlockSize;
use godwit_blocks::snapshot;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::Code;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio_util::sync::CancellationToken;

/// How puts fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is stored.
    Lost,
    /// The object is stored, but the answer says otherwise.
    Ambiguous,
    /// No space left.
    Full,
}

/// Passes everything on until so many puts were made; from then on, it is as if the process or the disk had died.
#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<dyn ObjectStore>,
    pub puts_left: AtomicI64,
    pub gets_left: AtomicI64,
    pub fault: Fault,
}

impl Faulty {
    pub fn after_puts(inner: Arc<dyn ObjectStore>, puts: i64, fault: Fault) -> Arc<Self> {
        Arc::new(Self { inner, puts_left: AtomicI64::new(puts), gets_left: AtomicI64::new(i64::MAX), fault })
    }

    fn error(&self) -> object_store::Error {
        let kind = if self.fault == Fault::Full { io::ErrorKind::StorageFull } else { io::ErrorKind::BrokenPipe };
        let source = object_store::Error::Generic { store: "inner", source: Box::new(io::Error::from(kind)) };
        object_store::Error::Generic { store: "faulty", source: Box::new(source) }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let left = self.puts_left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            return self.inner.put_opts(path, payload, options).await;
        }
        if left == 0 && self.fault == Fault::Ambiguous {
            self.inner.put_opts(path, payload, options).await?;
        }
        Err(self.error())
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if self.gets_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(self.error());
        }
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_run_with_its_cause_and_leaves_no_snapshot() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let size = 1 << 20;
    let volume = Arc::new(Volume::new(noise(1, size)));
    for puts in 1..6 {
        let store = open(Faulty::after_puts(inner.clone(), puts, Fault::Full), 5 + puts as u64, 100_000).await;
        let request = request(puts as u128, size as u64, BlockSize::MIN);
        let failure = run(&store, &request, &volume, &Book::default()).await.unwrap_err();
        assert_eq!(failure.code, Code::StoreFull, "{failure}");
        assert_eq!(snapshot::load(&store, &request.snapshot).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_store_that_stops_answering_is_unavailable_and_not_corrupt() {
    let faulty = Faulty::after_puts(Arc::new(InMemory::new()), i64::MAX, Fault::Lost);
    let store = open(faulty.clone(), 3, 100_000).await;
    let request = request(1, 1 << 20, BlockSize::MIN);
    run(&store, &request, &Arc::new(Volume::new(noise(1, 1 << 20))), &Book::default()).await.unwrap();
    for gets in 0..8 {
        faulty.gets_left.store(gets, Ordering::SeqCst);
        let outcome = verify(&store, &request.snapshot, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await;
        assert_eq!(outcome.unwrap_err().code, Code::StoreUnavailable, "after {gets} gets");
    }
}
