//! `kill -9` of the real service at many seeded moments. Whatever happens, the run goes on, durable blocks are not sent
//! again, nothing half-made is an image, and the image equals the point in time.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 512 * MIB;

/// What may be sent twice per kill: packs that were on their way to the store (see docs/formats.md for their size).
const IN_FLIGHT: u64 = 64 * MIB;

/// Kills and restarts the service until the run has ended, at most `kills` times, at random moments. While the run is
/// active the source is overwritten after each kill: the point in time must not care.
fn run_under_fire(
    data: &Path,
    daemon: &Daemon,
    run: &str,
    mut service: Service,
    kills: usize,
    random: &mut Random,
) -> (Service, Value, usize) {
    let mut killed = 0;
    while killed < kills {
        std::thread::sleep(Duration::from_millis(random.below(900)));
        let shown = service.show(run);
        let images = service.json(&["images", "list"]);
        for image in images.as_array().expect("a list") {
            assert!(
                image["run_id"] != *run || shown["state"] == "ACTIVE" || shown["state"] == "COMPLETED",
                "an image of a run that is {}: {images:#}",
                shown["state"]
            );
        }
        if shown["state"] == "COMPLETED" {
            break;
        }
        let at = shown["stage"].as_str().unwrap_or("").to_owned();
        service.kill();
        killed += 1;
        if at == "Transferring" {
            let offset = random.below(SIZE / MIB - 2) * MIB;
            daemon.write(0, &[(offset, 1 + random.below(255) as u8, MIB)]);
        }
        service = Service::start(data);
    }
    let shown = service.completed(run);
    (service, shown, killed)
}

fn compare(service: &Service, run: &Value, truth: &Path, folder: &Path) {
    let copy = folder.join("copy.raw");
    let _ = std::fs::remove_file(&copy);
    service.export(run, 0, &copy);
    testbed::assert_same_bytes(&copy, truth);
    let digest = run["volumes"][0]["root_digest"].as_str().expect("a digest");
    assert_eq!(digest.len(), 64);
}

fn scenario(seed: u64) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let folder = testbed::folder();
    let data = folder.path().join("data");
    let truth = folder.path().join("truth.raw");
    let daemon = Daemon::start(folder.path(), &[SIZE]);
    daemon.write_bytes(0, 0, &random.bytes(200 << 20));
    daemon.write(0, &[(300 * MIB, 6, 60 * MIB)]);
    daemon.reference(0, &truth);

    let service = Service::start(&data);
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let run = service.newest_run(&job);
    let (service, first, killed) = run_under_fire(&data, &daemon, &run, service, 8, &mut random);
    compare(&service, &first, &truth, folder.path());
    let resent = figure(&first, 0, "bytes_resent");
    assert!(resent <= killed as u64 * IN_FLIGHT, "{resent} bytes sent again after {killed} kills: {first:#}");
    assert!(figure(&first, 0, "bytes_stored") <= 210 * MIB + resent, "{first:#}");

    daemon.scatter(0, 1200, SIZE, &mut random);
    daemon.reference(0, &truth);
    let run = service.start_run(&job);
    let (service, second, killed) = run_under_fire(&data, &daemon, &run, service, 5, &mut random);
    compare(&service, &second, &truth, folder.path());
    let resent = figure(&second, 0, "bytes_resent");
    assert!(resent <= killed as u64 * IN_FLIGHT, "{resent} bytes sent again after {killed} kills: {second:#}");

    let images = service.json(&["images", "list"]);
    assert_eq!(images.as_array().map(Vec::len), Some(2), "one image per run: {images:#}");
    for image in images.as_array().expect("a list") {
        service.cli(&["images", "verify", image["image_id"].as_str().expect("an id")]);
    }
    service.cli(&["jobs", "delete", &job, "--wait"]);
    assert_eq!(daemon.left_behind(), Vec::<String>::new(), "nothing is left at the source");
}

#[test]
fn a_killed_service_goes_on_seed_1() {
    scenario(0x6f1);
}

#[test]
fn a_killed_service_goes_on_seed_2() {
    scenario(0x6f2);
}

#[test]
fn a_killed_service_goes_on_seed_of_the_environment() {
    let seed = std::env::var("GODWIT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x6f3);
    scenario(seed);
}
