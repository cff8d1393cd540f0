//! An object store that does something at its nth call: dies for good, or lets a sweep go by; or at each put.

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

type Deed = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;
type Watch = Box<dyn Fn(&Path) -> BoxFuture<'static, ()> + Send + Sync>;

/// What happens at the call.
enum At {
    /// It and all later ones fail: the process was killed.
    Die,
    /// This is done first, once.
    Do(Mutex<Option<Deed>>),
    /// This comes before each put.
    Put(Watch),
}

/// Passes everything on, and counts.
pub struct Counted(Arc<State>);

struct State {
    inner: Arc<dyn ObjectStore>,
    left: AtomicI64,
    at: At,
}

impl Counted {
    fn new(inner: Arc<dyn ObjectStore>, after: i64, at: At) -> Arc<Self> {
        Arc::new(Self(Arc::new(State { inner, left: AtomicI64::new(after), at })))
    }

    pub fn dying(inner: Arc<dyn ObjectStore>, after: i64) -> Arc<Self> {
        Self::new(inner, after, At::Die)
    }

    pub fn doing<F>(inner: Arc<dyn ObjectStore>, after: i64, what: impl FnOnce() -> F + Send + 'static) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let what: Deed = Box::new(move || Box::pin(what()));
        Self::new(inner, after, At::Do(Mutex::new(Some(what))))
    }

    pub fn watching<F>(inner: Arc<dyn ObjectStore>, watch: impl Fn(&Path) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(inner, i64::MAX, At::Put(Box::new(move |path| Box::pin(watch(path)))))
    }

    /// It happens after so many more calls.
    pub fn after(&self, calls: i64) {
        self.0.left.store(calls, Ordering::SeqCst);
    }

    /// How many calls are left until it happens.
    pub fn left(&self) -> i64 {
        self.0.left.load(Ordering::SeqCst)
    }

    /// Whether the call came.
    pub fn is_over(&self) -> bool {
        self.0.left.load(Ordering::SeqCst) < 0
    }
}

impl State {
    async fn pass(&self) -> Result<()> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        match &self.at {
            At::Die if left <= 0 => Err(killed()),
            At::Do(what) if left == 0 => {
                let what = what.lock().unwrap().take();
                if let Some(what) = what {
                    what().await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn killed() -> object_store::Error {
    object_store::Error::Generic { store: "counted", source: Box::new(io::Error::from(io::ErrorKind::BrokenPipe)) }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted")
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.pass().await?;
        if let At::Put(watch) = &self.0.at {
            watch(path).await;
        }
        self.0.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.pass().await?;
        self.0.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let state = self.0.clone();
        let passed = async move {
            state.pass().await?;
            Ok::<_, object_store::Error>(state.inner.delete_stream(paths))
        };
        futures::stream::once(passed).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (state, prefix) = (self.0.clone(), prefix.cloned());
        let passed = async move {
            state.pass().await?;
            Ok::<_, object_store::Error>(state.inner.list(prefix.as_ref()))
        };
        futures::stream::once(passed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.inner.copy_opts(from, to, options).await
    }
}
