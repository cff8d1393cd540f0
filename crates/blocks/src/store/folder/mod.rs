//! A store in a folder of this machine: object_store's file system, and what we promise beyond it.
//!
//! # Consistency
//! That of [`LocalFileSystem`]: an object is written beside its place and linked there when it is whole. Large objects,
//! which are packs, are written and read around the page cache ([`direct`]), in the same order. A replacement takes place
//! only if the object is still the one that was read: one at a time, because file systems know no such condition. Other
//! processes are kept out by the data folder's lock.
//!
//! # Completion
//! A put or a deletion is durable when it returns. What an interrupted put left visible is made durable before it is
//! given to anybody: else a retry could build on an object that a power cut takes away.
//!
//! # Room
//! A put that would leave less than the reserve free is refused as if the disk were full: the same file system may hold
//! the database and the scratch files of running guests, which must go on when the store cannot.

mod direct;

use crate::buffers::Buffers;
use async_trait::async_trait;
use direct::{Ability, DIRECT_FROM};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UpdateVersion,
};
use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

/// An object store in a folder.
#[derive(Clone)]
pub struct FolderStore(Arc<Inner>);

struct Inner {
    files: LocalFileSystem,
    root: PathBuf,
    reserve: u64,
    buffers: Arc<Buffers>,
    /// Objects whose put did not say how it ended.
    doubtful: Mutex<HashSet<Path>>,
    /// Folders that are durable themselves: of them only what is in them is new. None is ever removed.
    durable_folders: Mutex<HashSet<PathBuf>>,
    /// Held by who replaces an object by condition.
    replacing: tokio::sync::Mutex<()>,
}

impl FolderStore {
    /// The store in the folder `root`, which must exist. Of its file system `reserve` bytes are left free. What an
    /// earlier process left visible is made durable, so this may take as long as the disk needs.
    pub fn open(root: &std::path::Path, reserve: u64) -> io::Result<Self> {
        rustix::fs::syncfs(File::open(root)?)?;
        let files = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?.with_fsync(true);
        let (root, buffers) = (root.canonicalize()?, direct::buffers());
        Ok(Self(Arc::new(Inner {
            files,
            root,
            reserve,
            buffers,
            doubtful: Mutex::default(),
            durable_folders: Mutex::default(),
            replacing: Default::default(),
        })))
    }

    fn doubtful(&self) -> MutexGuard<'_, HashSet<Path>> {
        self.0.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable_folders(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.durable_folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check_room(&self, length: u64) -> Result<()> {
        let store = self.clone();
        blocking(move || {
            let found = rustix::fs::statvfs(&store.0.root)?;
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            if free >= length.saturating_add(store.0.reserve) {
                return Ok(());
            }
            let why = format!("{free} bytes are free and {} are kept in reserve", store.0.reserve);
            Err(io::Error::new(io::ErrorKind::StorageFull, why))
        })
        .await
    }

    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_large = options.mode == PutMode::Create && payload.content_length() as u64 >= DIRECT_FROM;
        if is_large && let Ability::Yes(done) = self.create_directly(location, payload.clone()).await? {
            return Ok(done);
        }
        self.0.files.put_opts(location, payload, options).await
    }

    /// The turn to replace the object that was `seen`; refused if there is another one by now, or none.
    async fn turn_to_replace(&self, location: &Path, seen: &UpdateVersion) -> Result<tokio::sync::MutexGuard<'_, ()>> {
        let turn = self.0.replacing.lock().await;
        let differs = |found: String| Error::Precondition { path: location.to_string(), source: found.into() };
        match self.0.files.get_opts(location, GetOptions { head: true, ..GetOptions::default() }).await {
            Ok(found) if found.meta.e_tag.is_some() && found.meta.e_tag == seen.e_tag => Ok(turn),
            Ok(_) => Err(differs("it was replaced since it was read".to_owned())),
            Err(Error::NotFound { .. }) => Err(differs("it was deleted since it was read".to_owned())),
            Err(error) => Err(error),
        }
    }

    async fn create_directly(&self, location: &Path, payload: PutPayload) -> Result<Ability<PutResult>> {
        let store = self.clone();
        let path = self.0.files.path_to_filesystem(location)?;
        let created = blocking(move || {
            let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            std::fs::create_dir_all(folder)?;
            let created = match direct::create(&path, &payload, &store.0.buffers) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Err(error)),
                created => created?,
            };
            store.sync_folders(&path)?;
            if created == Ability::No {
                return Ok(Ok(Ability::No));
            }
            Ok(Ok(Ability::Yes(PutResult { e_tag: None, version: None, extensions: Default::default() })))
        });
        let exists = |source: io::Error| Error::AlreadyExists { path: location.to_string(), source: Box::new(source) };
        created.await?.map_err(exists)
    }

    /// What was found, read around the cache if it is large.
    async fn read_directly(&self, mut found: GetResult) -> Result<GetResult> {
        let GetResultPayload::File(file, path) = found.payload else { return Ok(found) };
        let (buffers, range) = (self.0.buffers.clone(), found.range.clone());
        let (file, read) = blocking(move || {
            let read = direct::read(&file, range, &buffers)?;
            Ok((file, read))
        })
        .await?;
        found.payload = match read {
            Ability::Yes(bytes) => GetResultPayload::Stream(futures::stream::iter([Ok(bytes)]).boxed()),
            Ability::No => GetResultPayload::File(file, path),
        };
        Ok(found)
    }

    /// Makes an object durable that somebody else may not have brought to its end.
    async fn settle(&self, location: &Path) -> Result<()> {
        let (store, object) = (self.clone(), location.clone());
        let path = self.0.files.path_to_filesystem(location)?;
        blocking(move || {
            match File::open(&path) {
                Ok(file) => file.sync_all()?,
                // It may still come: the doubt stays.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
            store.sync_folders(&path)?;
            store.doubtful().remove(&object);
            Ok(())
        })
        .await
    }

    /// Makes durable that `path` is in its folder, and that folder in the one above, up to the root. Who made a folder
    /// may have failed, or not be so far: a folder counts as durable only when this was done for it.
    fn sync_folders(&self, path: &std::path::Path) -> io::Result<()> {
        let mut synced = Vec::new();
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.0.root)) {
            File::open(folder)?.sync_all()?;
            if self.durable_folders().contains(folder) {
                break;
            }
            synced.push(folder.to_owned());
        }
        self.durable_folders().extend(synced);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let generic = |source| Error::Generic { store: "folder", source };
    tokio::task::spawn_blocking(work).await?.map_err(|error| generic(Box::new(error)))
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.check_room(payload.content_length() as u64).await?;
        let turn = match &options.mode {
            PutMode::Update(seen) => Some(self.turn_to_replace(location, seen).await?),
            _ => None,
        };
        if turn.is_some() {
            options.mode = PutMode::Overwrite;
        }
        // Before the put: it may go on when this call was dropped.
        self.doubtful().insert(location.clone());
        let result = self.put(location, payload, options).await;
        drop(turn);
        match &result {
            Ok(_) => {
                self.doubtful().remove(location);
            }
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => self.settle(location).await?,
            Err(_) => {}
        }
        result
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.0.files.get_opts(location, options).await?;
        let is_doubtful = self.doubtful().contains(location);
        if is_doubtful {
            self.settle(location).await?;
        }
        if found.range.end - found.range.start >= DIRECT_FROM { self.read_directly(found).await } else { Ok(found) }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let durable = move |deleted: Result<Path>| {
            let store = store.clone();
            async move {
                let location = deleted?;
                let folder = store.0.files.path_to_filesystem(&location)?.parent().map(PathBuf::from);
                blocking(move || folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())).await?;
                Ok(location)
            }
        };
        self.0.files.delete_stream(locations).then(durable).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.files.copy_opts(from, to, options).await
    }
}

impl fmt::Display for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folder {}", self.0.root.display())
    }
}

impl fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    fn create() -> PutOptions {
        PutOptions::from(PutMode::Create)
    }

    #[tokio::test]
    async fn the_reserve_is_kept_free_and_the_refusal_is_that_of_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let location = Path::from("packs/00/a");
        let roomy = FolderStore::open(folder.path(), 0).unwrap();
        roomy.put_opts(&location, "content".into(), create()).await.unwrap();
        let full = FolderStore::open(folder.path(), u64::MAX / 2).unwrap();
        let refused = full.put_opts(&Path::from("packs/00/b"), "content".into(), create()).await.unwrap_err();
        assert!(refused.to_string().contains("kept in reserve"), "{refused}");
        assert_eq!(
            super::super::failure::failure("put", &location, &refused).code,
            godwit_model::failure::Code::StoreFull
        );
        assert_eq!(full.get(&location).await.unwrap().bytes().await.unwrap(), "content");
    }

    #[tokio::test]
    async fn what_a_put_left_behind_is_settled_before_it_is_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::open(folder.path(), 0).unwrap();
        let location = Path::from("packs/00/a");
        // As after a put that was dropped, or failed when the folder was to be synced.
        store.doubtful().insert(location.clone());
        assert!(store.get(&location).await.is_err());
        assert!(store.doubtful().contains(&location), "it may still come");
        std::fs::create_dir_all(folder.path().join("packs/00")).unwrap();
        std::fs::write(folder.path().join("packs/00/a"), "late").unwrap();
        assert_eq!(store.get(&location).await.unwrap().bytes().await.unwrap(), "late");
        assert!(store.doubtful().is_empty());

        store.doubtful().insert(location.clone());
        let again = store.put_opts(&location, "late".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })));
        assert!(store.doubtful().is_empty());
    }

    #[tokio::test]
    async fn large_objects_are_created_once_and_read_in_any_range() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::open(folder.path(), 0).unwrap();
        let location = Path::from("packs/07/a");
        let content: Vec<u8> = (0..3 * DIRECT_FROM).map(|at| (at % 253) as u8).collect();
        store.put_opts(&location, content.clone().into(), create()).await.unwrap();
        let again = store.put_opts(&location, vec![1; content.len()].into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert!(store.doubtful().is_empty());
        for range in [0..content.len(), 5..content.len() - 5, 100_001..500_002, 7..19] {
            let read = store.get_range(&location, range.start as u64..range.end as u64).await.unwrap();
            assert_eq!(read, content[range]);
        }
        let names: Vec<_> = std::fs::read_dir(folder.path().join("packs/07")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[tokio::test]
    async fn objects_go_when_they_are_deleted_and_a_missing_one_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::open(folder.path(), 0).unwrap();
        let location = Path::from("snapshots/a");
        store.put_opts(&location, "content".into(), create()).await.unwrap();
        assert!(store.doubtful().is_empty());
        store.delete(&location).await.unwrap();
        assert!(matches!(store.get(&location).await, Err(Error::NotFound { .. })));
        assert!(matches!(store.delete(&location).await, Err(Error::NotFound { .. })));
    }
}
