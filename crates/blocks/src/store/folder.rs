//! A store in a folder of this machine: object_store's file system, and what we promise beyond it.
//!
//! # Consistency
//! That of [`LocalFileSystem`]: an object is written beside its place and linked there when it is whole.
//!
//! # Completion
//! A put or a deletion is durable when it returns. What an interrupted put left visible is made durable before it is
//! given to anybody: else a retry could build on an object that a power cut takes away.
//!
//! # Room
//! A put that would leave less than the reserve free is refused as if the disk were full: the same file system may hold
//! the database and the scratch files of running guests, which must go on when the store cannot.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
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
    /// Objects whose put did not say how it ended.
    doubtful: Mutex<HashSet<Path>>,
}

impl FolderStore {
    /// The store in the folder `root`, which must exist. Of its file system `reserve` bytes are left free. What an
    /// earlier process left visible is made durable, so this may take as long as the disk needs.
    pub fn open(root: &std::path::Path, reserve: u64) -> io::Result<Self> {
        rustix::fs::syncfs(File::open(root)?)?;
        let files = LocalFileSystem::new_with_prefix(root).map_err(io::Error::other)?.with_fsync(true);
        Ok(Self(Arc::new(Inner { files, root: root.canonicalize()?, reserve, doubtful: Mutex::default() })))
    }

    fn doubtful(&self) -> MutexGuard<'_, HashSet<Path>> {
        self.0.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
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
            sync_folders(&path, &store.0.root)?;
            store.doubtful().remove(&object);
            Ok(())
        })
        .await
    }
}

/// Syncs the folders from the one that holds `path` up to `root`: they may be as new as the object.
fn sync_folders(path: &std::path::Path, root: &std::path::Path) -> io::Result<()> {
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let generic = |source| Error::Generic { store: "folder", source };
    tokio::task::spawn_blocking(work).await?.map_err(|error| generic(Box::new(error)))
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.check_room(payload.content_length() as u64).await?;
        // Before the put: it may go on when this call was dropped.
        self.doubtful().insert(location.clone());
        let result = self.0.files.put_opts(location, payload, options).await;
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
        Ok(found)
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
    use object_store::{ObjectStoreExt, PutMode};

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
