//! A store in a bucket of an S3-compatible server: object_store's client, and what we promise beyond it.
//!
//! # Consistency
//! An object is created only if there is none of its name: the server decides (`If-None-Match: *`), also about objects
//! that go in parts (some servers not at the very same moment: nothing that long is wanted by two). [`RemoteStore::open`]
//! refuses a server that does not. Lists may be behind: nobody relies on them but
//! to find what may go.
//!
//! # Retries
//! Requests that fail in passing, or that the server throttles (503, 429), are repeated with growing pauses, within
//! [`RemoteBounds`]. What still fails then is unavailable, and left to who retries runs.
//!
//! If the answer to a creation is lost, nobody knows whether the object is there. So whoever is told afterwards that it
//! exists, or nothing at all, looks: an object of the very content is ours. The same goes for replacements, which the server
//! carries out only if the object is still the one that was read (`If-Match`).
//!
//! # Cancellation
//! A put that is dropped may leave an object that nobody names, as everywhere; parts of one are removed.
//!
//! # Completion
//! The server's: what it confirmed is durable.
//!
//! # Crash consistency
//! Parts that a crash leaves behind are in no list; a rule of the bucket must end them, see docs/object-stores.md.

mod client;
mod error;
mod probe;

pub use client::{AskKeys, RemoteBounds, RemoteKeys, RemoteOptions};
pub use error::RemoteError;

use async_trait::async_trait;
use bytes::Bytes;
use client::{Attempts, Clients};
use error::{Outcome, is_final, outcome, told};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UpdateVersion,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Objects that are longer go in parts of this length: then a connection that breaks costs a part, and two of them carry
/// a pack, which is 12 MiB and its directory. Servers ask for 5 MiB at least.
const PART: usize = 9 << 20;

/// Parts of one object on their way at the same time: as many as a pack has. One connection fills no fast link.
const PARTS: usize = 2;

/// How often a creation or a deletion is begun anew when its outcome is unknown and the object is not there. Each time
/// has its own retries.
const TURNS: u32 = 3;

/// The name of the object that says whose store this is.
pub(super) const OWNER: &str = "owner";

/// Folder of the objects that [`probe`] plays with.
pub(super) const PROBES: &str = "probe";

/// An object store in a bucket.
#[derive(Clone)]
pub struct RemoteStore(Arc<Inner>);

struct Inner {
    clients: Clients,
    bucket: String,
    /// The server refuses to complete an object in parts whose name is taken.
    has_conditional_parts: bool,
}

impl RemoteStore {
    /// The store that `options` name, after the server has shown that it does what we need. The first time, it is marked
    /// as that of `options.owner`; one that is marked for another is refused. `draw` are random bits.
    pub async fn open(options: &RemoteOptions, draw: u128) -> Result<Arc<dyn ObjectStore>, RemoteError> {
        let clients = Clients::new(options)?;
        let mut inner = Inner { clients, bucket: options.bucket.clone(), has_conditional_parts: false };
        let prefix = Path::from(options.prefix.as_str());
        inner.has_conditional_parts = probe::probe(&inner.clients, &prefix, draw).await.map_err(|e| e.of(options))?;
        let store = RemoteStore(Arc::new(inner));
        let store: Arc<dyn ObjectStore> = match prefix.parts().next() {
            None => Arc::new(store),
            Some(_) => Arc::new(PrefixStore::new(store, prefix)),
        };
        probe::claim(&*store, &options.owner).await.map_err(|error| error.of(options))?;
        Ok(store)
    }

    async fn create(&self, path: &Path, payload: PutPayload) -> Result<PutResult> {
        let attempts = Attempts::default();
        let mut turn = 1;
        loop {
            let in_parts = self.0.has_conditional_parts && payload.content_length() > PART;
            let result = match in_parts {
                true => self.create_in_parts(path, payload.clone()).await,
                false => self.create_whole(path, payload.clone(), &attempts).await,
            };
            let Err(error) = result else { return result };
            // An earlier request than the one that was answered may have been carried out.
            let is_doubtful = in_parts || attempts.load(Ordering::Relaxed) > 1;
            match outcome(&error) {
                Outcome::Exists if !is_doubtful => return Err(exists(path, error)),
                Outcome::Refused => return Err(error),
                Outcome::Exists | Outcome::Unknown => match self.holds(path, &payload).await {
                    Ok(Some(true)) => return Ok(done()),
                    Ok(Some(false)) => return Err(exists(path, error)),
                    Ok(None) if turn < TURNS => {}
                    Ok(None) => return Err(undecided(error)),
                    Err(away) => return Err(away),
                },
                // Another creation is at work: who wins is not decided yet.
                Outcome::Contended if turn < TURNS => {}
                Outcome::Contended => return Err(undecided(error)),
            }
            tokio::time::sleep(self.0.clients.bounds.pause * 2u32.pow(turn)).await;
            turn += 1;
        }
    }

    /// Puts an object in the place of the one that was `seen`.
    async fn replace(&self, path: &Path, payload: PutPayload, seen: UpdateVersion) -> Result<PutResult> {
        let mut turn = 1;
        loop {
            let options = PutOptions::from(PutMode::Update(seen.clone()));
            let result = self.0.clients.s3.put_opts(path, payload.clone(), options).await;
            let Err(error) = result else { return result };
            let outcome = outcome(&error);
            if matches!(outcome, Outcome::Refused) {
                return Err(error);
            }
            // Whatever the last answer was: an earlier request may have been carried out.
            if self.holds(path, &payload).await? == Some(true) {
                return Ok(done());
            }
            match outcome {
                Outcome::Exists => return Err(error),
                _ if turn == TURNS => return Err(undecided(error)),
                // If it is carried out after all, this one is not.
                _ => {}
            }
            tokio::time::sleep(self.0.clients.bounds.pause * 2u32.pow(turn)).await;
            turn += 1;
        }
    }

    async fn create_whole(&self, path: &Path, payload: PutPayload, attempts: &Attempts) -> Result<PutResult> {
        let mut options = PutOptions::from(PutMode::Create);
        options.extensions.insert(attempts.clone());
        self.0.clients.s3.put_opts(path, payload, options).await
    }

    async fn create_in_parts(&self, path: &Path, payload: PutPayload) -> Result<PutResult> {
        let clients = &self.0.clients;
        let content = Bytes::from(payload);
        let id = clients.s3.create_multipart(path).await?;
        let mut upload = Upload { store: self.clone(), path: path.clone(), id: Some(id.clone()) };
        let starts = (0..content.len()).step_by(PART).enumerate();
        let sent = starts.map(|(n, start)| {
            let part = content.slice(start..(start + PART).min(content.len()));
            clients.s3.put_part(path, &id, n, part.into())
        });
        let parts = stream::iter(sent).buffered(PARTS).try_collect().await?;
        let put = clients.completing.complete_multipart(path, &id, parts).await?;
        upload.id = None;
        Ok(put)
    }

    /// Whether the object is there with this content; `None` if it is not there.
    async fn holds(&self, path: &Path, payload: &PutPayload) -> Result<Option<bool>> {
        let found = match self.0.clients.s3.get(path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.meta.size != payload.content_length() as u64 {
            return Ok(Some(false));
        }
        let (mut there, mut ours) = (blake3::Hasher::new(), blake3::Hasher::new());
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            there.update(&chunk);
        }
        payload.iter().for_each(|chunk| {
            ours.update(chunk);
        });
        Ok(Some(there.finalize() == ours.finalize()))
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        let mut turn = 1;
        loop {
            match self.0.clients.s3.delete(path).await {
                Err(error) if turn < TURNS && !is_final(&error) => turn += 1,
                result => return result,
            }
        }
    }

    /// An error as it is to be told.
    fn told(&self, error: Error) -> Error {
        told(error, &self.0.bucket)
    }
}

/// What is told of a put whose own answer was lost.
fn done() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Extensions::new() }
}

fn exists(path: &Path, error: Error) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: error.into() }
}

/// Whether there is such an object is not known: whatever the last answer was, it must not be taken for that.
fn undecided(error: Error) -> Error {
    match error {
        Error::Generic { .. } => error,
        other => Error::Generic { store: "S3", source: other.into() },
    }
}

/// Parts on the server that are no object yet: removed unless they become one.
struct Upload {
    store: RemoteStore,
    path: Path,
    id: Option<String>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let (store, path) = (self.store.clone(), self.path.clone());
        // Nobody waits for it: if it fails, the bucket's rule does it.
        runtime.spawn(async move { store.0.clients.s3.abort_multipart(&path, &id).await });
    }
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let result = match options.mode {
            PutMode::Create => self.create(location, payload).await,
            PutMode::Update(seen) => self.replace(location, payload, seen).await,
            PutMode::Overwrite => self.0.clients.s3.put_opts(location, payload, options).await,
        };
        result.map_err(|error| self.told(error))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        // It would replace what is there.
        let implementer = self.to_string();
        Err(Error::NotImplemented { operation: "a put in parts that replaces objects".to_owned(), implementer })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.clients.s3.get_opts(location, options).await.map_err(|error| self.told(error))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let remove = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.remove(&location).await.map_err(|error| store.told(error))?;
                Ok(location)
            }
        };
        locations.then(remove).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        self.0.clients.s3.list(prefix).map_err(move |error| store.told(error)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.clients.s3.list_with_delimiter(prefix).await.map_err(|error| self.told(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.clients.s3.copy_opts(from, to, options).await.map_err(|error| self.told(error))
    }
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}", self.0.bucket)
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
