//! Caps at work: what they hold back stays where it is, and goes on as soon as they let it.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What may be in flight when a cap begins to hold: eight reads.
const IN_FLIGHT: u64 = 8 * MIB;

/// A disk with random bytes.
const DATA: u64 = 64 * MIB;

fn daemon(folder: &Path) -> Daemon {
    let daemon = Daemon::start(folder, &[128 * MIB]);
    daemon.write_bytes(0, 0, &Random::new(11).bytes(DATA as usize));
    daemon
}

/// Waits until nothing of the run is read any more because of `by`; gives the bytes that were.
fn held_back(service: &Service, run: &str, by: &str) -> u64 {
    testbed::wait(&format!("{run} to be held back by {by}"), Duration::from_secs(60), || {
        let shown = service.show(run);
        assert_eq!(shown["state"], "ACTIVE", "{shown:#}");
        (shown["held_back_by"] == by).then_some(())
    });
    // What was in flight when the cap came is counted a moment later: still is what two looks a second apart see.
    let read = || figure(&service.show(run), 0, "bytes_read");
    testbed::wait("the reads in flight", Duration::from_secs(60), || {
        let before = read();
        std::thread::sleep(Duration::from_secs(1));
        (read() == before).then_some(before)
    })
}

fn assert_equal_to_source(service: &Service, daemon: &Daemon, run: &Value, folder: &Path) {
    let (truth, copy) = (folder.join("truth.raw"), folder.join("copy.raw"));
    daemon.reference(0, &truth);
    service.export(run, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
}

#[test]
fn a_run_is_held_by_each_cap_in_turn_and_goes_on_when_it_is_lifted() {
    let folder = testbed::folder();
    let daemon = daemon(folder.path());
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());

    // The job's cap: nothing is read at all.
    let server = service.only_server();
    let job = service.json(&["jobs", "create", "--server", &server, "--every", "12h", "--cap", "0"]);
    let job = job["job_id"].as_str().expect("an id").to_owned();
    assert_eq!(service.json(&["jobs", "show", &job])["bandwidth_cap"], "0");
    let run = service.newest_run(&job);
    assert_eq!(held_back(&service, &run, "RUN_CAP"), 0);
    let shown = service.cli(&["runs", "show", &run]);
    assert!(shown.contains("the cap of the run or its job"), "{shown}");

    // The cap over everything takes over before the run's is lifted: still nothing is read.
    service.cli(&["limits", "set", "--cap", "0"]);
    service.cli(&["runs", "cap", &run, "none"]);
    assert_eq!(held_back(&service, &run, "TOTAL_CAP"), 0);
    assert_eq!(service.json(&["limits", "show"])["bytes_per_second"], 0);

    // A burst at most, then the connector's: windows, as people give them, all week long.
    service.cli(&["connectors", "update", "test", "--cap", "Mon-Sun 0; otherwise none; in Europe/Berlin"]);
    service.cli(&["limits", "set", "--cap", "none"]);
    assert_eq!(held_back(&service, &run, "CONNECTOR_CAP"), 0);
    let listed = service.json(&["connectors", "list"]);
    assert_eq!(listed[0]["bandwidth_cap"], "Mon-Sun 00:00-24:00 0; otherwise none; in Europe/Berlin");

    // As slow as it gets, then held again: only what the rate and a burst let through was read.
    service.cli(&["runs", "cap", &run, "1kB/s"]);
    service.cli(&["connectors", "update", "test", "--cap", "none"]);
    testbed::wait("the first read", Duration::from_secs(60), || {
        (figure(&service.show(&run), 0, "bytes_read") > 0).then_some(())
    });
    let read = held_back(&service, &run, "RUN_CAP");
    assert!((1..=MIB).contains(&read), "a burst is one read: {read}");

    // As its job says: that is 0 still; and then none.
    service.cli(&["runs", "cap", &run, "job"]);
    assert_eq!(held_back(&service, &run, "RUN_CAP"), read);
    service.cli(&["jobs", "update", &job, "--cap", "none"]);
    let done = service.completed(&run);
    assert_eq!(figure(&done, 0, "bytes_read"), DATA, "{done:#}");
    assert_eq!(done.get("held_back_by").filter(|by| !by.is_null()), None, "{done:#}");
    assert_equal_to_source(&service, &daemon, &done, folder.path());

    let ended = service.command(&["runs", "cap", &run, "5MB/s"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let wrong = service.command(&["limits", "set", "--cap", "Moon 5MB/s"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    service.stop();
}

#[test]
fn caps_outlive_the_service_and_hold_a_run_that_goes_on() {
    let folder = testbed::folder();
    let daemon = daemon(folder.path());
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    service.cli(&["limits", "set", "--cap", "20MB/s"]);
    let job = service.create_job(&service.only_server());
    let run = service.newest_run(&job);
    testbed::wait("the first reads", Duration::from_secs(60), || {
        let shown = service.show(&run);
        (shown["volumes"][0]["bytes_read"].as_u64() > Some(0)).then_some(())
    });
    // Twenty megabytes a second need more than three seconds for the disk: it is at work still.
    service.cli(&["runs", "cap", &run, "0"]);
    let read = held_back(&service, &run, "RUN_CAP");
    assert!(read < DATA - IN_FLIGHT, "held while at work: {read}");
    service.kill();

    let service = Service::start(&folder.path().join("data"));
    assert_eq!(service.json(&["limits", "show"])["bandwidth_cap"], "20MB/s");
    assert_eq!(service.show(&run)["bandwidth_cap"], "0");
    let again = held_back(&service, &run, "RUN_CAP");
    assert!(again <= read + IN_FLIGHT, "{again} after {read}");
    service.cli(&["runs", "cap", &run, "none"]);
    service.cli(&["limits", "set", "--cap", "none"]);
    let done = service.completed(&run);
    assert_equal_to_source(&service, &daemon, &done, folder.path());
    service.stop();
}
