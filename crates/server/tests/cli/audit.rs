//! `godwit audit` against the real service and its real database.

use crate::service::Service;
use crate::{folder, run};
use serde_json::Value;

fn end_of(text: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix("It ends with ")).unwrap().to_owned()
}

#[test]
fn who_did_what_is_listed_verified_and_survives_a_kill() {
    let folder = folder();
    let mut service = Service::start(folder.path());
    let at = folder.path();
    assert_eq!(service.ask(at, &["servers", "clear"]).0, 0);
    assert_eq!(service.ask(at, &["jobs", "delete", "sms-job-00000000"]).0, 1);
    let (status, out, err) = service.ask(at, &["audit", "list", "--action", "DeleteReplicationJob", "--json"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let records: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 1, "{out}");
    let record = &records[0];
    assert_eq!(record["outcome"], "ReplicationJobNotFoundException");
    assert_eq!(record["parameters"], r#"{"replicationJobId":"sms-job-00000000"}"#);
    assert!(record["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    let log = std::fs::read_to_string(at.join("serve.log")).unwrap();
    assert!(log.contains(record["request_id"].as_str().unwrap()), "the reply's id, as in the log");

    let (status, out, _) = service.ask(at, &["audit", "list", "--outcome", "FAILED", "--since", "1h"]);
    assert!(status == 0 && out.contains("sms:DeleteReplicationJob") && !out.contains("DeleteServerCatalog"), "{out}");
    let (_, out, _) = service.ask(at, &["audit", "list", "--user", "nobody"]);
    assert!(out.starts_with("No records"), "{out}");

    let (status, out, err) = service.ask(at, &["audit", "verify"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let noted = end_of(&out);
    service.signal("KILL");
    assert_eq!(service.wait(), None);
    let service = Service::start(at);
    let (status, out, _) = service.ask(at, &["audit", "list", "--action", "DeleteServerCatalog", "--json"]);
    assert!(status == 0 && out.contains("\"OK\""), "what changed something is not lost: {out}");
    let (status, _, err) = service.ask(at, &["audit", "verify", "--expect", &noted]);
    assert_eq!((status, err.as_str()), (0, ""));
}

#[test]
fn the_file_is_verified_without_the_service_and_beside_it() {
    let folder = folder();
    let at = folder.path();
    let mut service = Service::start(at);
    assert_eq!(service.ask(at, &["servers", "clear"]).0, 0);
    let (status, beside, err) = run(at, &["audit", "verify", "--data", "data"]);
    assert_eq!((status, err.as_str()), (0, ""));
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    let (status, out, err) = run(at, &["audit", "verify", "--data", "data", "--expect", &end_of(&beside)]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("intact"), "{out}");

    // A byte in the file, found as text: every record has its action in it.
    let file = at.join("data/state.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let word = b"sms:DeleteServerCatalog";
    let place = bytes.windows(word.len()).position(|w| w == word).expect("it is in the file");
    bytes[place + 4] = b'd';
    std::fs::write(&file, bytes).unwrap();
    let (status, out, err) = run(at, &["audit", "verify", "--data", "data"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("broken at record") && err.contains("changed") && err.contains("next:"), "{err}");
    let (status, out, _) = run(at, &["audit", "verify", "--data", "data", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &report["intact"]), (1, &Value::Bool(false)));

    // The service says the same of itself.
    let service = Service::start(at);
    let (status, _, err) = service.ask(at, &["audit", "verify"]);
    assert!(status == 1 && err.contains("broken at record"), "{err}");
}

#[test]
fn a_folder_without_a_database_is_told() {
    let folder = folder();
    let (status, out, err) = run(folder.path(), &["audit", "verify", "--data", "nowhere"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("nowhere/state.db") && err.contains("next:"), "{err}");
}
