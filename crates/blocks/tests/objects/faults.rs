//! A server that throttles, loses answers, cuts bodies short, forbids and lists what was long ago; and servers that are
//! no store for us.

use crate::cases::{
    BLOCK, PACK, SIZE, check, delete_first, first_snapshot, known, mostly_changed, packs, second_snapshot, sweep,
};
use crate::options;
use crate::proxy::{Fault, Proxy, Rule, When};
use crate::seaweed::{READER, Server};
use crate::stage::{Book, Volume, noise, open, request, run, snapshot_id};
use crate::suite;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::snapshot;
use godwit_blocks::store::{BlockStore, RemoteError, RemoteOptions, RemoteStore};
use godwit_blocks::sweep::Claims;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::failure::Code;
use godwit_model::key::first_key;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use std::collections::HashSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn rule(method: &'static str, part: &'static str, when: When, fault: Fault) -> Rule {
    Rule { method, part, when, fault }
}

fn once() -> When {
    When::OncePerName(HashSet::new())
}

/// A store behind a proxy, below a prefix of its own.
struct Scene {
    proxy: Proxy,
    objects: Arc<dyn ObjectStore>,
    model: Vec<u8>,
}

impl Scene {
    async fn new(server: &Server, name: &str) -> Scene {
        let proxy = Proxy::before(server.address()).await;
        let objects = RemoteStore::open(&options(&proxy.endpoint(), name), 1).await.unwrap();
        Scene { proxy, objects, model: noise(1, SIZE) }
    }

    async fn store(&self, seed: u64) -> BlockStore {
        open(self.objects.clone(), seed, PACK).await
    }

    /// A first copy, and what it kept a book of.
    async fn copy(&self, n: u128) -> (Result<(), Code>, BlockStore, Book) {
        let (store, book) = (self.store(n as u64).await, Book::default());
        let volume = Arc::new(Volume::new(self.model.clone()));
        let done = run(&store, &request(n, SIZE as u64, BLOCK), &volume, &book).await;
        (done.map(|_| ()).map_err(|failure| failure.code), store, book)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_line_stands_what_a_server_does_to_it() {
    let server = Server::start();
    throttling_is_waited_out(Scene::new(&server, "a").await).await;
    throttling_without_end_is_told(Scene::new(&server, "b").await).await;
    lost_answers_are_found_again(Scene::new(&server, "c").await).await;
    lost_answers_of_large_objects_are_found_again(Scene::new(&server, "d").await).await;
    what_another_made_is_not_taken_for_ours(Scene::new(&server, "e").await).await;
    a_replacement_whose_answer_is_lost_is_found_again(Scene::new(&server, "h").await).await;
    bodies_that_are_cut_short_are_asked_for_again(Scene::new(&server, "f").await).await;
    what_is_forbidden_is_told_at_once(Scene::new(&server, "g").await).await;
}

async fn throttling_is_waited_out(scene: Scene) {
    let rules = ["PUT", "GET", "DELETE"].map(|method| rule(method, "/", When::First(4), Fault::Throttle));
    scene.proxy.spoil(rules);
    let (done, store, _) = scene.copy(1).await;
    assert_eq!(done, Ok(()));
    check(&store, &snapshot_id(1), &scene.model).await;
    delete_first(&store).await;
    assert_eq!(snapshot::load(&store, &snapshot_id(1)).await.unwrap(), None);
    assert_eq!(scene.proxy.n_spoilt(Fault::Throttle), 12);
}

async fn throttling_without_end_is_told(scene: Scene) {
    let (_, store, _) = scene.copy(1).await;
    let before = packs(&*scene.objects).await;
    scene.proxy.spoil([rule("PUT", "/packs/", When::Always, Fault::Throttle)]);
    let (request, book) = (request(2, SIZE as u64, BLOCK), Book::default());
    let other = Arc::new(Volume::new(noise(2, SIZE)));
    let failure = run(&store, &request, &other, &book).await.unwrap_err();
    assert_eq!(failure.code, Code::StoreUnavailable);
    assert!(failure.evidence.contains("overloaded"), "{failure}");
    // It stopped at the first packs, two of which go at a time, and asked for each within bounds: three turns, each with
    // its retries.
    let asked = scene.proxy.n_spoilt(Fault::Throttle);
    assert!((6..=2 * 3 * 6).contains(&asked), "{asked} requests");
    assert!(book.durable.lock().unwrap().is_empty());
    assert_eq!(snapshot::load(&store, &request.snapshot).await.unwrap(), None);
    assert_eq!(packs(&*scene.objects).await, before);
    check(&store, &snapshot_id(1), &scene.model).await;

    scene.proxy.spoil([]);
    run(&store, &request, &other, &Book::default()).await.unwrap();
    check(&store, &request.snapshot, &other.content).await;
}

async fn lost_answers_are_found_again(scene: Scene) {
    scene.proxy.spoil([
        rule("PUT", "/", once(), Fault::LoseAnswer),
        rule("DELETE", "/", once(), Fault::LoseAnswer),
        rule("GET", "/", once(), Fault::LoseAnswer),
    ]);
    let (done, store, book) = scene.copy(1).await;
    assert_eq!(done, Ok(()));
    // Key, manifest and each pack: every one was there already when it was put again.
    let lost = scene.proxy.passed().iter().filter(|(method, _, fault)| method == "PUT" && fault.is_some()).count();
    assert_eq!(lost, book.begun.lock().unwrap().len() + 2);
    assert_eq!(book.durable.lock().unwrap().len(), book.begun.lock().unwrap().len());
    check(&store, &snapshot_id(1), &scene.model).await;
    delete_first(&store).await;
    assert_eq!(snapshot::load(&store, &snapshot_id(1)).await.unwrap(), None);
}

async fn lost_answers_of_large_objects_are_found_again(scene: Scene) {
    let path = Path::from("packs/00/large");
    let large = noise(3, 17 << 20);
    scene.proxy.spoil([
        rule("PUT", "partNumber=", once(), Fault::LoseAnswer),
        // Of the request that makes an object of the parts.
        rule("POST", "uploadId=", When::Always, Fault::LoseAnswer),
    ]);
    suite::create(&*scene.objects, &path, large.clone()).await.unwrap();
    assert!(suite::content(&*scene.objects, &path).await == large);
    let lost = |method| scene.proxy.passed().iter().filter(|(m, _, f)| m == method && f.is_some()).count();
    assert!(lost("PUT") == 2 && lost("POST") > 0, "{:?}", scene.proxy.passed());
}

async fn what_another_made_is_not_taken_for_ours(scene: Scene) {
    for (name, length) in [("packs/00/a", 1000), ("packs/00/b", 10 << 20)] {
        let path = Path::from(name);
        scene.proxy.spoil([]);
        suite::create(&*scene.objects, &path, noise(4, length)).await.unwrap();
        scene.proxy.spoil([
            rule("PUT", name, When::First(2), Fault::LoseAnswer),
            rule("POST", "uploadId=", When::First(2), Fault::LoseAnswer),
        ]);
        let refused = suite::create(&*scene.objects, &path, noise(5, length)).await;
        assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
        assert!(scene.proxy.n_spoilt(Fault::LoseAnswer) > 0);
        assert!(suite::content(&*scene.objects, &path).await == noise(4, length));
    }
}

/// Asked again, the server says that the object is another one by now: it is ours.
async fn a_replacement_whose_answer_is_lost_is_found_again(scene: Scene) {
    let (store, base) = (scene.store(1).await, scene.model.clone());
    let model = mostly_changed(&base, 2);
    first_snapshot(&store, &base).await;
    second_snapshot(&store, &base, &model).await;
    let released = delete_first(&store).await;
    scene.proxy.spoil([rule("PUT", "/snapshots/", When::First(1), Fault::LoseAnswer)]);
    let swept = sweep(&store, &Claims { released, ..known([snapshot_id(2)]) }).await.unwrap();
    assert_eq!((swept.repacked.snapshots, swept.left), (1, 0), "{swept:?}");
    assert_eq!(scene.proxy.n_spoilt(Fault::LoseAnswer), 1);
    check(&scene.store(2).await, &snapshot_id(2), &model).await;
}

async fn bodies_that_are_cut_short_are_asked_for_again(scene: Scene) {
    let (done, store, _) = scene.copy(1).await;
    assert_eq!(done, Ok(()));
    scene.proxy.spoil([rule("GET", "/packs/", once(), Fault::CutShort)]);
    check(&store, &snapshot_id(1), &scene.model).await;
    assert!(scene.proxy.n_spoilt(Fault::CutShort) > 3);

    // For ever: then the store is away, and not damaged.
    scene.proxy.spoil([rule("GET", "/packs/", When::Always, Fault::CutShort)]);
    let scope = Scope::Everything;
    let failure = verify(&store, &snapshot_id(1), scope, &|_, _| {}, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(failure.code, Code::StoreUnavailable, "{failure}");
}

async fn what_is_forbidden_is_told_at_once(scene: Scene) {
    let store = scene.store(1).await;
    scene.proxy.spoil([rule("PUT", "/packs/", When::Always, Fault::Forbid)]);
    let volume = Arc::new(Volume::new(scene.model.clone()));
    let failure = run(&store, &request(1, SIZE as u64, BLOCK), &volume, &Book::default()).await.unwrap_err();
    assert_eq!(failure.code, Code::StoreUnavailable);
    assert!(failure.evidence.contains("refuses access: AccessDenied, not now"), "{failure}");
    // Two packs go at a time, and none is asked for again.
    let passed = scene.proxy.passed();
    let asked: Vec<_> = passed.iter().filter(|(_, _, fault)| *fault == Some(Fault::Forbid)).map(|p| &p.1).collect();
    assert!(asked.len() == 1 || asked.len() == 2 && asked[0] != asked[1], "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_are_behind_cost_nothing_but_time() {
    let server = Server::start();
    for (name, part) in [("a", "list-type=2"), ("b", "snapshots"), ("c", "packs")] {
        let scene = Scene::new(&server, name).await;
        a_sweep_by_an_old_list_harms_nothing(scene, part).await;
    }
    a_version_of_a_key_that_is_not_listed_is_found(Scene::new(&server, "d").await).await;
}

/// Lists that hold `part` show what was before the second snapshot was made and the first one deleted.
async fn a_sweep_by_an_old_list_harms_nothing(scene: Scene, part: &'static str) {
    let store = scene.store(1).await;
    let base = scene.model.clone();
    let model = mostly_changed(&base, 2);
    first_snapshot(&store, &base).await;
    sweep(&store, &known([snapshot_id(1)])).await.unwrap();
    scene.proxy.remember_lists();
    second_snapshot(&store, &base, &model).await;
    let released = delete_first(&store).await;
    let claims = Claims { released, ..known([snapshot_id(2)]) };

    scene.proxy.spoil([rule("GET", part, When::Always, Fault::OldList)]);
    for _ in 0..2 {
        sweep(&store, &claims).await.unwrap();
        check(&store, &snapshot_id(2), &model).await;
    }
    assert!(scene.proxy.n_spoilt(Fault::OldList) > 0);

    // When lists have caught up, what was to go goes.
    scene.proxy.spoil([]);
    sweep(&store, &claims).await.unwrap();
    check(&scene.store(2).await, &snapshot_id(2), &model).await;
}

async fn a_version_of_a_key_that_is_not_listed_is_found(scene: Scene) {
    let store = scene.store(1).await;
    store.all_keys().await.unwrap();
    scene.proxy.remember_lists();
    scene.proxy.spoil([rule("GET", "list-type=2", When::Always, Fault::OldList)]);
    store.make_key(&first_key(), 2).await.unwrap();
    store.make_key(&first_key(), 3).await.unwrap();
    let store = store.under(&first_key()).await.unwrap();
    let request = request(1, SIZE as u64, BLOCK);
    run(&store, &request, &Arc::new(Volume::new(scene.model.clone())), &Book::default()).await.unwrap();
    assert_eq!(snapshot::load(&store, &request.snapshot).await.unwrap().unwrap().key_version, 3);
    check(&scene.store(2).await, &request.snapshot, &scene.model).await;
    assert!(scene.proxy.n_spoilt(Fault::OldList) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_no_store_for_us_is_refused_with_the_cause() {
    let server = Server::start();
    let good = options(&server.endpoint(), "refused");
    let refused = async |options: &RemoteOptions| RemoteStore::open(options, 1).await.err().unwrap();

    let error = refused(&RemoteOptions { bucket: "nobody".into(), ..good.clone() }).await;
    assert!(matches!(error, RemoteError::NoBucket { .. }), "{error}");
    for (id, secret) in [(READER, crate::seaweed::SECRET), (crate::seaweed::KEY, "wrong"), ("nobody", "wrong")] {
        let mut keys = (good.keys)().unwrap();
        (keys.id, keys.secret) = (id.into(), zeroize::Zeroizing::new(secret.into()));
        let error = refused(&RemoteOptions { keys: Arc::new(move || Ok(keys.clone())), ..good.clone() }).await;
        assert!(matches!(error, RemoteError::Denied { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains(crate::seaweed::SECRET), "{error}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refused(&RemoteOptions { endpoint: Some(format!("http://{nobody}")), ..good.clone() }).await;
    assert!(matches!(error, RemoteError::Unavailable { .. }), "{error}");

    // A server that replaces what it should refuse.
    let proxy = Proxy::before(server.address()).await;
    proxy.spoil([rule("PUT", "/", When::Always, Fault::Embellish)]);
    let error = refused(&options(&proxy.endpoint(), "refused")).await;
    assert!(matches!(error, RemoteError::NoConditions { .. }), "{error}");

    // One that does so with objects in parts only gets them whole.
    proxy.spoil([rule("POST", "uploadId=", When::Always, Fault::Embellish)]);
    let store = RemoteStore::open(&options(&proxy.endpoint(), "refused"), 1).await.unwrap();
    suite::large_objects_come_back(&*store).await;
    assert_eq!(proxy.n_spoilt(Fault::Embellish), 1, "but for the one that showed it, no object went in parts");

    // Nothing of it is left, and the store is that of one data folder.
    let left: Vec<_> = crate::stage::objects(&*store).await.into_iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(left, ["owner", "packs/ff/large"]);
    let error = refused(&RemoteOptions { owner: "another".into(), ..good.clone() }).await;
    assert!(matches!(&error, RemoteError::Taken { found, .. } if found == "0123abcd"), "{error}");

    // A bucket that goes while it is used holds no damaged objects: it is away.
    server.make_bucket("brief");
    let objects = RemoteStore::open(&RemoteOptions { bucket: "brief".into(), ..good }, 1).await.unwrap();
    let store = BlockStore::open(objects, &MasterKey::new([7; 32]), crate::stage::entropy(1)).await.unwrap();
    server.remove_bucket("brief");
    let failure = snapshot::load(&store, &snapshot_id(1)).await.unwrap_err();
    assert_eq!(failure.code, Code::StoreUnavailable, "{failure}");
    assert!(failure.evidence.contains("the bucket brief does not exist"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_put_that_is_dropped_are_removed() {
    let server = Server::start();
    let scene = Scene::new(&server, "a").await;
    scene.proxy.spoil([rule("PUT", "partNumber=2", When::Always, Fault::Throttle)]);
    let path = Path::from("packs/00/large");
    let put = suite::create(&*scene.objects, &path, noise(3, 17 << 20));
    let begun = async {
        while !scene.proxy.passed().iter().any(|(_, target, _)| target.contains("partNumber=2")) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = put => panic!("it cannot end"),
        () = begun => {}
    }
    // The put is dropped: its upload is ended by a request of its own.
    for _ in 0..600 {
        if scene.proxy.passed().iter().any(|(method, target, _)| method == "DELETE" && target.contains("uploadId=")) {
            assert!(matches!(scene.objects.get(&path).await, Err(Error::NotFound { .. })));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the parts were not removed: {:?}", scene.proxy.passed());
}
