//! A job is deleted while its run is at work.

use crate::daemon::Daemon;
use crate::liar::{Liar, Lie};
use crate::service::Service;
use crate::testbed::{self, Random};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 512 * MIB;

/// More than the first run reads, and less than the second one has to: that one surely is at work when its job goes.
const TOLD: u64 = 80 * MIB;

/// Every file below a folder, with its length.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        // What is being written has its name for a moment only.
        let Ok(meta) = entry.metadata() else { continue };
        match meta.is_dir() {
            true => found.extend(files(&entry.path())),
            false => drop(found.insert(entry.path().display().to_string(), meta.len())),
        }
    }
    found
}

/// Whether a file is a whole pack: what is being written has a mark in its name.
fn is_pack(file: &str) -> bool {
    file.contains("/pack-") && !file.contains('#')
}

#[test]
fn a_job_deleted_while_its_run_transfers_leaves_nothing_but_its_images() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[SIZE]);
    let mut random = Random::new(51);
    daemon.write_bytes(0, 0, &random.bytes(20 << 20));
    let truth = folder.path().join("truth.raw");
    daemon.reference(0, &truth);
    let machine = Liar::start(&daemon, &folder.path().join("silent.sock"), Lie::SilentAfter(TOLD));
    let service = Service::start(&folder.path().join("data"));
    service.associate(machine.qmp_socket());
    let job = service.create_job(&service.only_server());
    let first = service.completed(&service.newest_run(&job));
    let objects = service.data.join("objects");
    let before = files(&objects);

    daemon.write_bytes(0, 32 * MIB, &random.bytes(400 << 20));
    let run = service.start_run(&job);
    let at_work = testbed::wait("a transfer at work, part of which is in the store", Duration::from_secs(120), || {
        let shown = service.show(&run);
        assert!(matches!(shown["state"].as_str(), Some("PENDING" | "ACTIVE")), "{shown:#}");
        let reads = shown["volumes"][0]["bytes_read"].as_u64().is_some_and(|bytes| bytes > 0);
        let staged = files(&objects).keys().any(|file| is_pack(file) && !before.contains_key(file));
        (shown["stage"] == "Transferring" && reads && staged).then_some(shown)
    });
    assert!(daemon.left_behind().len() > 1, "the source is in use: {at_work:#}");

    service.cli(&["jobs", "delete", &job, "--wait"]);
    assert_eq!(service.json(&["jobs", "show", &job])["state"], "DELETED");
    let ended = service.show(&run);
    assert_eq!((&ended["state"], ended.get("image_id")), (&"DELETED".into(), None), "{ended:#}");
    assert_eq!(daemon.left_behind(), Vec::<String>::new(), "nothing is left at the source");
    assert_eq!(files(&objects), before, "what was staged is gone, what the image needs is not");

    service.cli(&["images", "verify", first["image_id"].as_str().expect("an image")]);
    let copy = folder.path().join("copy.raw");
    service.export(&first, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
    service.stop();
}
