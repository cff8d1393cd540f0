//! `godwit runs list`: what is shown of an answer.

use crate::stand_in::{IMAGE, StandIn};
use crate::{folder, godwit, told};

fn list(more: &[&str]) -> (i32, String, String) {
    let (folder, service) = (folder(), StandIn::start());
    let mut command = godwit(folder.path(), &["runs", "list"]);
    command.args(more).env("GODWIT_ENDPOINT", &service.endpoint);
    told(command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap())
}

/// The cells of each line, of a column with this heading and those behind it.
fn cells(out: &str, heading: &str) -> Vec<Vec<String>> {
    let cells =
        |line: &str| line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect();
    let lines: Vec<Vec<String>> = out.lines().map(cells).collect();
    let at = lines[0].iter().position(|cell| cell == heading).unwrap_or_else(|| panic!("no {heading}: {out}"));
    lines.into_iter().map(|line| line[at..].to_vec()).collect()
}

#[test]
fn what_was_forecast_stands_beside_what_was_read_and_how_far_off_it_was() {
    for args in [&[][..], &["--job", "sms-job-00000001"]] {
        let (status, out, err) = list(args);
        assert_eq!((status, err.as_str()), (0, ""));
        let wanted = [
            ["READ", "FORECAST", "ERROR", "STORED", "IMAGE"],
            ["100 MiB", "410 MiB", "–", "50 MiB", "–"],
            ["460 MiB", "410 MiB", "+12 %", "230 MiB", IMAGE],
            ["5 MiB", "410 MiB", "–", "2.5 MiB", "–"],
            ["3 GiB", "–", "–", "1.5 GiB", IMAGE],
        ];
        assert_eq!(cells(&out, "READ"), wanted, "{out}");
        assert_eq!(out.lines().next().unwrap().contains("JOB"), args.is_empty(), "{out}");
    }
}

#[test]
fn scripts_get_what_was_forecast_of_each_run() {
    let (status, out, _) = list(&["--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let forecast = &told[1]["forecast"];
    assert_eq!((status, &forecast["bytes_read"]["likely"]), (0, &serde_json::json!(410u64 << 20)));
    assert_eq!(forecast["error"]["bytes_read"], 1.122);
    assert!(told[0]["forecast"].get("error").is_none() && told[3].get("forecast").is_none(), "{out}");
}
