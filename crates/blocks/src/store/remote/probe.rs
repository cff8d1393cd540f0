//! Tries a server before anything is entrusted to it, and marks whose store it holds.

use super::client::Clients;
use super::error::{Outcome, Trouble, outcome};
use super::{OWNER, PROBES};
use bytes::Bytes;
use futures::StreamExt;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

/// What a probe holds.
const CONTENT: &[u8] = b"written by godwit to try this store; may be deleted";

/// Puts, gets, lists and deletes an object of a name that nobody else has. Gives whether the server also refuses an object
/// in parts whose name is taken.
pub(super) async fn probe(clients: &Clients, prefix: &Path, draw: u128) -> Result<bool, Trouble> {
    let names = [PROBES.to_owned(), format!("{draw:032x}")];
    let path: Path = prefix.parts().map(|part| part.as_ref().to_owned()).chain(names).collect();
    match clients.s3.get(&path).await {
        Err(Error::NotFound { source, path }) if source.to_string().contains("NoSuchBucket") => {
            return Err(Trouble::Call("look into", Error::NotFound { source, path }));
        }
        Ok(_) | Err(Error::NotFound { .. }) => {}
        // Without the right to list, what is missing is refused and not missing.
        Err(error) => return Err(Trouble::Call("look into", error)),
    }
    create(clients, &path, CONTENT).await.map_err(|error| Trouble::Call("put an object into", error))?;
    let tried = try_object(clients, &path).await;
    let deleted = clients.s3.delete(&path).await.map_err(|error| Trouble::Call("delete an object from", error));
    let has_conditional_parts = tried?;
    deleted?;
    Ok(has_conditional_parts)
}

async fn try_object(clients: &Clients, path: &Path) -> Result<bool, Trouble> {
    match create(clients, path, b"another").await {
        Ok(()) => return Err(Trouble::NoConditions),
        Err(error) if matches!(outcome(&error), Outcome::Exists) => {}
        Err(error) => return Err(Trouble::Call("put an object into", error)),
    }
    let get = async { clients.s3.get(path).await?.bytes().await };
    if get.await.map_err(|error| Trouble::Call("get an object from", error))? != CONTENT {
        return Err(Trouble::Differs);
    }
    // It need not be there yet, but who may not list must be told.
    if let Some(Err(error)) = clients.s3.list(Some(path)).next().await {
        return Err(Trouble::Call("list", error));
    }
    Ok(refuses_parts(clients, path).await)
}

/// Whether an object in parts does not replace the one that is there. A server that knows no parts at all is served
/// without.
async fn refuses_parts(clients: &Clients, path: &Path) -> bool {
    let Ok(id) = clients.s3.create_multipart(path).await else { return false };
    let completed = async {
        let part = clients.s3.put_part(path, &id, 0, Bytes::from_static(b"another").into()).await?;
        clients.completing.complete_multipart(path, &id, vec![part]).await
    };
    let completed = completed.await;
    let _ = clients.s3.abort_multipart(path, &id).await;
    completed.is_err_and(|error| matches!(outcome(&error), Outcome::Exists))
}

async fn create(clients: &Clients, path: &Path, content: &'static [u8]) -> Result<(), Error> {
    let content = Bytes::from_static(content);
    clients.s3.put_opts(path, content.into(), PutOptions::from(PutMode::Create)).await.map(|_| ())
}

/// Marks the store as that of `owner`, unless it is somebody else's.
pub(super) async fn claim(store: &dyn ObjectStore, owner: &str) -> Result<(), Trouble> {
    let (path, mode) = (Path::from(OWNER), PutOptions::from(PutMode::Create));
    let failed = |error| Trouble::Call("put an object into", error);
    match store.put_opts(&path, Bytes::copy_from_slice(owner.as_bytes()).into(), mode).await {
        Ok(_) => return Ok(()),
        Err(Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(failed(error)),
    }
    let found = async { store.get(&path).await?.bytes().await }.await.map_err(failed)?;
    match found == owner.as_bytes() {
        true => Ok(()),
        false => Err(Trouble::Taken(String::from_utf8_lossy(&found).chars().take(40).collect())),
    }
}
