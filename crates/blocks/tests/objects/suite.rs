//! What the data line asks of an object store.

use crate::stage::noise;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, Result, UpdateVersion,
};
use std::sync::Arc;

/// Longer than what goes in one piece.
const LARGE: usize = (20 << 20) + 12_345;

pub async fn create(store: &dyn ObjectStore, path: &Path, content: impl Into<Bytes>) -> Result<PutResult> {
    store.put_opts(path, content.into().into(), PutOptions::from(PutMode::Create)).await
}

pub async fn content(store: &dyn ObjectStore, path: &Path) -> Bytes {
    store.get(path).await.unwrap().bytes().await.unwrap()
}

async fn range(store: &dyn ObjectStore, path: &Path, range: GetRange) -> Result<(Bytes, u64)> {
    let got = store.get_opts(path, GetOptions { range: Some(range), ..GetOptions::default() }).await?;
    let size = got.meta.size;
    Ok((got.bytes().await?, size))
}

pub async fn objects_are_created_once(store: &dyn ObjectStore) {
    let path = Path::from("packs/00/a");
    create(store, &path, "first").await.unwrap();
    for other in ["second", "first"] {
        let again = create(store, &path, other).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. } | Error::Precondition { .. })), "{again:?}");
    }
    assert_eq!(content(store, &path).await, "first");
    store.put_opts(&path, "third, and longer".into(), PutOptions::from(PutMode::Overwrite)).await.unwrap();
    assert_eq!(content(store, &path).await, "third, and longer");
    store.put_opts(&path, "4".into(), PutOptions::from(PutMode::Overwrite)).await.unwrap();
    assert_eq!(content(store, &path).await, "4");
}

async fn seen(store: &dyn ObjectStore, path: &Path) -> UpdateVersion {
    let meta = store.get(path).await.unwrap().meta;
    assert!(meta.e_tag.is_some(), "{meta:?}");
    UpdateVersion { e_tag: meta.e_tag, version: meta.version }
}

async fn replace(store: &dyn ObjectStore, path: &Path, content: Bytes, seen: UpdateVersion) -> Result<PutResult> {
    store.put_opts(path, content.into(), PutOptions::from(PutMode::Update(seen))).await
}

pub async fn objects_are_replaced_as_they_were_read(store: &dyn ObjectStore) {
    let path = Path::from("snapshots/a");
    create(store, &path, "first").await.unwrap();
    let first = seen(store, &path).await;
    replace(store, &path, "second".into(), first.clone()).await.unwrap();
    let second = seen(store, &path).await;
    for content in ["third", "fourth, and longer"] {
        let refused = replace(store, &path, content.into(), first.clone()).await;
        assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    }
    assert_eq!(content(store, &path).await, "second");
    replace(store, &path, "third".into(), second.clone()).await.unwrap();
    assert_eq!(content(store, &path).await, "third");
    store.delete(&path).await.unwrap();
    let refused = replace(store, &path, "fourth".into(), second).await;
    assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })), "what was deleted does not come back");
}

/// Several replace the same object at the same moment: exactly one wins.
pub async fn one_of_many_replacements_wins(store: Arc<dyn ObjectStore>) {
    for round in 0..8 {
        let path = Path::from(format!("snapshots/{round}"));
        create(&*store, &path, "first").await.unwrap();
        let first = seen(&*store, &path).await;
        let contents: Vec<Bytes> = (0..6).map(|n| noise(n, 700).into()).collect();
        let all = contents.iter().map(|content| {
            let (store, path, content, first) = (store.clone(), path.clone(), content.clone(), first.clone());
            tokio::spawn(async move { replace(&*store, &path, content, first).await })
        });
        let outcomes: Vec<_> = join_all(all).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        let winners: Vec<usize> = (0..contents.len()).filter(|n| outcomes[*n].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert!(matches!(outcome, Err(Error::Precondition { .. })), "{outcome:?}");
        }
        assert_eq!(content(&*store, &path).await, contents[winners[0]]);
    }
}

pub async fn parts_of_objects_are_given(store: &dyn ObjectStore) {
    let path = Path::from("packs/01/a");
    create(store, &path, "0123456789").await.unwrap();
    assert_eq!(store.head(&path).await.unwrap().size, 10);
    assert_eq!(range(store, &path, GetRange::Bounded(2..5)).await.unwrap(), ("234".into(), 10));
    assert_eq!(range(store, &path, GetRange::Suffix(4)).await.unwrap(), ("6789".into(), 10));
    assert_eq!(range(store, &path, GetRange::Suffix(40)).await.unwrap(), ("0123456789".into(), 10));
    // Beyond the end is what there is, or an error that is no missing object.
    match range(store, &path, GetRange::Bounded(8..20)).await {
        Ok((bytes, _)) => assert_eq!(bytes, "89"),
        Err(error) => assert!(!matches!(error, Error::NotFound { .. }), "{error}"),
    }
    match range(store, &path, GetRange::Bounded(30..40)).await {
        Ok((bytes, _)) => assert!(bytes.is_empty()),
        Err(error) => assert!(!matches!(error, Error::NotFound { .. }), "{error}"),
    }
    let missing = Path::from("packs/01/b");
    assert!(matches!(store.get(&missing).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.head(&missing).await, Err(Error::NotFound { .. })));
    assert!(matches!(range(store, &missing, GetRange::Suffix(1)).await, Err(Error::NotFound { .. })));
}

/// Lists until the list says what it is to say: it may be behind for a while.
async fn listed(store: &dyn ObjectStore, folder: &str, expected: &[(&str, u64)]) {
    let mut found = Vec::new();
    for _ in 0..600 {
        let objects: Vec<_> = store.list(Some(&Path::from(folder))).try_collect().await.unwrap();
        found = objects.iter().map(|object| (object.location.to_string(), object.size)).collect::<Vec<_>>();
        found.sort();
        if found.iter().map(|(name, size)| (name.as_str(), *size)).eq(expected.iter().copied()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{folder} lists {found:?} and not {expected:?}");
}

pub async fn lists_tell_what_is_there(store: &dyn ObjectStore) {
    for (name, content) in [("packs/00/a", "1"), ("packs/00/b", "22"), ("packs/01/c", "333"), ("snapshots/d", "")] {
        create(store, &Path::from(name), content).await.unwrap();
    }
    listed(store, "packs", &[("packs/00/a", 1), ("packs/00/b", 2), ("packs/01/c", 3)]).await;
    listed(store, "packs/00", &[("packs/00/a", 1), ("packs/00/b", 2)]).await;
    listed(store, "snapshots", &[("snapshots/d", 0)]).await;
    listed(store, "images", &[]).await;
    store.delete(&Path::from("packs/00/a")).await.unwrap();
    listed(store, "packs", &[("packs/00/b", 2), ("packs/01/c", 3)]).await;
}

pub async fn what_is_deleted_is_gone(store: &dyn ObjectStore) {
    let path = Path::from("images/a");
    create(store, &path, "content").await.unwrap();
    store.delete(&path).await.unwrap();
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    let again = store.delete(&path).await;
    assert!(matches!(again, Ok(()) | Err(Error::NotFound { .. })), "{again:?}");
    // The name is free again.
    create(store, &path, "other").await.unwrap();
    assert_eq!(content(store, &path).await, "other");
}

pub async fn large_objects_come_back(store: &dyn ObjectStore) {
    let path = Path::from("packs/ff/large");
    let large = Bytes::from(noise(5, LARGE));
    create(store, &path, large.clone()).await.unwrap();
    assert!(content(store, &path).await == large);
    let (end, size) = range(store, &path, GetRange::Suffix(100_000)).await.unwrap();
    assert!(end == large[LARGE - 100_000..] && size == LARGE as u64);
    // Across what went in pieces.
    let middle = (9 << 20) - 1000..(9 << 20) + 1000;
    let (bytes, _) = range(store, &path, GetRange::Bounded(middle.clone())).await.unwrap();
    assert!(bytes == large[middle.start as usize..middle.end as usize]);
    let again = create(store, &path, noise(6, LARGE)).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. } | Error::Precondition { .. })), "{again:?}");
    assert!(content(store, &path).await == large);
}

/// Several create one name at the same moment. That exactly one wins is needed of what several can want: keys and
/// manifests, which are small. Of what goes in parts it is enough that the object is that of one who was told so: such
/// names are random, and the server that we test with does not hold more.
pub async fn one_of_many_creations_wins(store: Arc<dyn ObjectStore>, is_exact_for_large: bool) {
    for (length, n, name) in
        [(64, 12, "packs/aa/small"), (4 << 20, 4, "packs/aa/most"), (10 << 20, 4, "packs/aa/large")]
    {
        let path = Path::from(name);
        let contents: Vec<Bytes> = (0..n).map(|n| noise(n, length).into()).collect();
        let creations = contents.iter().map(|content| {
            let (store, path, content) = (store.clone(), path.clone(), content.clone());
            tokio::spawn(async move { create(&*store, &path, content).await })
        });
        let outcomes: Vec<_> = join_all(creations).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        let winners: Vec<usize> = (0..n as usize).filter(|n| outcomes[*n].is_ok()).collect();
        let is_exact = is_exact_for_large || length < 9 << 20;
        assert!(if is_exact { winners.len() == 1 } else { !winners.is_empty() }, "{name}: {outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert!(matches!(outcome, Err(Error::AlreadyExists { .. } | Error::Precondition { .. })), "{outcome:?}");
        }
        let found = content(&*store, &path).await;
        assert!(winners.iter().any(|winner| found == contents[*winner]), "{name}");
    }
}
