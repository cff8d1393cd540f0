//! Runs after the first: they cost what changed, and they never trust a change tracker that cannot be trusted.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 256 * MIB;

/// Bytes that an incremental run may read beyond the changed blocks, whatever their number: one block, if there is a hole
/// in the last one that did not change.
const CONSTANT: u64 = 65536;

struct Scene {
    folder: tempfile::TempDir,
    daemon: Option<Daemon>,
    service: Service,
    job: String,
    random: Random,
}

impl Scene {
    fn after_first_copy(seed: u64) -> Scene {
        let folder = testbed::folder();
        let daemon = Daemon::start(folder.path(), &[SIZE]);
        let mut random = Random::new(seed);
        daemon.write_bytes(0, 0, &random.bytes(40 << 20));
        let service = Service::start(&folder.path().join("data"));
        service.associate(&daemon.qmp_socket());
        let job = service.create_job(&service.only_server());
        service.completed(&service.newest_run(&job));
        Scene { folder, daemon: Some(daemon), service, job, random }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    /// One more run, whose image must equal the disk as it is now.
    fn run_and_compare(&self) -> Value {
        let truth = self.folder.path().join("truth.raw");
        self.daemon().reference(0, &truth);
        let run = self.service.completed(&self.service.start_run(&self.job));
        let copy = self.folder.path().join("copy.raw");
        let _ = std::fs::remove_file(&copy);
        self.service.export(&run, 0, &copy);
        testbed::assert_same_bytes(&copy, &truth);
        run
    }

    fn notes(run: &Value) -> String {
        run["volumes"][0]["notes"].to_string()
    }
}

#[test]
fn only_what_changed_is_read() {
    let mut scene = Scene::after_first_copy(10);
    let changed = scene.daemon.as_ref().expect("runs").scatter(0, 200, SIZE, &mut scene.random);
    let run = scene.run_and_compare();
    let read = figure(&run, 0, "bytes_read");
    assert!(read <= changed * 65536 + CONSTANT, "{read} bytes read for {changed} changed blocks");
    assert_eq!(run["volumes"][0]["tracked"], true, "{run:#}");

    let images = scene.service.json(&["images", "list"]);
    let id = |n: usize| images[n]["image_id"].as_str().unwrap_or_else(|| panic!("two images: {images:#}"));
    let (first, second) = (id(1), id(0));
    let compared = scene.service.json(&["images", "compare", first, second]);
    assert_eq!(compared["volumes"][0]["bytes_changed"], changed * 65536, "{compared:#}");
    let told = scene.service.cli(&["images", "compare", first, second]);
    assert!(told.contains("of it changed") && told.contains('░'), "{told}");
    let same = scene.service.cli(&["images", "compare", second, second]);
    assert!(same.contains("nothing has changed"), "{same}");

    let nothing = scene.run_and_compare();
    assert_eq!(figure(&nothing, 0, "bytes_read"), 0, "{nothing:#}");
    assert!(figure(&nothing, 0, "bytes_stored") <= 8192, "{nothing:#}");
    assert_eq!(nothing["volumes"][0]["root_digest"], run["volumes"][0]["root_digest"], "same content, same digest");
}

#[test]
fn a_killed_source_is_compared_block_by_block() {
    let mut scene = Scene::after_first_copy(11);
    let mut random = Random::new(111);
    scene.daemon().scatter(0, 20, SIZE, &mut random);
    scene.daemon.take().expect("runs").kill();
    scene.daemon = Some(Daemon::over(scene.folder.path(), 1));
    let run = scene.run_and_compare();
    assert_eq!(run["volumes"][0]["tracked"], false, "{run:#}");
    assert!(Scene::notes(&run).len() > 10, "the run says why it read everything: {run:#}");
    assert!(figure(&run, 0, "bytes_stored") < 4 * MIB, "compared, so only changes are stored: {run:#}");

    scene.daemon().scatter(0, 5, SIZE, &mut random);
    let next = scene.run_and_compare();
    assert_eq!(next["volumes"][0]["tracked"], true, "tracking works again: {next:#}");
    assert!(figure(&next, 0, "bytes_read") <= 5 * 65536, "{next:#}");
}

#[test]
fn an_orderly_restart_of_the_source_keeps_tracking() {
    let mut scene = Scene::after_first_copy(12);
    let mut random = Random::new(112);
    scene.daemon().scatter(0, 7, SIZE, &mut random);
    scene.daemon.take().expect("runs").stop();
    scene.daemon = Some(Daemon::over(scene.folder.path(), 1));
    scene.daemon().scatter(0, 7, SIZE, &mut random);
    let run = scene.run_and_compare();
    assert_eq!(run["volumes"][0]["tracked"], true, "{run:#}");
    assert!(figure(&run, 0, "bytes_read") <= 14 * 65536, "{run:#}");
}

#[test]
fn a_removed_bitmap_is_noticed() {
    let scene = Scene::after_first_copy(13);
    let mut random = Random::new(113);
    scene.daemon().scatter(0, 9, SIZE, &mut random);
    let bitmap = scene.daemon().left_behind().into_iter().next().expect("our bitmap");
    scene.daemon().qmp("block-dirty-bitmap-remove", json!({"node": "disk0", "name": bitmap}));
    let run = scene.run_and_compare();
    assert_eq!(run["volumes"][0]["tracked"], false, "{run:#}");
    assert!(Scene::notes(&run).contains("missing"), "{run:#}");
}

#[test]
fn a_resized_disk_is_replicated_at_its_new_size() {
    let scene = Scene::after_first_copy(14);
    scene.daemon().resize(0, SIZE + 64 * MIB);
    scene.daemon().write(0, &[(SIZE + 10 * MIB, 5, MIB)]);
    let run = scene.run_and_compare();
    assert_eq!(figure(&run, 0, "bytes_total"), SIZE + 64 * MIB, "{run:#}");
    assert!(figure(&run, 0, "bytes_stored") < 2 * MIB, "compared, so only the new part is stored: {run:#}");
}

#[test]
fn a_disk_that_was_cut_off_and_grew_again_is_compared() {
    let scene = Scene::after_first_copy(16);
    // Of the same size as before, and no bitmap tells that what was cut off is zeros now.
    scene.daemon().resize(0, 20 * MIB + 4096);
    scene.daemon().resize(0, SIZE);
    scene.daemon().write(0, &[(MIB, 5, 65536)]);
    let run = scene.run_and_compare();
    assert!(Scene::notes(&run).contains("cut off"), "{run:#}");
    let next = scene.run_and_compare();
    assert_eq!(
        (figure(&next, 0, "bytes_read"), Scene::notes(&next).as_str()),
        (0, "[]"),
        "tracking works again: {next:#}"
    );
}

#[test]
fn disks_come_and_go_between_runs() {
    let mut scene = Scene::after_first_copy(15);
    let second = scene.folder.path().join("disk1.qcow2").display().to_string();
    testbed::run("qemu-img", &["create", "-q", "-f", "qcow2", &second, "32M"]);
    scene.daemon.take().expect("runs").stop();
    scene.daemon = Some(Daemon::over(scene.folder.path(), 2));
    scene.daemon().write(1, &[(MIB, 4, MIB)]);
    let truth = scene.folder.path().join("truth1.raw");
    scene.daemon().reference(1, &truth);
    let run = scene.run_and_compare();
    assert_eq!(run["volumes"].as_array().map(Vec::len), Some(2), "{run:#}");
    assert_eq!(figure(&run, 0, "bytes_read"), 0, "the old disk is still tracked: {run:#}");
    let copy = scene.folder.path().join("copy1.raw");
    scene.service.export(&run, 1, &copy);
    testbed::assert_same_bytes(&copy, &truth);

    scene.daemon.take().expect("runs").stop();
    scene.daemon = Some(Daemon::over(scene.folder.path(), 1));
    let run = scene.run_and_compare();
    assert_eq!(run["volumes"].as_array().map(Vec::len), Some(1), "{run:#}");
}
