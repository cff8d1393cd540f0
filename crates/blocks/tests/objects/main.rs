//! What the data line needs of an object store, shown on each kind of it: in memory, in a folder, and on a server that
//! speaks S3, also when that throttles, loses answers, cuts bodies short and lists what was long ago.
#![allow(clippy::unwrap_used)] // Tests: a panic is the report.

mod between;
mod cases;
mod faults;
mod power;
mod proxy;
mod seaweed;
#[path = "../line/stage.rs"]
#[expect(dead_code, reason = "what only the other tests of the data line play with")]
mod stage;
mod suite;

use godwit_blocks::store::{FolderStore, RemoteBounds, RemoteKeys, RemoteOptions, RemoteStore};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A server's bucket as this suite uses it, below a prefix of its own.
pub fn options(endpoint: &str, prefix: &str) -> RemoteOptions {
    let keys = RemoteKeys { id: seaweed::KEY.into(), secret: Zeroizing::new(seaweed::SECRET.into()), token: None };
    let bounds = RemoteBounds {
        request: Duration::from_secs(20),
        retries: 5,
        retry_for: Duration::from_secs(30),
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
    };
    RemoteOptions {
        bucket: seaweed::BUCKET.into(),
        prefix: prefix.into(),
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        path_style: true,
        keys: Arc::new(move || Ok(keys.clone())),
        owner: "0123abcd".into(),
        bounds,
    }
}

async fn play(objects: impl AsyncFn(&str) -> Arc<dyn ObjectStore>, is_exact_for_large: bool) {
    suite::objects_are_created_once(&*objects("once").await).await;
    suite::parts_of_objects_are_given(&*objects("parts").await).await;
    suite::lists_tell_what_is_there(&*objects("lists").await).await;
    suite::what_is_deleted_is_gone(&*objects("gone").await).await;
    suite::large_objects_come_back(&*objects("large").await).await;
    suite::objects_are_replaced_as_they_were_read(&*objects("replaced").await).await;
    suite::one_of_many_replacements_wins(objects("replaced-at-once").await).await;
    suite::one_of_many_creations_wins(objects("race").await, is_exact_for_large).await;
    cases::a_volume_lives_and_is_swept(objects("line").await).await;
    cases::a_repack_replaces_nothing_that_it_has_not_read(objects("theirs").await).await;
    cases::a_repack_brings_back_nothing_that_was_deleted(objects("deleted").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_memory_holds_what_the_data_line_needs() {
    play(async |_: &str| Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_a_folder_holds_what_the_data_line_needs() {
    let folder = tempfile::tempdir().unwrap();
    play(
        async |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            Arc::new(FolderStore::open(&path, 0).unwrap()) as Arc<dyn ObjectStore>
        },
        true,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_an_s3_server_holds_what_the_data_line_needs() {
    let server = seaweed::Server::start();
    play(async |name: &str| RemoteStore::open(&options(&server.endpoint(), name), 1).await.unwrap(), false).await;
    play_without_prefix(&server).await;
}

/// A bucket of its own is a store, too.
async fn play_without_prefix(server: &seaweed::Server) {
    server.make_bucket("whole");
    let mut options = options(&server.endpoint(), "");
    options.bucket = "whole".into();
    let store = RemoteStore::open(&options, 1).await.unwrap();
    cases::a_volume_lives_and_is_swept(store.clone()).await;
    suite::objects_are_created_once(&*store).await;
}
