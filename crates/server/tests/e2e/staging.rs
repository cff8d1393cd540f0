//! The store gives back what nothing needs any more, and nothing else.

use crate::daemon::Daemon;
use crate::service::Service;
use crate::testbed::{self, Random};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MIB: u64 = 1 << 20;

/// Kills at most, until one of them hits a sweep at work.
const KILLS: usize = 12;

/// Bytes of all packs below `folder`.
fn pack_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            bytes += pack_bytes(&entry.path());
        } else if entry.file_name().to_string_lossy().starts_with("pack-") {
            // It may be gone since the folder was read.
            bytes += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    bytes
}

fn image_of(run: &Value) -> String {
    run["image_id"].as_str().unwrap_or_else(|| panic!("no image in {run:#}")).to_owned()
}

/// A daemon and a service with two images, the second of which shares a quarter of its blocks with the first, scattered.
fn two_images(folder: &Path) -> (Daemon, Service, [Value; 2]) {
    let daemon = Daemon::start(folder, &[64 * MIB]);
    let mut random = Random::new(5);
    daemon.write_bytes(0, 0, &random.bytes(48 << 20));
    let service = Service::start(&folder.join("data"));
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let first = service.completed(&service.newest_run(&job));
    let writes: Vec<_> = (0..768).filter(|n| n % 4 != 0).map(|n| (n * 65536, 1 + (n % 250) as u8, 65536)).collect();
    daemon.write(0, &writes);
    daemon.reference(0, &folder.join("truth.raw"));
    let second = service.completed(&service.start_run(&job));
    (daemon, service, [first, second])
}

fn equals_the_source(service: &Service, run: &Value, folder: &Path) {
    let copy = folder.join("copy.raw");
    let _ = std::fs::remove_file(&copy);
    service.export(run, 0, &copy);
    testbed::assert_same_bytes(&copy, &folder.join("truth.raw"));
    service.cli(&["images", "verify", &image_of(run)]);
}

#[test]
fn deleting_an_image_gives_its_room_back_and_the_next_image_is_whole() {
    let folder = testbed::folder();
    let (daemon, service, [first, second]) = two_images(folder.path());
    let digest = second["volumes"][0]["root_digest"].clone();
    assert!(service.cli(&["store", "sweep", "--plan"]).contains("would free nothing"));
    assert!(service.cli(&["store", "sweeps"]).contains("No sweeps yet"));

    service.cli(&["images", "delete", &image_of(&first)]);
    let plan = testbed::wait("the deletion", Duration::from_secs(20), || {
        let plan = service.json(&["store", "sweep", "--plan"]);
        plan["repack_packs"].as_u64().filter(|packs| *packs > 0).map(|_| plan)
    });
    let before = pack_bytes(&service.data);
    assert!(plan["bytes_to_free"].as_u64().is_some_and(|bytes| bytes > 30 * MIB), "{plan:#}");
    let shown = service.cli(&["store", "sweep", "--plan"]);
    assert!(shown.contains("by repacking") && shown.contains("Nothing was changed"), "{shown}");
    assert_eq!(pack_bytes(&service.data), before, "a preview changes nothing");

    let said = service.cli(&["store", "sweep"]);
    assert!(said.contains("freed") && said.contains("moved"), "{said}");
    let after = pack_bytes(&service.data);
    assert!(after < before - 30 * MIB && after < 20 * MIB, "{before} bytes became {after}");
    equals_the_source(&service, &second, folder.path());
    let shown = service.show(second["run_id"].as_str().expect("an id"));
    assert_eq!(shown["volumes"][0]["root_digest"], digest);
    let store = service.json(&["store", "show"]);
    assert_eq!(store["last_sweep"]["state"], "COMPLETED", "{store:#}");
    assert_eq!(store["content"]["all"]["bytes"], after, "{store:#}");
    assert!(service.cli(&["store", "show"]).contains("live"));

    // The next run builds on what was moved.
    let third = service.completed(&service.start_run(second["job_id"].as_str().expect("an id")));
    assert!(third["volumes"][0]["bytes_sent"].as_u64().is_some_and(|bytes| bytes < MIB), "{third:#}");
    equals_the_source(&service, &third, folder.path());

    // Without any image, nothing is left.
    service.cli(&["jobs", "delete", second["job_id"].as_str().expect("an id"), "--wait"]);
    for run in [&second, &third] {
        service.cli(&["images", "delete", &image_of(run)]);
    }
    testbed::wait("the room of all images", Duration::from_secs(30), || {
        service.cli(&["store", "sweep"]);
        (pack_bytes(&service.data) == 0).then_some(())
    });
    drop(daemon);
    service.stop();
}

/// A sweep as it is listed.
fn sweep(service: &Service, id: &str) -> Value {
    let sweeps = service.json(&["store", "sweeps"]);
    let found = sweeps.as_array().and_then(|sweeps| sweeps.iter().find(|sweep| sweep["sweep_id"] == id));
    found.unwrap_or_else(|| panic!("no {id} in {sweeps:#}")).clone()
}

/// Lets a service over `data` sweep and kills it while that is shown to be at work. Gives the service that follows, and
/// the sweep as it ended there; `None` if it had ended before the kill came.
fn killed_at_work(data: &Path) -> Option<(Service, Value)> {
    let service = Service::start(data);
    let id = service.json(&["store", "sweep", "--detach"])["sweep_id"].as_str().expect("an id").to_owned();
    testbed::wait("the sweep to begin", Duration::from_secs(20), || {
        let sweep = sweep(&service, &id);
        (sweep["state"] != "RUNNING" || sweep["progress"].is_object()).then_some(())
    });
    service.kill();
    let killed_at = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let service = Service::start(data);
    let sweep = testbed::wait("the end of the sweep", Duration::from_secs(60), || {
        Some(sweep(&service, &id)).filter(|sweep| sweep["state"] != "RUNNING")
    });
    assert_eq!(sweep["state"], "COMPLETED", "{sweep:#}");
    let ended_at = sweep["ended_on"].as_f64().expect("it ended");
    eprintln!("the sweep ended {:.3} s after the kill", ended_at - killed_at);
    (ended_at > killed_at).then_some((service, sweep))
}

#[test]
fn a_sweep_goes_on_after_the_service_was_killed() {
    let folder = testbed::folder();
    let (_daemon, service, [first, second]) = two_images(folder.path());
    service.cli(&["images", "delete", &image_of(&first)]);
    testbed::wait("the deletion", Duration::from_secs(20), || {
        let plan = service.json(&["store", "sweep", "--plan"]);
        plan["repack_packs"].as_u64().filter(|packs| *packs > 0)
    });
    let unswept = service.data.clone();
    service.stop();

    // A sweep may end between a look at it and the kill: then another one does, over the same data.
    let (service, sweep) = (0..KILLS)
        .find_map(|n| {
            let data = folder.path().join(format!("data-{n}"));
            testbed::run("cp", &["-a", &unswept.display().to_string(), &data.display().to_string()]);
            killed_at_work(&data)
        })
        .unwrap_or_else(|| panic!("each of {KILLS} sweeps had ended before the kill came"));
    assert!(sweep["packs_freed"].as_u64().is_some_and(|packs| packs > 0), "{sweep:#}");
    equals_the_source(&service, &second, folder.path());
    service.cli(&["store", "sweep"]);
    equals_the_source(&service, &second, folder.path());
    // What the killed attempt had put and nothing names is kept until it is old: at most what is live.
    let left = pack_bytes(&service.data);
    assert!(left < 40 * MIB, "{left}");
    service.stop();
}
