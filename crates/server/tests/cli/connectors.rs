//! `godwit connectors test` and `update`, and what an import says of connectors: folders without a machine in them are
//! VM managers, too.

use crate::service::Service;
use crate::stand_in::StandIn;
use crate::{folder, godwit, told};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::Path;

/// A folder where sockets could be.
fn place(folder: &Path, name: &str) {
    std::fs::create_dir(folder.join(name)).unwrap();
}

fn answer(service: &Service, folder: &Path, args: &[&str]) -> Value {
    let (status, out, err) = service.ask(folder, &[args, &["--json"]].concat());
    assert_eq!(status, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

/// Insists that a command fails, that its message holds these words and says what to do.
fn refused(service: &Service, folder: &Path, args: &[&str], words: &[&str]) {
    let (status, out, err) = service.ask(folder, args);
    assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
    for word in words {
        assert!(err.contains(word), "'{word}' is missing in: {err}");
    }
}

#[test]
fn a_connection_is_tested_and_nothing_is_associated() {
    let folder = folder();
    let service = Service::start(folder.path());
    place(folder.path(), "rack1");
    let whole = folder.path().canonicalize().unwrap().join("rack1").display().to_string();
    let (status, out, err) = service.ask(folder.path(), &["connectors", "test", "--socket", "rack1"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let said: Vec<String> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(said.iter().any(|line| line.starts_with("vm manager ") && line.contains("rack1 (qmp-")), "{out}");
    for line in ["servers 0", "associated not yet"] {
        assert!(said.iter().any(|said| said == line), "'{line}' is missing in: {out}");
    }
    assert_eq!(answer(&service, folder.path(), &["connectors", "list"]), json!([]));

    let nowhere = ["connectors", "test", "--socket", "/nowhere/qmp.sock"];
    refused(
        &service,
        folder.path(),
        &nowhere,
        &["error: socket '/nowhere/qmp.sock'", "there is no socket", "give the path"],
    );
    let add = ["connectors", "add", "qmp", "--name", "rack1", "--socket", "rack1"];
    let id = answer(&service, folder.path(), &add)["connector_id"].clone();
    let found = answer(&service, folder.path(), &["connectors", "test", "--socket", &whole]);
    assert_eq!((&found["connector_id"], &found["connector_name"]), (&id, &json!("rack1")));
    assert_eq!((&found["servers"], &found["server_names"], &found["warnings"]), (&json!(0), &json!([]), &json!([])));
    let said = service.ask(folder.path(), &["connectors", "test", "--socket", "rack1"]).1;
    assert!(said.contains("already, as rack1 (c-"), "{said}");
}

#[test]
fn name_socket_and_cap_of_a_connector_change_each_by_itself() {
    let folder = folder();
    let service = Service::start(folder.path());
    place(folder.path(), "rack1");
    place(folder.path(), "rack2");
    symlink("rack1", folder.path().join("by-another-name")).unwrap();
    let ask = |args: &[&str]| answer(&service, folder.path(), args);
    let id = ask(&["connectors", "add", "qmp", "--name", "rack1", "--socket", "rack1"])["connector_id"].clone();

    assert_eq!(
        ask(&["connectors", "update", "rack1", "--name", "first rack"]),
        json!({"connector_id": id, "name": "first rack"})
    );
    assert_eq!(
        ask(&["connectors", "update", "first rack", "--cap", "160Mbit/s"]),
        json!({"connector_id": id, "bandwidth_cap": "20MB/s"})
    );
    let (status, out, err) = service
        .ask(folder.path(), &["connectors", "update", "first rack", "--socket", "by-another-name", "--name", "rack 1"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("is called rack 1 now.") && out.contains("/by-another-name now."), "{out}");
    let listed = ask(&["connectors", "list"])[0].clone();
    assert_eq!((&listed["name"], &listed["bandwidth_cap"]), (&json!("rack 1"), &json!("20MB/s")));
    assert!(listed["socket"].as_str().unwrap().ends_with("/by-another-name"), "{listed}");

    let update = |socket| ["connectors", "update", "rack 1", "--socket", socket];
    refused(&service, folder.path(), &update("rack2"), &["rack2' leads to another VM manager", "connector of its own"]);
    refused(&service, folder.path(), &update("rack3"), &["there is no socket"]);
    let (status, _, err) = service.ask(folder.path(), &["connectors", "update", "rack 1"]);
    assert!(status == 2 && err.contains("--name"), "{err}");
    assert_eq!(ask(&["connectors", "list"])[0]["socket"], listed["socket"], "what is refused changes nothing");
}

#[test]
fn an_import_names_the_connectors_that_gave_no_servers() {
    let folder = folder();
    let service = Service::start(folder.path());
    for name in ["rack1", "rack2"] {
        place(folder.path(), name);
        answer(&service, folder.path(), &["connectors", "add", "qmp", "--name", name, "--socket", name]);
    }
    std::fs::remove_dir(folder.path().join("rack2")).unwrap();
    let (status, out, err) = service.ask(folder.path(), &["servers", "import"]);
    assert_eq!((status, out.as_str()), (0, "0 servers in the catalog from 1 of 2 connectors\n"), "{err}");
    assert!(err.starts_with("warning: rack2: SourceUnreachable") && !err.contains("rack1:"), "{err}");
    std::fs::remove_dir(folder.path().join("rack1")).unwrap();
    refused(
        &service,
        folder.path(),
        &["servers", "import"],
        &["warning: rack1:", "error: no connector answered", "next:"],
    );
}

#[test]
fn a_long_import_says_how_far_it_is() {
    let (folder, service) = (folder(), StandIn::start());
    let mut command = godwit(folder.path(), &["servers", "import", "--wait"]);
    command.env("GODWIT_ENDPOINT", &service.endpoint);
    let (status, out, err) =
        told(command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap());
    assert_eq!((status, out.as_str()), (0, "0 servers in the catalog from 2 of 3 connectors\n"), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines[0].ends_with("Importing  2 of 3 connectors, 7 servers   67 %"), "{err}");
    assert_eq!(lines.last(), Some(&"warning: rack2: nobody answers there"), "{err}");
}
