//! Equal blocks of different servers are stored once.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};
use std::path::Path;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 128 * MIB;

/// A server whose disk has `common` and, elsewhere, something of its own.
fn server(folder: &Path, common: &[u8], seed: u64) -> Daemon {
    std::fs::create_dir(folder).expect("a folder");
    let daemon = Daemon::start(folder, &[SIZE]);
    daemon.write_bytes(0, 0, common);
    daemon.write_bytes(0, 100 * MIB, &Random::new(seed).bytes(3 << 20));
    daemon
}

/// Copies the server that is newest in the catalog, and compares.
fn copy(service: &Service, daemon: &Daemon, folder: &Path, known: &[String]) -> (String, serde_json::Value) {
    service.associate(&daemon.qmp_socket());
    let servers = service.json(&["servers", "list"]);
    let ids = servers.as_array().expect("a list").iter().map(|server| server["server_id"].as_str().expect("an id"));
    let id = ids.map(str::to_owned).find(|id| !known.contains(id)).expect("a new server");
    let job = service.create_job(&id);
    let run = service.completed(&service.newest_run(&job));
    let (truth, copy) = (folder.join("truth.raw"), folder.join("copy.raw"));
    daemon.reference(0, &truth);
    service.export(&run, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
    (id, run)
}

#[test]
fn a_second_server_of_the_same_make_stores_only_what_is_its_own() {
    let folder = testbed::folder();
    let common = Random::new(1).bytes(24 << 20);
    let sources: Vec<_> = ["one", "two", "three"].iter().map(|name| folder.path().join(name)).collect();
    let data = folder.path().join("data");
    let service = Service::start(&data);
    let first = server(&sources[0], &common, 2);
    let (one, run) = copy(&service, &first, &sources[0], &[]);
    assert!(figure(&run, 0, "bytes_stored") > 27 * MIB, "{run:#}");

    let second = server(&sources[1], &common, 3);
    let (two, run) = copy(&service, &second, &sources[1], std::slice::from_ref(&one));
    let stored = figure(&run, 0, "bytes_stored");
    assert!((3 * MIB..4 * MIB).contains(&stored), "{run:#}");
    // Verified without a word about the first one's blocks: they were compared when they were found.
    let image = run["image_id"].as_str().expect("an image").to_owned();
    let job = run["job_id"].as_str().expect("a job").to_owned();

    // The first one goes, and everything that only it needed.
    let jobs = service.json(&["jobs", "list"]);
    let of_first = jobs.as_array().expect("a list").iter().find(|j| j["job_id"] != job.as_str()).expect("its job");
    let images = service.json(&["images", "list"]);
    let first_image = images.as_array().expect("a list").iter().find(|i| i["image_id"] != image.as_str());
    let first_image = first_image.expect("its image")["image_id"].as_str().expect("an id").to_owned();
    service.cli(&["jobs", "delete", of_first["job_id"].as_str().expect("an id"), "--wait"]);
    service.cli(&["images", "delete", &first_image]);
    let swept = service.cli(&["store", "sweep"]);
    assert!(swept.contains("freed"), "{swept}");
    service.cli(&["images", "verify", &image]);

    // A new process learns what is there before it is long at work.
    service.stop();
    let service = Service::start(&data);
    let third = server(&sources[2], &common, 4);
    let (_, run) = copy(&service, &third, &sources[2], &[one, two]);
    let stored = figure(&run, 0, "bytes_stored");
    assert!((3 * MIB..4 * MIB).contains(&stored), "{run:#}");
    service.cli(&["images", "verify", run["image_id"].as_str().expect("an image")]);
}
