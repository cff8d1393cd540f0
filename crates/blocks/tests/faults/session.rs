//! The object store as one process sees it.

use crate::ground::{Call, Ended, Ground, Object};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::future::pending;
use std::io;
use std::time::{Duration, SystemTime};

#[derive(Clone)]
pub struct Session {
    ground: Ground,
    /// The process; `None` for somebody who only looks, to whom nothing happens.
    epoch: Option<u64>,
}

impl Session {
    pub fn of(ground: &Ground, epoch: u64) -> Self {
        Self { ground: ground.clone(), epoch: Some(epoch) }
    }

    pub fn looking(ground: &Ground) -> Self {
        Self { ground: ground.clone(), epoch: None }
    }

    /// Lets others go first.
    async fn pause(&self) {
        for _ in 0..self.ground.turns() {
            tokio::task::yield_now().await;
        }
    }

    async fn delete_one(&self, path: Path) -> Result<Path> {
        self.pause().await;
        match self.ground.delete(self.epoch.expect("who looks changes nothing"), &path) {
            Call::Dead => pending().await,
            Call::Answer(Ended::Done) => Ok(path),
            Call::Answer(Ended::Missing) => Err(missing(&path)),
            Call::Answer(_) => Err(broken(io::ErrorKind::BrokenPipe)),
        }
    }
}

fn broken(kind: io::ErrorKind) -> Error {
    Error::Generic { store: "session", source: Box::new(io::Error::from(kind)) }
}

fn missing(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "there is no such object".into() }
}

fn meta(path: &Path, object: &Object) -> ObjectMeta {
    let made_at = SystemTime::UNIX_EPOCH + Duration::from_millis(object.made_at as u64);
    ObjectMeta {
        location: path.clone(),
        last_modified: made_at.into(),
        size: object.bytes.len() as u64,
        e_tag: None,
        version: None,
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {:?}", self.epoch)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for Session {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.pause().await;
        let epoch = self.epoch.expect("who looks changes nothing");
        let replaces = !matches!(options.mode, PutMode::Create);
        if let PutMode::Update(seen) = &options.mode
            && seen.e_tag != self.ground.tag(path)
        {
            return Err(Error::Precondition { path: path.to_string(), source: "it is another one".into() });
        }
        let Call::Answer(ended) = self.ground.put(epoch, path, Bytes::from(payload), replaces) else {
            return pending().await;
        };
        self.pause().await;
        match ended {
            Ended::Done => Ok(PutResult { e_tag: None, version: None, extensions: Default::default() }),
            Ended::Exists => Err(Error::AlreadyExists { path: path.to_string(), source: "it is there".into() }),
            Ended::Full => Err(broken(io::ErrorKind::StorageFull)),
            _ => Err(broken(io::ErrorKind::BrokenPipe)),
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.pause().await;
        let object = match self.ground.get(self.epoch, path) {
            Call::Dead => return pending().await,
            Call::Answer(Err(())) => return Err(broken(io::ErrorKind::BrokenPipe)),
            Call::Answer(Ok(None)) => return Err(missing(path)),
            Call::Answer(Ok(Some(object))) => object,
        };
        let size = object.bytes.len() as u64;
        let range = match options.range {
            Some(range) => range.as_range(size).map_err(|_| broken(io::ErrorKind::InvalidInput))?,
            None => 0..size,
        };
        let mut bytes = object.bytes.slice(range.start as usize..range.end as usize);
        bytes.truncate(self.ground.come(self.epoch, bytes.len()));
        Ok(GetResult {
            payload: GetResultPayload::Stream(futures::stream::iter([Ok(bytes)]).boxed()),
            meta: ObjectMeta { e_tag: self.ground.tag(path), ..meta(path, &object) },
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let session = self.clone();
        paths
            .then(move |path| {
                let session = session.clone();
                async move { session.delete_one(path?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (session, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move {
            session.pause().await;
            let Call::Answer(objects) = session.ground.list(session.epoch) else { return pending().await };
            let below = objects.into_iter().filter(move |(path, _)| path.prefix_matches(&prefix));
            futures::stream::iter(below.map(|(path, object)| Ok(meta(&path, &object))).collect::<Vec<_>>())
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(unused("list_with_delimiter"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unused("put_multipart"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unused("copy"))
    }
}

/// The data line does not ask for it.
fn unused(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "session".to_owned() }
}
