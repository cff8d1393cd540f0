//! `godwit jobs forecast`: what is shown of an answer.

use crate::stand_in::StandIn;
use crate::{folder, godwit, told};

fn forecast(more: &[&str]) -> (i32, String, String) {
    let (folder, service) = (folder(), StandIn::start());
    let mut command = godwit(folder.path(), &["jobs", "forecast", "sms-job-00000001"]);
    command.args(more).env("GODWIT_ENDPOINT", &service.endpoint);
    told(command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap())
}

#[test]
fn likely_numbers_stand_beside_their_bounds_and_what_is_not_known_is_a_dash() {
    let (status, out, err) = forecast(&[]);
    assert_eq!((status, err.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split("  ").filter(|t| !t.is_empty()).collect()).collect();
    let trimmed = |line: usize| lines[line].iter().map(|text| text.trim()).collect::<Vec<_>>();
    let header = ["WHAT", "READS", "READS BETWEEN", "STORES", "STORES BETWEEN", "TAKES", "TAKES BETWEEN"];
    assert_eq!(trimmed(0), header, "{out}");
    assert_eq!(trimmed(1), ["first copy", "3 GiB", "0 B – 8 GiB", "2 GiB", "0 B – 8 GiB", "–", "–"], "{out}");
    let last = ["cut-over now", "5 MiB", "1 MiB – 9 MiB", "2 MiB", "1 MiB – 3 MiB", "2 min", "1 min 1 s – 5 min"];
    assert_eq!(trimmed(2), last, "{out}");
    assert_eq!(lines[3], [""; 0]);
    assert_eq!(out.lines().nth(4), Some("first copy: bytes: allocated bytes; no run yet"));
    assert_eq!(out.lines().nth(5), Some("cut-over now: changes of 2 h; bytes: much"));
}

#[test]
fn scripts_get_every_number() {
    let (status, out, _) = forecast(&["--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &told["cut_over"]["seconds"]["high"]), (0, &serde_json::json!(300.0)));
    assert_eq!(told["first_copy"]["bytes_read"]["likely"], 3u64 << 30);
    assert_eq!((told.get("next_run"), told["first_copy"].get("seconds")), (None, None));
}
