//! What is stored and read for small changes.

use crate::stage::{Book, Volume, noise, objects, open, request, run};
use godwit_blocks::block::BlockSize;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::sync::Arc;

const BLOCK: usize = 64 << 10;

async fn stored(objects_store: &Arc<dyn ObjectStore>) -> u64 {
    objects(&**objects_store).await.iter().map(|(_, size)| size).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_changed_costs_less_than_eight_kibibytes() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 16 << 20).await;
    let mut disk = vec![0; 200 << 20];
    for at in (0..disk.len()).step_by(10 << 20) {
        disk[at..at + 2_000_000].copy_from_slice(&noise(at as u64, 2_000_000));
    }
    let first = request(1, disk.len() as u64, BlockSize::DEFAULT);
    run(&store, &first, &Arc::new(Volume::new(disk.clone())), &Book::default()).await.unwrap();
    let mut before = stored(&objects).await;
    let tracked = Volume::since(disk.clone(), &disk);
    for (n, volume) in [(2, tracked), (3, Volume::new(disk.clone()))] {
        let is_tracked = volume.base.is_some();
        let volume = Arc::new(volume);
        let mut request = request(n, disk.len() as u64, BlockSize::DEFAULT);
        request.parent = Some(first.snapshot.clone());
        let done = run(&store, &request, &volume, &Book::default()).await.unwrap();
        let after = stored(&objects).await;
        assert!(after - before <= 8 << 10, "{} bytes", after - before);
        assert_eq!(done.figures.bytes_stored, after - before, "figures tell what the store holds");
        assert_eq!(done.figures.bytes_sent, after - before);
        assert_eq!(volume.bytes_read() == 0, is_tracked);
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scattered_changes_cost_two_percent_more_than_themselves() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(objects.clone(), 1, 16 << 20).await;
    // Full of blocks that differ and compress to nearly nothing: pages are as large as they get, packs are small.
    let mut disk = vec![0; 256 << 20];
    for (n, block) in disk.chunks_exact_mut(BLOCK).enumerate() {
        block.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&(n as u64 + 1).to_le_bytes()));
    }
    let first = request(1, disk.len() as u64, BlockSize::DEFAULT);
    run(&store, &first, &Arc::new(Volume::new(disk.clone())), &Book::default()).await.unwrap();
    let before = stored(&objects).await;

    let base = disk.clone();
    let n_blocks = disk.len() / BLOCK;
    let n_changes = n_blocks / 20;
    for n in 0..n_changes {
        let at = n * 20 + n * 7 % 20;
        disk[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(&noise(n as u64, BLOCK));
    }
    let changed = (n_changes * BLOCK) as u64;
    let mut second = request(2, disk.len() as u64, BlockSize::DEFAULT);
    second.parent = Some(first.snapshot);
    let volume = Arc::new(Volume::since(disk.clone(), &base));
    let done = run(&store, &second, &volume, &Book::default()).await.unwrap();
    let cost = stored(&objects).await - before;
    assert!(cost >= changed && cost <= changed + changed / 50, "{cost} bytes for {changed}");
    assert_eq!(volume.bytes_read(), changed);
    assert_eq!(done.figures.bytes_stored, cost);
}

#[tokio::test]
async fn reads_are_joined_to_a_megabyte() {
    let store = open(Arc::new(InMemory::new()), 1, 16 << 20).await;
    let volume = Arc::new(Volume::new(noise(1, 10 << 20)));
    run(&store, &request(1, 10 << 20, BlockSize::DEFAULT), &volume, &Book::default()).await.unwrap();
    assert_eq!(volume.ranges.lock().unwrap().len(), 10);
}
