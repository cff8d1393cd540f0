//! From a source to an image that equals it: one volume, several volumes, and a source that goes on writing.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};

const MIB: u64 = 1 << 20;

#[test]
fn an_image_equals_its_source_and_verifies() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[200 * MIB + 4096]);
    let mut random = Random::new(1);
    daemon.write_bytes(0, 0, &random.bytes(20 << 20));
    daemon.write(0, &[(64 * MIB, 7, 30 * MIB), (130 * MIB + 512, 9, 1000), (200 * MIB, 3, 4096)]);
    let truth = folder.path().join("truth.raw");
    daemon.reference(0, &truth);

    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let run = service.completed(&service.newest_run(&job));

    let copy = folder.path().join("copy.raw");
    service.export(&run, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
    assert_eq!(figure(&run, 0, "bytes_total"), 200 * MIB + 4096);
    assert!(figure(&run, 0, "bytes_read") < 60 * MIB, "holes are not read: {run:#}");
    assert!(figure(&run, 0, "bytes_verified") > 0, "{run:#}");
    assert_eq!(figure(&run, 0, "bytes_resent"), 0, "{run:#}");
    assert_eq!(run["volumes"][0]["root_digest"].as_str().map(str::len), Some(64), "{run:#}");
    assert_eq!(run["volumes"][0]["consistency"], "CRASH", "{run:#}");

    let image = run["image_id"].as_str().expect("an image").to_owned();
    service.cli(&["images", "verify", &image]);
    let shown = service.json(&["images", "show", &image]);
    assert_eq!(shown["verification"]["state"], "VERIFIED", "{shown:#}");

    for (name, format, more) in [
        ("copy.qcow2", "qcow2", None),
        ("small.qcow2", "qcow2", Some("--compress")),
        ("copy.vmdk", "vmdk", None),
        ("copy.vhdx", "vhdx", None),
    ] {
        let path = folder.path().join(name).display().to_string();
        let args = ["images", "export", &image, "--volume", "0", "--output", &path];
        service.cli(&args.into_iter().chain(more).collect::<Vec<_>>());
        testbed::run("qemu-img", &["check", "-q", "-f", format, &path]);
        testbed::run("qemu-img", &["compare", "-q", "-f", format, "-F", "raw", &path, &truth.display().to_string()]);
    }

    service.cli(&["jobs", "delete", &job, "--wait"]);
    assert_eq!(daemon.left_behind(), Vec::<String>::new());
    let images = service.json(&["images", "list"]);
    assert_eq!(images.as_array().map(Vec::len), Some(1), "images outlive their job: {images:#}");
    service.stop();
}

#[test]
fn a_storage_daemon_of_qemu_7_2_is_replicated_too() {
    let folder = testbed::folder();
    let program = testbed::prepared("GODWIT_STORAGE_DAEMON72");
    let daemon = Daemon::start_with(&program, folder.path(), &[64 * MIB]);
    let mut random = Random::new(4);
    daemon.write_bytes(0, 5 * MIB, &random.bytes(12 << 20));
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let listed = service.json(&["connectors", "list"]);
    assert!(listed[0]["manager_version"].as_str().is_some_and(|v| v.contains("7.2")), "{listed:#}");
    let job = service.create_job(&service.only_server());
    service.completed(&service.newest_run(&job));

    let changed = daemon.scatter(0, 30, 64 * MIB, &mut random);
    let truth = folder.path().join("truth.raw");
    daemon.reference(0, &truth);
    let run = service.completed(&service.start_run(&job));
    assert_eq!(figure(&run, 0, "bytes_read"), changed * 65536, "{run:#}");
    let copy = folder.path().join("copy.raw");
    service.export(&run, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
    service.cli(&["jobs", "delete", &job, "--wait"]);
    assert_eq!(daemon.left_behind(), Vec::<String>::new());
}

#[test]
fn all_volumes_of_a_server_share_one_image() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[48 * MIB, 32 * MIB]);
    let mut random = Random::new(2);
    daemon.write_bytes(0, 3 * MIB, &random.bytes(5 << 20));
    daemon.write_bytes(1, 0, &random.bytes(9 << 20));
    let truths = [folder.path().join("t0.raw"), folder.path().join("t1.raw")];
    daemon.reference(0, &truths[0]);
    daemon.reference(1, &truths[1]);

    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let run = service.completed(&service.newest_run(&job));
    assert_eq!(run["volumes"].as_array().map(Vec::len), Some(2), "{run:#}");
    for (volume, truth) in truths.iter().enumerate() {
        let copy = folder.path().join(format!("copy{volume}.raw"));
        service.export(&run, volume, &copy);
        testbed::assert_same_bytes(&copy, truth);
    }
}

#[test]
fn what_is_written_during_a_run_belongs_to_the_next_one() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[256 * MIB]);
    let mut random = Random::new(3);
    daemon.write_bytes(0, 0, &random.bytes(120 << 20));
    let before = folder.path().join("before.raw");
    daemon.reference(0, &before);

    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let run = service.newest_run(&job);
    testbed::wait("the point in time", std::time::Duration::from_secs(30), || {
        let shown = service.show(&run);
        matches!(shown["stage"].as_str(), Some("Transferring" | "Verifying" | "Registering" | "Cleaning"))
            .then_some(())
            .or_else(|| (shown["state"] == "COMPLETED").then_some(()))
    });
    daemon.write(0, &[(0, 1, MIB), (110 * MIB, 2, 3 * MIB), (250 * MIB, 3, 65536)]);
    let after = folder.path().join("after.raw");
    daemon.reference(0, &after);

    let first = service.completed(&run);
    let copy = folder.path().join("first.raw");
    service.export(&first, 0, &copy);
    testbed::assert_same_bytes(&copy, &before);

    let second = service.completed(&service.start_run(&job));
    let copy = folder.path().join("second.raw");
    service.export(&second, 0, &copy);
    testbed::assert_same_bytes(&copy, &after);
    assert_eq!(figure(&second, 0, "bytes_read"), 4 * MIB + 65536, "{second:#}");
}
