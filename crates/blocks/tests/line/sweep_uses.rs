//! What a sweep tells of the keys that it uses.

use crate::stage::open;
use crate::sweep::{EARLY, LIMITS, PACK};
use crate::sweep_keys::Scene;
use godwit_blocks::store::BlockStore;
use godwit_blocks::sweep::{Claims, Course, Listed, execute, survey};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::KeyId;
use godwit_model::key::{KeyUse, Purpose};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::HashSet;
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The keys that a look used, and the whole sweep.
async fn uses(store: &BlockStore, claims: &Claims) -> (HashSet<KeyUse>, HashSet<KeyUse>) {
    let (all, cancel) = (Mutex::new(HashSet::new()), CancellationToken::new());
    let used = |used| {
        all.lock().unwrap().insert(used);
    };
    let course = Course { cancel: &cancel, used: &used };
    let listed = Listed::packs(store).await.unwrap();
    let found = survey(store, listed, claims, &LIMITS, EARLY, &|_, _| {}, course).await.unwrap();
    let looked = all.lock().unwrap().clone();
    execute(store, &found, &|_| {}, course).await.unwrap();
    (looked, all.into_inner().unwrap())
}

fn key(n: u128) -> KeyId {
    KeyId::from_bits(n)
}

fn decrypted(n: u128, version: u32) -> KeyUse {
    KeyUse::of(&key(n), version, Purpose::Decrypt)
}

fn encrypted(n: u128, version: u32) -> KeyUse {
    KeyUse::of(&key(n), version, Purpose::Encrypt)
}

fn refused(n: u128, code: Code) -> KeyUse {
    KeyUse { version: None, failure: Some(code), ..decrypted(n, 1) }
}

#[tokio::test]
async fn a_sweep_tells_each_key_with_which_it_decrypts_and_encrypts_and_in_which_versions() {
    let scene = Scene::new(&[key(77), key(78)], true).await;
    let (looked, all) = uses(&open(scene.objects.clone(), 2, PACK).await, &scene.claims()).await;
    let read = HashSet::from([decrypted(77, 1), decrypted(77, 2), decrypted(78, 1), decrypted(78, 2)]);
    assert_eq!(looked, read, "a look encrypts nothing");
    assert_eq!(all, &read | &HashSet::from([encrypted(77, 2), encrypted(78, 2)]));

    // What was emptied is gone from the next look on; nothing is repacked, so nothing is encrypted.
    let scene = Scene::new(&[key(77)], false).await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    let everything_in_use = Claims { in_use: scene.claims().snapshots, ..scene.claims() };
    assert_eq!(uses(&store, &everything_in_use).await.1, [decrypted(77, 1)].into());
}

#[tokio::test]
async fn a_sweep_tells_which_keys_it_was_refused() {
    let scene = Scene::new(&[key(77), key(78)], true).await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    store.set_key_enabled(&key(77), false);
    let read = HashSet::from([decrypted(78, 1), decrypted(78, 2)]);
    let (looked, all) = uses(&store, &scene.claims()).await;
    assert_eq!(looked, &read | &HashSet::from([refused(77, Code::KeyDisabled)]));
    assert_eq!(all, looked, "nothing is repacked as long as something cannot be read");
    store.set_key_enabled(&key(77), true);

    let version = Path::from(format!("keys/{}.2", key(77)));
    scene.objects.delete(&version).await.unwrap();
    let store = open(scene.objects.clone(), 3, PACK).await;
    let (looked, _) = uses(&store, &scene.claims()).await;
    let lost = HashSet::from([decrypted(77, 1), refused(77, Code::KeyUnavailable)]);
    assert_eq!(looked, &read | &lost);
}

/// The look went well; by the time of the repack the key may not be used any more.
#[tokio::test]
async fn a_repack_that_is_refused_a_key_tells_so() {
    let scene = Scene::new(&[key(77), key(78)], false).await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    let (all, cancel) = (Mutex::new(HashSet::new()), CancellationToken::new());
    let used = |used| {
        all.lock().unwrap().insert(used);
    };
    let course = Course { cancel: &cancel, used: &used };
    let listed = Listed::packs(&store).await.unwrap();
    let found = survey(&store, listed, &scene.claims(), &LIMITS, EARLY, &|_, _| {}, course).await.unwrap();
    store.set_key_enabled(&key(77), false);
    all.lock().unwrap().clear();
    execute(&store, &found, &|_| {}, course).await.unwrap();
    let refusal = KeyUse { purpose: Purpose::Encrypt, ..refused(77, Code::KeyDisabled) };
    assert_eq!(*all.lock().unwrap(), [refusal, decrypted(78, 1), encrypted(78, 1)].into());
}

/// What a sweep used before it failed is known as well.
#[tokio::test]
async fn a_sweep_that_is_stopped_has_told_what_it_used() {
    let scene = Scene::new(&[key(77)], false).await;
    let store = open(scene.objects.clone(), 2, PACK).await;
    let (all, cancel) = (Mutex::new(HashSet::new()), CancellationToken::new());
    let used = |used| {
        all.lock().unwrap().insert(used);
        cancel.cancel();
    };
    let listed = Listed::packs(&store).await.unwrap();
    let course = Course { cancel: &cancel, used: &used };
    let ended: Result<_, Failure> = survey(&store, listed, &scene.claims(), &LIMITS, EARLY, &|_, _| {}, course).await;
    assert_eq!(ended.unwrap_err().code, Code::Cancelled);
    assert_eq!(*all.lock().unwrap(), [decrypted(77, 1)].into());
}
