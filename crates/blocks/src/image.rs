//! Images: the snapshots of all volumes of a server from one run.
//!
//! # Consistency
//! An image is written after its snapshots were committed (checked here) and verified (by the run).
//!
//! # Retries
//! Registering the same image again is success; another image of the same id is refused.
//!
//! # Cancellation
//! A registration that is dropped has happened or has not; whoever repeats it finds out.
//!
//! # Completion
//! The manifest is durable when [`register`] returns.
//!
//! # Crash consistency
//! One conditional put of one object.

use crate::damage::Damage;
use crate::envelope::{self, Kind, MAX_MANIFEST};
use crate::snapshot;
use crate::store::{BlockStore, Put};
use bytes::Bytes;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, JobId, RunId, SnapshotId};
use godwit_model::time::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// What is recorded of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageManifest {
    /// Its id.
    pub image: ImageId,
    /// The job whose run made it.
    pub job: JobId,
    /// The run that made it.
    pub run: RunId,
    /// Name of the server.
    pub server_name: String,
    /// The volumes, boot disk first.
    pub volumes: Vec<ImageVolume>,
    /// When, as told by the caller.
    pub created_at: Timestamp,
}

/// A volume of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageVolume {
    /// The volume's name within its server.
    pub device: String,
    /// Its content.
    pub snapshot: SnapshotId,
}

/// Writes the image. All its snapshots must be committed, and be of the key domain that `store` writes in.
pub async fn register(store: &BlockStore, image: &ImageManifest) -> Result<(), Failure> {
    for volume in &image.volumes {
        let (_, manifest) = snapshot::open(store, &volume.snapshot).await?;
        if manifest.key != *store.keys().id() {
            let what = format!("{} is encrypted with {}, the image with another key", volume.snapshot, manifest.key);
            return Err(Failure::new(Code::Internal, what));
        }
        if (&manifest.run, &manifest.device) != (&image.run, &volume.device) {
            return Err(Failure::new(
                Code::Internal,
                format!("snapshot {} is not the one of volume {} of {}", volume.snapshot, volume.device, image.run),
            ));
        }
    }
    // Its own body needs no later version: the snapshots' manifests say which one their packs need.
    let object = Bytes::from(envelope::seal(Kind::Image, 1, store.keys(), image));
    let put = store.put(&path_of(&image.image), object).await?;
    if put == Put::Created || load(store, &image.image).await?.is_some_and(|existing| is_same(&existing, image)) {
        return Ok(());
    }
    Err(Failure::new(Code::Internal, format!("image {} exists already with another content", image.image)))
}

/// The manifest of an image; `None` if it was never registered, or deleted.
pub async fn load(store: &BlockStore, image: &ImageId) -> Result<Option<ImageManifest>, Failure> {
    let path = path_of(image);
    let Some(object) = store.get(&path, MAX_MANIFEST).await? else {
        return Ok(None);
    };
    let key = envelope::key_of(Kind::Image, &object).map_err(|damage| damage.of(&path))?;
    let store = store.reading(&key, 1, &path).await?;
    let manifest: ImageManifest =
        envelope::open(Kind::Image, store.keys(), &object).map_err(|damage| damage.of(&path))?;
    if manifest.image != *image {
        return Err(Damage::Field { part: "the manifest", field: "image id" }.of(&path));
    }
    Ok(Some(manifest))
}

/// Ids of all registered images.
pub async fn list(store: &BlockStore) -> Result<Vec<ImageId>, Failure> {
    Ok(store.list("images").await?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Removes an image's manifest; its snapshots stay. Repeatable.
pub async fn delete(store: &BlockStore, image: &ImageId) -> Result<(), Failure> {
    store.delete(&path_of(image)).await
}

/// Whether both are the image of the same run; the moment of registering may differ between two attempts.
fn is_same(a: &ImageManifest, b: &ImageManifest) -> bool {
    (&a.job, &a.run, &a.server_name, &a.volumes) == (&b.job, &b.run, &b.server_name, &b.volumes)
}

fn path_of(image: &ImageId) -> Path {
    Path::from(format!("images/{image}"))
}
