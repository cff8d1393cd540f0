//! An object store that is only looked at: whoever verifies beside a running service must not be able to change anything.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;

/// What is in another object store, to be read.
#[derive(Clone, Debug)]
pub struct ReadOnly(Arc<dyn ObjectStore>);

impl ReadOnly {
    /// Looks at `objects`.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self(objects)
    }
}

fn refused<T>(operation: &str) -> Result<T> {
    Err(Error::NotSupported { source: format!("the store is only looked at: no {operation}").into() })
}

#[async_trait]
impl ObjectStore for ReadOnly {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        refused("put")
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        refused("put")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures::stream::iter([refused("deletion")]).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refused("copy")
    }
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, to be read", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn everything_is_read_and_nothing_is_changed() {
        let (inner, there, new) = (Arc::new(InMemory::new()), Path::from("packs/a"), Path::from("packs/b"));
        inner.put(&there, "content".into()).await.unwrap();
        let store = ReadOnly::new(inner.clone());
        assert_eq!(store.get(&there).await.unwrap().bytes().await.unwrap(), "content");
        assert_eq!(store.list(None).count().await, 1);
        assert!(store.put(&new, "content".into()).await.is_err());
        assert!(store.put_multipart(&new).await.is_err());
        assert!(store.delete(&there).await.is_err());
        assert!(store.copy(&there, &new).await.is_err());
        assert_eq!((inner.list(None).count().await, inner.head(&there).await.is_ok()), (1, true));
    }
}
