//! Who got at an image is on record before it has the first byte, whatever happens then.

use crate::daemon::Daemon;
use crate::relay::Relay;
use crate::service::Service;
use crate::testbed::{self, Random};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: u64 = 1 << 20;

/// Whether bytes of an image begin here.
fn are_bytes_of_an_image(reply: &[u8]) -> bool {
    reply.starts_with(b"HTTP/1.1 200") && String::from_utf8_lossy(reply).contains("application/octet-stream")
}

#[test]
fn who_reads_an_image_is_on_record_though_the_service_is_killed_at_the_first_byte() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[32 * MIB]);
    daemon.write_bytes(0, 0, &Random::new(9).bytes(16 << 20));
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let run = service.completed(&service.newest_run(&service.create_job(&service.only_server())));
    let image = run["image_id"].as_str().expect("an image").to_owned();
    assert_eq!(service.json(&["audit", "list", "--action", "ReadImage"]), serde_json::json!([]));

    let seen = Arc::new(AtomicUsize::new(0));
    let (count, pid) = (seen.clone(), Pid::from_raw(service.pid() as i32).expect("a process"));
    let relay = Relay::watched(&service.endpoint, folder.path(), move |reply| {
        if are_bytes_of_an_image(reply) {
            // Of several that come at once the first one has killed it.
            let _ = kill_process(pid, Signal::KILL);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let copy = folder.path().join("copy.raw").display().to_string();
    let export = ["images", "export", &image, "--format", "raw", "--output", &copy];
    let output = service.command_at(&relay.endpoint, &export);
    assert!(!output.status.success(), "the service was killed: {output:?}");
    assert!(seen.load(Ordering::Relaxed) > 0, "bytes had left: {output:?}");

    let data = service.data.clone();
    service.kill();
    let service = Service::start(&data);
    let records = service.json(&["audit", "list", "--action", "ReadImage"]);
    let records = records.as_array().expect("a list");
    assert!(!records.is_empty(), "nothing says who read");
    for record in records {
        let read = record["parameters"].as_str().expect("parameters");
        assert!(read.contains(&image) && read.contains(r#""volume":0"#), "{record}");
        assert_eq!(record["outcome"], "OK", "{record}");
        assert!(record["access_key_id"].as_str().is_some_and(|key| !key.is_empty()), "{record}");
    }
    assert!(service.cli(&["audit", "verify"]).contains("intact"));
    service.stop();
}
