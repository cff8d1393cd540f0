//! Named keys: rotated in the middle of a chain of snapshots, side by side, disabled and enabled.

use crate::beside::Counted;
use crate::faults::{Fault, Faulty};
use crate::stage::{Book, Volume, content, noise, objects, open, request, run};
use futures::TryStreamExt;
use godwit_blocks::block::BlockSize;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::Replicated;
use godwit_blocks::snapshot;
use godwit_blocks::store::{BlockStore, MOST_VERSIONS};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, JobId, KeyId, RunId};
use godwit_model::key::first_key;
use godwit_model::time::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

const PACK: usize = 150_000;
const SIZE: usize = 5_000_000;
const BLOCK: BlockSize = BlockSize::MIN;

/// Generation `n` of a disk: each changes a little of the one before.
fn disk(n: u64) -> Vec<u8> {
    let mut disk = noise(1, SIZE);
    for generation in 1..=n {
        let at = generation as usize * 400_000;
        disk[at..at + 100_000].copy_from_slice(&noise(generation + 50, 100_000));
    }
    disk
}

/// Replicates generation `n` as snapshot `n`, incrementally to `parent`.
async fn replicated(store: &BlockStore, n: u64, parent: Option<u64>) -> Result<(Replicated, u64), Failure> {
    let mut wanted = request(n.into(), SIZE as u64, BLOCK);
    wanted.parent = parent.map(|parent| crate::stage::snapshot_id(parent.into()));
    let volume = Arc::new(match parent {
        Some(parent) => Volume::since(disk(n), &disk(parent)),
        None => Volume::new(disk(n)),
    });
    let done = run(store, &wanted, &volume, &Book::default()).await?;
    Ok((done, volume.bytes_read()))
}

async fn is_right(store: &BlockStore, n: u64) {
    let id = crate::stage::snapshot_id(n.into());
    assert!(content(store, &id).await.unwrap() == disk(n), "generation {n}");
    let verified = verify(store, &id, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap();
    assert!(verified.damaged.is_empty(), "{:?}", verified.first_problem);
}

async fn code_of(store: &BlockStore, n: u64) -> Code {
    let id = crate::stage::snapshot_id(n.into());
    let read = content(store, &id).await.unwrap_err();
    let verified = verify(store, &id, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(read.code, verified.code, "{read} {verified}");
    read.code
}

/// Format version of every pack, as its eighth byte says.
async fn pack_formats(objects: &dyn ObjectStore) -> Vec<u8> {
    let packs: Vec<Path> =
        objects.list(Some(&Path::from("packs"))).map_ok(|object| object.location).try_collect().await.unwrap();
    let mut formats = Vec::new();
    for pack in packs {
        formats.push(objects.get(&pack).await.unwrap().bytes().await.unwrap()[7]);
    }
    formats.sort_unstable();
    formats
}

#[tokio::test]
async fn a_rotation_in_the_middle_of_a_chain_changes_what_comes_after_and_nothing_before() {
    let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(held.clone(), 1, PACK).await;
    replicated(&store, 1, None).await.unwrap();
    let before = objects(&*held).await;
    assert_eq!(pack_formats(&*held).await.iter().collect::<BTreeSet<_>>(), [&1].into());

    store.make_key(&first_key(), 2).await.unwrap();
    assert_eq!(store.all_keys().await.unwrap(), [(first_key(), 2)].into());
    let rotated = store.under(&first_key()).await.unwrap();
    let (second, bytes_read) = replicated(&rotated, 2, Some(1)).await.unwrap();
    assert!(second.notes.is_empty(), "{:?}", second.notes);
    assert!(bytes_read < 250_000, "a rotation makes nothing be read again: {bytes_read}");
    assert_eq!(second.key_version, 2);
    assert!(pack_formats(&*held).await.contains(&2));
    store.make_key(&first_key(), 3).await.unwrap();
    let (third, _) = replicated(&store.under(&first_key()).await.unwrap(), 3, Some(2)).await.unwrap();
    assert_eq!(third.key_version, 3);

    let after = objects(&*held).await;
    assert!(before.iter().all(|object| after.contains(object)), "nothing is rewritten");
    for opened in [store, rotated, open(held.clone(), 9, PACK).await] {
        for n in 1..=3 {
            is_right(&opened, n).await;
        }
    }

    // The same content has the same digest, whichever version it is under.
    let (again, _) = replicated(&open(held.clone(), 10, PACK).await, 4, Some(3)).await.unwrap();
    let fresh: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let key = held.get(&Path::from(format!("keys/{}", first_key()))).await.unwrap().bytes().await.unwrap();
    fresh.put(&Path::from(format!("keys/{}", first_key())), PutPayload::from_bytes(key)).await.unwrap();
    let (unrotated, _) = replicated(&open(fresh, 11, PACK).await, 4, None).await.unwrap();
    assert_eq!(again.root_digest, unrotated.root_digest);
}

#[tokio::test]
async fn a_version_that_is_missing_or_another_one_is_told() {
    let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(held.clone(), 1, PACK).await;
    replicated(&store, 1, None).await.unwrap();
    store.make_key(&first_key(), 2).await.unwrap();
    replicated(&store.under(&first_key()).await.unwrap(), 2, Some(1)).await.unwrap();
    let path = Path::from(format!("keys/{}.2", first_key()));
    let object = held.get(&path).await.unwrap().bytes().await.unwrap();

    held.delete(&path).await.unwrap();
    let without = open(held.clone(), 2, PACK).await;
    is_right(&without, 1).await;
    let failure = snapshot::load(&without, &crate::stage::snapshot_id(2)).await.unwrap_err();
    assert_eq!(failure.code, Code::KeyUnavailable, "{failure}");
    assert!(failure.evidence.contains("version 2 of key-"), "{failure}");

    // Another version's object in its place, and one that is damaged.
    let mut damaged = object.to_vec();
    damaged[50] ^= 1;
    for wrong in
        [held.get(&Path::from(format!("keys/{}", first_key()))).await.unwrap().bytes().await.unwrap(), damaged.into()]
    {
        held.put(&path, PutPayload::from_bytes(wrong)).await.unwrap();
        let master = MasterKey::new([7; 32]);
        let opened = BlockStore::open(held.clone(), &master, crate::stage::entropy(3)).await;
        assert_eq!(opened.err().unwrap().code, Code::StoreCorrupt);
    }
    held.put(&path, PutPayload::from_bytes(object)).await.unwrap();
    is_right(&open(held, 4, PACK).await, 2).await;
}

#[tokio::test]
async fn key_domains_share_nothing_and_compare_nothing() {
    let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(held.clone(), 1, PACK).await;
    let key = KeyId::from_bits(77);
    assert_eq!(store.under(&key).await.err().unwrap().code, Code::KeyUnavailable);
    let (first, _) = replicated(&store, 1, None).await.unwrap();
    store.make_key(&key, 1).await.unwrap();
    let other = store.under(&key).await.unwrap();
    let (second, bytes_read) = replicated(&other, 2, Some(1)).await.unwrap();
    assert_eq!(bytes_read, SIZE as u64, "everything is read");
    assert!(second.notes[0].contains("encrypted with another key"), "{:?}", second.notes);
    let manifest = snapshot::load(&store, &second.snapshot).await.unwrap().unwrap();
    assert_eq!((&manifest.key, &manifest.parent), (&key, &None));
    // The digest of the same content tells nobody without the key that it is the same.
    for (n, keyed, is_same) in [(10, &store, true), (11, &other, false)] {
        let volume = Arc::new(Volume::new(disk(1)));
        let copied = run(keyed, &request(n, SIZE as u64, BLOCK), &volume, &Book::default()).await.unwrap();
        assert_eq!(copied.root_digest == first.root_digest, is_same);
    }
    let (third, bytes_read) = replicated(&other, 3, Some(2)).await.unwrap();
    assert!(bytes_read < 250_000 && third.notes.is_empty(), "from then on it is incremental: {bytes_read}");

    // Whatever handle of the store is asked reads all of it.
    for opened in [store.clone(), other.clone(), open(held.clone(), 2, PACK).await] {
        for n in 1..=3 {
            is_right(&opened, n).await;
        }
    }
    let image = ImageManifest {
        image: ImageId::from_bits(8),
        job: JobId::from_bits(2),
        run: RunId::from_bits(3),
        server_name: "web-1".to_owned(),
        volumes: vec![ImageVolume { device: "vda".to_owned(), snapshot: third.snapshot.clone() }],
        created_at: Timestamp(5),
    };
    assert_eq!(image::register(&store, &image).await.unwrap_err().code, Code::Internal, "it is of another domain");
    image::register(&other, &image).await.unwrap();
    assert_eq!(image::load(&store, &image.image).await.unwrap(), Some(image));
    let again = run(&store, &request(3, SIZE as u64, BLOCK), &Arc::new(Volume::new(disk(3))), &Book::default()).await;
    assert_eq!(again.unwrap_err().code, Code::Internal, "a snapshot is not made twice under two keys");
}

#[tokio::test]
async fn a_disabled_key_is_of_no_use_until_it_is_enabled() {
    let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(held.clone(), 1, PACK).await;
    let key = KeyId::from_bits(77);
    store.make_key(&key, 1).await.unwrap();
    let other = store.under(&key).await.unwrap();
    replicated(&store, 1, None).await.unwrap();
    replicated(&other, 2, None).await.unwrap();
    let reader = SnapshotReader::open(&store, &crate::stage::snapshot_id(2)).await.unwrap();
    let somewhere = Extent::between(1_000_000, 1_100_000);
    reader.read(somewhere).await.unwrap();

    store.set_key_enabled(&key, false);
    assert_eq!(code_of(&store, 2).await, Code::KeyDisabled);
    assert_eq!(code_of(&other, 2).await, Code::KeyDisabled, "also for who held the key");
    assert_eq!(reader.read(somewhere).await.unwrap_err().code, Code::KeyDisabled);
    assert_eq!(replicated(&other, 3, Some(2)).await.unwrap_err().code, Code::KeyDisabled);
    assert_eq!(store.under(&key).await.err().unwrap().code, Code::KeyDisabled);
    is_right(&store, 1).await;
    assert_eq!(snapshot::list(&store).await.unwrap().len(), 2);
    // A parent of another key is not asked for, whether that is enabled or not.
    let (fourth, _) = replicated(&store, 4, Some(2)).await.unwrap();
    assert!(fourth.notes[0].contains("another key"), "{:?}", fourth.notes);

    store.set_key_enabled(&key, true);
    assert!(reader.read(somewhere).await.unwrap() == disk(2)[1_000_000..1_100_000]);
    is_right(&other, 2).await;
    replicated(&other, 3, Some(2)).await.unwrap();
    is_right(&store, 3).await;

    // Deleting needs no key.
    store.set_key_enabled(&key, false);
    snapshot::delete(&store, &crate::stage::snapshot_id(2)).await.unwrap();
    assert!(snapshot::load(&store, &crate::stage::snapshot_id(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_that_is_disabled_while_a_run_reads_stops_it() {
    let store = open(Arc::new(InMemory::new()), 1, PACK).await;
    let key = KeyId::from_bits(77);
    store.make_key(&key, 1).await.unwrap();
    let other = store.under(&key).await.unwrap();
    let progress = |figures: godwit_model::figures::VolumeFigures| {
        if figures.bytes_done > SIZE as u64 / 2 {
            store.set_key_enabled(&key, false);
        }
    };
    let (wanted, volume) = (request(1, SIZE as u64, BLOCK), Arc::new(Volume::new(disk(1))));
    let cancel = CancellationToken::new();
    let outcome =
        godwit_blocks::replicate::replicate(&other, &wanted, volume, &Book::default(), &progress, &cancel).await;
    assert_eq!(outcome.unwrap_err().code, Code::KeyDisabled);
    assert!(snapshot::list(&store).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_staged_before_a_rotation_is_used_after_it() {
    for n in [1, 8, 20] {
        let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        open(held.clone(), 1, PACK).await;
        let (mut wanted, book) = (request(1, SIZE as u64, BLOCK), Book::default());
        let dying = open(Faulty::after_puts(held.clone(), n, Fault::Lost), 2, PACK).await;
        run(&dying, &wanted, &Arc::new(Volume::new(disk(1))), &book).await.unwrap_err();

        let store = open(held.clone(), 3, PACK).await;
        store.make_key(&first_key(), 2).await.unwrap();
        wanted.staged = book.staged(&store, true).await;
        let volume = Arc::new(Volume::new(disk(1)));
        let done = run(&store.under(&first_key()).await.unwrap(), &wanted, &volume, &book).await.unwrap();
        assert!(done.unused.is_empty() && done.notes.is_empty(), "{done:?}");
        assert_eq!(done.key_version, 2);
        assert!(n < 8 || volume.bytes_read() < SIZE as u64, "what was durable is not read again");
        let formats: BTreeSet<u8> = pack_formats(&*held).await.into_iter().collect();
        assert_eq!(formats, [1, 2].into(), "the packs of one snapshot lie under two versions");
        is_right(&open(held, 4, PACK).await, 1).await;
    }
}

#[tokio::test]
async fn what_was_staged_under_another_key_is_not_used() {
    let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    open(held.clone(), 1, PACK).await;
    let (mut wanted, book) = (request(1, SIZE as u64, BLOCK), Book::default());
    let dying = open(Faulty::after_puts(held.clone(), 8, Fault::Lost), 2, PACK).await;
    run(&dying, &wanted, &Arc::new(Volume::new(disk(1))), &book).await.unwrap_err();
    let store = open(held.clone(), 3, PACK).await;
    store.make_key(&KeyId::from_bits(77), 1).await.unwrap();
    wanted.staged = book.staged(&store, true).await;
    assert!(!wanted.staged.is_empty());
    let volume = Arc::new(Volume::new(disk(1)));
    let done = run(&store.under(&KeyId::from_bits(77)).await.unwrap(), &wanted, &volume, &book).await.unwrap();
    assert_eq!(volume.bytes_read(), SIZE as u64);
    assert_eq!(done.unused.len(), wanted.staged.len());
    assert!(done.notes[0].contains("another key"), "{:?}", done.notes);
    is_right(&store, 1).await;
}

/// Whoever reads a key's versions while a new one is made must not keep the old ones for the newest.
#[tokio::test]
async fn a_rotation_while_the_key_is_read_counts_from_the_next_use_on() {
    let mut n_done = 0;
    for n in 0.. {
        let of_hook: Arc<OnceLock<BlockStore>> = Arc::default();
        let hook = {
            let of_hook = of_hook.clone();
            move || async move { of_hook.get().unwrap().make_key(&KeyId::from_bits(77), 3).await.unwrap() }
        };
        let counted = Counted::doing(Arc::new(InMemory::new()), i64::MAX, hook);
        let store = open(counted.clone(), 1, PACK).await;
        for version in 1..3 {
            store.make_key(&KeyId::from_bits(77), version).await.unwrap();
        }
        assert!(of_hook.set(store.clone()).is_ok());
        counted.after(n);
        store.under(&KeyId::from_bits(77)).await.unwrap();
        if !counted.is_over() {
            break;
        }
        n_done += 1;
        let rotated = store.under(&KeyId::from_bits(77)).await.unwrap();
        assert_eq!(replicated(&rotated, 1, None).await.unwrap().0.key_version, 3, "rotated at call {n}");
        is_right(&store, 1).await;
    }
    assert!(n_done > 2, "only {n_done} calls");
}

#[tokio::test]
async fn making_a_version_can_be_repeated_and_leaves_no_gap() {
    let held: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(held.clone(), 1, PACK).await;
    let key = KeyId::from_bits(77);
    let failure = store.make_key(&key, 2).await.unwrap_err();
    assert_eq!(failure.code, Code::KeyUnavailable, "version 1 is missing: {failure}");
    store.make_key(&key, 1).await.unwrap();
    let made = objects(&*held).await;
    store.make_key(&key, 1).await.unwrap();
    open(held.clone(), 2, PACK).await.make_key(&key, 1).await.unwrap();
    assert_eq!(objects(&*held).await, made);
    assert_eq!(store.make_key(&key, MOST_VERSIONS + 1).await.unwrap_err().code, Code::Internal);

    // Put, and the answer lost; or not put at all: the next attempt ends in the same state.
    for fault in [Fault::Lost, Fault::Ambiguous] {
        let next = store.all_keys().await.unwrap()[&key] + 1;
        let dying = open(Faulty::after_puts(held.clone(), 0, fault), 5, PACK).await;
        dying.make_key(&key, next).await.unwrap_err();
        store.make_key(&key, next).await.unwrap();
        assert_eq!(store.all_keys().await.unwrap()[&key], next);
    }
    let wrong = BlockStore::open(held, &MasterKey::new([8; 32]), crate::stage::entropy(3)).await;
    assert_eq!(wrong.err().unwrap().code, Code::KeyUnavailable);
}
