//! Named keys, from the command line down to the bytes of the store: rotated, changed, disabled, enabled.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 64 * MIB;

struct Scene {
    folder: tempfile::TempDir,
    daemon: Daemon,
    service: Service,
    random: Random,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let folder = testbed::folder();
        let daemon = Daemon::start(folder.path(), &[SIZE]);
        let mut random = Random::new(seed);
        daemon.write_bytes(0, 0, &random.bytes(20 << 20));
        let service = Service::start(&folder.path().join("data"));
        service.associate(&daemon.qmp_socket());
        Scene { folder, daemon, service, random }
    }

    /// Changes a little, completes a run by `start`, and compares its image with the disk.
    fn next(&mut self, start: impl FnOnce(&Service) -> String) -> Value {
        self.daemon.scatter(0, 20, SIZE, &mut self.random);
        let truth = self.folder.path().join("truth.raw");
        self.daemon.reference(0, &truth);
        let run = start(&self.service);
        let run = self.service.completed(&run);
        self.equals(&run, &truth);
        run
    }

    fn equals(&self, run: &Value, truth: &Path) {
        let copy = self.folder.path().join("copy.raw");
        let _ = std::fs::remove_file(&copy);
        self.service.export(run, 0, &copy);
        testbed::assert_same_bytes(&copy, truth);
    }

    fn verifies(&self, run: &Value) {
        self.service.cli(&["images", "verify", image(run)]);
    }
}

fn image(run: &Value) -> &str {
    run["image_id"].as_str().unwrap_or_else(|| panic!("no image in {run:#}"))
}

fn refused(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Moves the schedule to now, and gives the run that begins.
fn scheduled_now(service: &Service, job: &str, more: &[&str]) -> String {
    let before = service.newest_run(job);
    service.cli(&[&["jobs", "update", job, "--start", "now"], more].concat());
    testbed::wait("the next run to begin", Duration::from_secs(30), || {
        let newest = service.newest_run(job);
        (newest != before).then_some(newest)
    })
}

/// Format version of every pack in the store: 2 is "under a later version of its key".
fn pack_formats(data: &Path) -> Vec<u8> {
    let mut formats = Vec::new();
    for folder in std::fs::read_dir(data.join("objects/packs")).expect("packs") {
        for pack in std::fs::read_dir(folder.expect("a folder").path()).expect("a folder of packs") {
            formats.push(std::fs::read(pack.expect("a pack").path()).expect("a pack can be read")[7]);
        }
    }
    formats.sort_unstable();
    formats.dedup();
    formats
}

#[test]
fn a_key_is_created_used_rotated_disabled_and_enabled() {
    let mut scene = Scene::new(41);
    let key = scene.service.json(&["keys", "create", "--alias", "alias/payroll", "--description", "HR"]);
    let id = key["key_id"].as_str().expect("an id").to_owned();
    let server = scene.service.only_server();
    let job = scene.service.json(&["jobs", "create", "--server", &server, "--every", "12h", "--key", "alias/payroll"]);
    let job = job["job_id"].as_str().expect("an id").to_owned();
    let first = scene.service.completed(&scene.service.newest_run(&job));
    assert_eq!((&first["key_id"], &first["key_version"]), (&Value::from(id.as_str()), &Value::from(1)), "{first:#}");
    assert_eq!(pack_formats(&scene.service.data), [1]);
    let truth_of_first = scene.folder.path().join("first.raw");
    scene.daemon.reference(0, &truth_of_first);

    let rotated = scene.service.json(&["keys", "rotate", "alias/payroll"]);
    assert_eq!(rotated["version"], 2, "{rotated:#}");
    let second = scene.next(|service| service.start_run(&job));
    assert_eq!(second["key_version"], 2, "{second:#}");
    assert!(figure(&second, 0, "bytes_read") < 4 * MIB, "it is incremental: {second:#}");
    assert_eq!(pack_formats(&scene.service.data), [1, 2]);
    let objects: Vec<String> = std::fs::read_dir(scene.service.data.join("objects/keys"))
        .expect("keys")
        .map(|entry| entry.expect("a key").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(objects.contains(&id) && objects.contains(&format!("{id}.2")), "{objects:?}");
    scene.verifies(&first);
    scene.verifies(&second);
    scene.equals(&first, &truth_of_first);

    // A restart reads both versions back.
    let Scene { folder, daemon, service, random } = scene;
    let data = service.data.clone();
    service.stop();
    let scene = Scene { folder, daemon, service: Service::start(&data), random };
    scene.equals(&first, &truth_of_first);
    scene.verifies(&second);

    scene.service.cli(&["keys", "disable", "alias/payroll"]);
    let run = scene.service.ended(&scene.service.start_run(&job));
    assert_eq!((run["state"].as_str(), run["failure"]["code"].as_str()), (Some("FAILED"), Some("KeyDisabled")));
    let next_step = run["failure"]["next_step"].as_str().expect("a next step");
    assert!(next_step.contains("godwit keys enable"), "{run:#}");
    let out = scene.folder.path().join("never.raw").display().to_string();
    let export = ["images", "export", image(&second), "--volume", "0", "--format", "raw", "--output", &out];
    for args in [&["images", "verify", image(&second)][..], &export] {
        let told = refused(scene.service.command(args));
        assert!(told.contains("KeyDisabled") && told.contains(&id) && told.contains("enable the key"), "{told}");
    }
    assert_eq!(daemon_rests(&scene), Vec::<String>::new(), "the run that failed left nothing at the source");

    // Also after a kill.
    let Scene { folder, daemon, service, random } = scene;
    service.kill();
    let mut scene = Scene { folder, daemon, service: Service::start(&data), random };
    assert!(refused(scene.service.command(&["images", "verify", image(&first)])).contains("KeyDisabled"));
    scene.service.cli(&["images", "delete", image(&first)]);

    scene.service.cli(&["keys", "enable", "alias/payroll"]);
    scene.verifies(&second);
    let third = scene.next(|service| scheduled_now(service, &job, &[]));
    assert_eq!(third["volumes"][0]["tracked"], true, "nothing was forgotten meanwhile: {third:#}");
    scene.verifies(&third);
    scene.service.stop();
}

/// Names of ours at the source beside the change tracker.
fn daemon_rests(scene: &Scene) -> Vec<String> {
    let left = scene.daemon.left_behind();
    assert_eq!(left.len(), 1, "the change tracker of the last image: {left:?}");
    left[1..].to_vec()
}

#[test]
fn a_job_whose_key_changes_reads_everything_once_and_says_why() {
    let mut scene = Scene::new(42);
    let job = scene.service.create_job(&scene.service.only_server());
    let first = scene.service.completed(&scene.service.newest_run(&job));
    scene.service.cli(&["keys", "create", "--alias", "alias/mine"]);
    let second = scene.next(|service| scheduled_now(service, &job, &["--key", "alias/mine"]));
    let note = second["volumes"][0]["notes"].to_string();
    assert!(note.contains("nothing is compared across keys"), "{second:#}");
    // What the scattered writes replaced compresses.
    let (read, stored) = (figure(&second, 0, "bytes_read"), figure(&second, 0, "bytes_stored"));
    assert!(read >= 20 * MIB && stored >= 15 * MIB, "{second:#}");
    assert_ne!(first["key_id"], second["key_id"]);
    let third = scene.next(|service| service.start_run(&job));
    assert!(figure(&third, 0, "bytes_read") < 4 * MIB, "{third:#}");
    assert_eq!(third["volumes"][0]["notes"].to_string(), "[]");

    // The default key is another one from now on: jobs without a key follow.
    scene.service.cli(&["keys", "default", "alias/mine"]);
    let told = refused(scene.service.command(&["keys", "disable", "alias/mine"]));
    assert!(told.contains("default key"), "{told}");
    let fourth = scene.next(|service| scheduled_now(service, &job, &["--default-key"]));
    assert_eq!(fourth["key_id"], third["key_id"]);
    assert!(figure(&fourth, 0, "bytes_read") < 4 * MIB, "the same key by another name: {fourth:#}");
    for run in [&first, &second, &third, &fourth] {
        scene.verifies(run);
    }
    scene.service.stop();
}
