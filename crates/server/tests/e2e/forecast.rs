//! What is forecast of runs, and what they come to.

use crate::daemon::Daemon;
use crate::service::{Service, figure};
use crate::testbed::{self, Random};
use serde_json::Value;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 256 * MIB;
const WRITTEN: u64 = 40 * MIB;

/// Blocks that change between two runs.
const CHANGED: usize = 40;

/// Between two runs at least: however slow the machine is, the next interval is not three times as long.
const INTERVAL: Duration = Duration::from_secs(8);

fn holds(range: &Value, bytes: u64) -> bool {
    let bound = |name: &str| range[name].as_u64().unwrap_or_else(|| panic!("no {name} in {range}"));
    (bound("low")..=bound("high")).contains(&bytes)
}

#[test]
fn an_equal_change_is_as_forecast() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[SIZE]);
    let mut random = Random::new(31);
    daemon.write_bytes(0, 0, &random.bytes(WRITTEN as usize));
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let first = service.completed(&service.newest_run(&job));
    let told = &first["forecast"];
    assert_eq!(told["looks_at"], "FIRST_COPY", "{first:#}");
    // What qcow2 keeps beside the data is less than a sixteenth here.
    let likely = told["bytes_read"]["likely"].as_u64().expect("bytes are told before any run");
    assert!((WRITTEN..WRITTEN * 17 / 16).contains(&likely), "{told:#}");
    assert!(holds(&told["bytes_read"], figure(&first, 0, "bytes_read")), "{first:#}");
    assert!(told.get("seconds").is_none(), "before any run there are no hours: {told:#}");
    assert!(told["error"]["bytes_read"].is_number(), "{told:#}");

    let mut change = || {
        std::thread::sleep(INTERVAL);
        daemon.scatter(0, CHANGED, SIZE, &mut random);
        service.completed(&service.start_run(&job))
    };
    let second = change();
    assert!(second["forecast"].get("bytes_read").is_none(), "how much changes is not known yet: {second:#}");
    let third = change();
    let told = &third["forecast"];
    let read = figure(&third, 0, "bytes_read");
    assert_eq!(read, CHANGED as u64 * 65536);
    for (range, bytes) in [("bytes_read", read), ("bytes_stored", figure(&third, 0, "bytes_stored"))] {
        assert!(holds(&told[range], bytes), "{range} is {bytes}: {told:#}");
    }
    let (likely, error) = (&told["bytes_read"]["likely"], &told["error"]["bytes_read"]);
    let (likely, error) = (likely.as_f64().expect("a number"), error.as_f64().expect("a number"));
    assert!((error - read as f64 / likely).abs() < 1e-9, "{told:#}");

    let next = service.json(&["jobs", "forecast", &job]);
    assert!(next.get("first_copy").is_none(), "{next:#}");
    assert!(next["next_run"]["due_on"].is_number() && next["next_run"]["seconds"]["likely"].is_number(), "{next:#}");
    let more = |which: &str| next[which]["bytes_read"]["likely"].as_u64().expect("a number");
    assert!(more("next_run") > more("cut_over"), "twelve hours change more than some seconds: {next:#}");
    let text = service.cli(&["jobs", "forecast", &job]);
    assert!(text.contains("next run, in") && text.contains("changes of 2 runs of the job"), "{text}");
    let shown = service.cli(&["runs", "show", third["run_id"].as_str().expect("an id")]);
    assert!(shown.contains("FORECAST") && shown.contains("forecast from"), "{shown}");
}
