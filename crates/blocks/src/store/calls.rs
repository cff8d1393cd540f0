//! Single calls to the object store: bounded in time, their outcomes in our words.

use super::failure::failure;
use super::{CALL_BOUND, Put, Seen};
use bytes::Bytes;
use futures::TryStreamExt;
use godwit_model::failure::{Code, Failure};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::future::Future;

pub(super) async fn list(objects: &dyn ObjectStore, folder: &str) -> Result<Vec<String>, Failure> {
    let path = Path::from(folder);
    let listed = bounded(&path, objects.list(Some(&path)).try_collect::<Vec<_>>()).await?;
    match listed {
        Ok(objects) => Ok(objects.iter().filter_map(|o| o.location.filename().map(str::to_owned)).collect()),
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(failure("list", &path, &error)),
    }
}

pub(super) async fn bounded<T>(path: &Path, call: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(CALL_BOUND, call).await.map_err(|_| {
        Failure::new(
            Code::TimedOut,
            format!("the store did not answer for object {path} in {} s", CALL_BOUND.as_secs()),
        )
    })
}

pub(super) async fn put(objects: &dyn ObjectStore, path: &Path, object: Bytes) -> Result<Put, Failure> {
    let options = PutOptions::from(PutMode::Create);
    match bounded(path, objects.put_opts(path, PutPayload::from_bytes(object), options)).await? {
        Ok(_) => Ok(Put::Created),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(Put::Exists),
        Err(error) => Err(failure("put", path, &error)),
    }
}

/// Puts an object in the place of the one that was `seen`; false if that is not there any more. A store that does not tell
/// one from another is not asked to.
pub(super) async fn replace(
    objects: &dyn ObjectStore,
    path: &Path,
    object: Bytes,
    seen: Seen,
) -> Result<bool, Failure> {
    let mode = match seen.0 {
        UpdateVersion { e_tag: None, .. } => PutMode::Overwrite,
        seen => PutMode::Update(seen),
    };
    match bounded(path, objects.put_opts(path, PutPayload::from_bytes(object), PutOptions::from(mode))).await? {
        Ok(_) => Ok(true),
        Err(object_store::Error::Precondition { .. }) => Ok(false),
        Err(error) => Err(failure("replace", path, &error)),
    }
}

pub(super) async fn get_small(objects: &dyn ObjectStore, path: &Path, limit: u64) -> Result<Option<Bytes>, Failure> {
    Ok(get(objects, path, None, limit).await?.map(|got| got.bytes))
}

/// What a get gave.
pub(super) struct Got {
    pub bytes: Bytes,
    /// Length of the whole object.
    pub size: u64,
    pub seen: Seen,
}

pub(super) async fn get(
    objects: &dyn ObjectStore,
    path: &Path,
    range: Option<GetRange>,
    limit: u64,
) -> Result<Option<Got>, Failure> {
    let call = async {
        let answer = objects.get_opts(path, GetOptions { range, ..GetOptions::default() }).await?;
        let size = answer.meta.size;
        if answer.range.end - answer.range.start > limit {
            return Ok(Err(Failure::new(
                Code::StoreCorrupt,
                format!("object {path} has {size} bytes, more than such an object can have"),
            )));
        }
        let promised = answer.range.end - answer.range.start;
        let seen = Seen(UpdateVersion { e_tag: answer.meta.e_tag.clone(), version: answer.meta.version.clone() });
        let bytes = answer.bytes().await?;
        if bytes.len() as u64 != promised {
            // The object is not what is wrong: a link that broke looks like this.
            let what = format!("the store gave {} of {promised} bytes of object {path}", bytes.len());
            return Ok(Err(Failure::new(Code::StoreUnavailable, what)));
        }
        Ok(Ok(Got { bytes, size, seen }))
    };
    match bounded(path, call).await? {
        Ok(answer) => answer.map(Some),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failure("get", path, &error)),
    }
}
