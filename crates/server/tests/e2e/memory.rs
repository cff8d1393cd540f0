//! Memory while replicating does not depend on the size of the disk.

use crate::daemon::Daemon;
use crate::service::Service;
use crate::testbed::{self, Random};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What issue and README promise for the whole process, in MiB.
const BOUND: u64 = 96;

fn peak_mib(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("status of the service");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("a high-water mark");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") / 1024
}

fn peak_for(size: u64) -> u64 {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[size]);
    let mut random = Random::new(20);
    for part in 0..4 {
        daemon.write_bytes(0, part * (size / 4), &random.bytes((40 * MIB) as usize));
    }
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    service.completed(&service.newest_run(&job));
    daemon.scatter(0, 500, size, &mut random);
    service.completed(&service.start_run(&job));
    let peak = peak_mib(&service);
    println!("peak of godwit serve at {} GiB: {peak} MiB", size / GIB);
    peak
}

#[test]
fn memory_stays_bounded_at_any_disk_size() {
    let small = peak_for(GIB);
    let large = peak_for(64 * GIB);
    assert!(small < BOUND, "{small} MiB at 1 GiB");
    assert!(large < BOUND, "{large} MiB at 64 GiB");
}
