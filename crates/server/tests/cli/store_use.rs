//! The use of the store over time, by the command line against the real service.

use crate::service::Service;
use crate::{BOUND, folder};
use serde_json::Value;
use std::time::Duration;

#[test]
fn the_use_of_the_store_is_shown_as_a_table_and_for_scripts() {
    let folder = folder();
    let service = Service::start(folder.path());
    let ask = |args: &[&str]| {
        let (status, out, err) = service.ask(folder.path(), args);
        assert_eq!((status, err.as_str()), (0, ""), "{args:?}: {out}");
        out
    };
    let recorded = |n: u64| {
        const PAUSE: Duration = Duration::from_millis(100);
        for _ in 0..BOUND.as_millis() / PAUSE.as_millis() {
            let answer: Value = serde_json::from_str(&ask(&["store", "use", "--json"])).unwrap();
            if answer["recorded"] == n {
                return answer;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{n} samples did not come");
    };
    let first = recorded(1);
    assert_eq!((&first["every_minutes"], &first["points"][0]["bytes"]), (&60.into(), &0.into()), "{first}");
    assert!(first["next_on"].is_number() && first["points"][0]["to_free_bytes"] == 0, "{first}");
    ask(&["store", "sweep"]);
    let second = recorded(2);
    assert!(second["points"][1]["at"].as_f64() > first["points"][0]["at"].as_f64(), "behind the sweep: {second}");

    let shown = ask(&["store", "use"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("WHEN") && lines[0].contains("TO FREE"), "{shown}");
    assert!(lines.len() > 3 && lines[1].contains("0 B") && shown.contains("█ live"), "{shown}");
    let none = ask(&["store", "use", "--until", "2020-01-31T22:00:00Z", "--since", "2020-01-01T22:00:00Z"]);
    assert!(none.starts_with("There is no sample of that time. The next one is due in"), "{none}");
    let (status, _, err) = service.ask(folder.path(), &["store", "use", "--since", "1h", "--until", "2h"]);
    assert!(status == 1 && err.contains("from is later than to"), "{status} {err}");
}
