//! Registering, listing and deleting images and snapshots.

use crate::stage::{Book, Volume, noise, open, request, run, snapshot_id};
use godwit_blocks::block::BlockSize;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::snapshot;
use godwit_model::failure::Code;
use godwit_model::id::{ImageId, JobId, RunId};
use godwit_model::time::Timestamp;
use object_store::memory::InMemory;
use std::sync::Arc;

fn manifest() -> ImageManifest {
    ImageManifest {
        image: ImageId::from_bits(8),
        job: JobId::from_bits(2),
        run: RunId::from_bits(1),
        server_name: "web-1".to_owned(),
        volumes: vec![ImageVolume { device: "vda".to_owned(), snapshot: snapshot_id(1) }],
        created_at: Timestamp(5),
    }
}

#[tokio::test]
async fn an_image_registered_twice_is_one_image_and_deleted_twice_is_gone() {
    let store = open(Arc::new(InMemory::new()), 1, 1 << 20).await;
    let early = image::register(&store, &manifest()).await.unwrap_err();
    assert_eq!(early.code, Code::StoreCorrupt, "its snapshot is not committed");
    let size = 100_000;
    run(&store, &request(1, size, BlockSize::MIN), &Arc::new(Volume::new(noise(1, size as usize))), &Book::default())
        .await
        .unwrap();
    image::register(&store, &manifest()).await.unwrap();
    image::register(&store, &ImageManifest { created_at: Timestamp(6), ..manifest() }).await.unwrap();
    assert_eq!(image::list(&store).await.unwrap(), [manifest().image]);
    assert_eq!(snapshot::list(&store).await.unwrap(), [snapshot_id(1)]);
    assert_eq!(image::load(&store, &manifest().image).await.unwrap(), Some(manifest()));

    let other = ImageManifest { server_name: "web-2".to_owned(), ..manifest() };
    assert_eq!(image::register(&store, &other).await.unwrap_err().code, Code::Internal);
    let stranger = ImageManifest { run: RunId::from_bits(9), ..manifest() };
    assert_eq!(image::register(&store, &stranger).await.unwrap_err().code, Code::Internal);

    for _ in 0..2 {
        image::delete(&store, &manifest().image).await.unwrap();
        snapshot::delete(&store, &snapshot_id(1)).await.unwrap();
    }
    assert_eq!(image::load(&store, &manifest().image).await.unwrap(), None);
    assert_eq!(snapshot::load(&store, &snapshot_id(1)).await.unwrap(), None);
    assert!(image::list(&store).await.unwrap().is_empty() && snapshot::list(&store).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_snapshot_id_belongs_to_one_volume_of_one_run() {
    let store = open(Arc::new(InMemory::new()), 1, 1 << 20).await;
    let first = request(1, 50_000, BlockSize::MIN);
    let volume = Arc::new(Volume::new(noise(1, 50_000)));
    run(&store, &first, &volume, &Book::default()).await.unwrap();
    let mut other = first.clone();
    other.device = "vdb".to_owned();
    assert_eq!(run(&store, &other, &volume, &Book::default()).await.unwrap_err().code, Code::Internal);
}
