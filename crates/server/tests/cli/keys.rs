//! `godwit keys`, and where the master key comes from.

use crate::service::Service;
use crate::{folder, godwit, run, told};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

fn ok(service: &Service, folder: &Path, args: &[&str]) -> String {
    let (status, out, err) = service.ask(folder, args);
    assert_eq!((status, err.as_str()), (0, ""), "{args:?}");
    out
}

fn refused(service: &Service, folder: &Path, args: &[&str]) -> String {
    let (status, out, err) = service.ask(folder, args);
    assert_eq!((status, out.as_str()), (1, ""), "{args:?}");
    err
}

/// Every file below a folder with its content, but what a running process notes.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().unwrap() != "lock" {
                all.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn keys_are_listed_created_named_rotated_and_disabled() {
    let folder = folder();
    let (service, at) = (Service::start(folder.path()), folder.path());
    let list = ok(&service, at, &["keys", "list"]);
    assert!(list.contains("key-00000000000000000000000000000001") && list.contains("default"), "{list}");
    let made = ok(&service, at, &["keys", "create", "--alias", "alias/pay", "--description", "HR"]);
    assert!(made.starts_with("Created key-") && made.contains("--key alias/pay"), "{made}");
    assert!(ok(&service, at, &["keys", "rotate", "alias/pay"]).contains("version 2 of key-"));
    ok(&service, at, &["keys", "alias", "alias/hr", "--key", "alias/pay"]);
    ok(&service, at, &["keys", "update", "alias/hr", "--description", "HR, until 2027"]);
    let shown = ok(&service, at, &["keys", "show", "arn:aws:kms:eu-west-1:123456789012:alias/pay"]);
    for part in ["alias/hr, alias/pay", "enabled", "HR, until 2027", "arn:aws:kms:"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown: serde_json::Value =
        serde_json::from_str(&ok(&service, at, &["keys", "disable", "alias/hr", "--json"])).unwrap();
    assert_eq!((&shown["state"], &shown["version"], &shown["default"]), (&"DISABLED".into(), &2.into(), &false.into()));
    ok(&service, at, &["keys", "alias", "alias/hr", "--delete"]);
    for (args, part) in [
        (&["keys", "rotate", "alias/pay"][..], "enable it first"),
        (&["keys", "default", "alias/pay"], "enable it first"),
        (&["keys", "disable", "alias/aws/ebs"], "another one the default first"),
        (&["keys", "show", "alias/hr"], "godwit keys list"),
        (&["keys", "create", "--alias", "pay"], "did you mean alias/pay?"),
        (&["keys", "create", "--alias", "alias/pay"], "choose another one"),
    ] {
        let err = refused(&service, at, args);
        assert!(err.contains(part), "{args:?}: {err}");
    }
    ok(&service, at, &["keys", "enable", "alias/pay"]);
    ok(&service, at, &["keys", "default", "alias/pay"]);
    let list = ok(&service, at, &["keys", "list"]);
    assert_eq!(list.lines().filter(|line| line.contains("default") && line.contains("alias/pay")).count(), 1, "{list}");
}

#[test]
fn no_material_of_a_key_is_in_database_log_or_answer() {
    let folder = folder();
    let mut service = Service::start_with(folder.path(), &["--log", "trace"]);
    ok(&service, folder.path(), &["keys", "create", "--alias", "alias/pay"]);
    ok(&service, folder.path(), &["keys", "rotate", "alias/pay"]);
    let master = std::fs::read_to_string(folder.path().join("data/master.key")).unwrap();
    service.signal("TERM");
    service.wait();
    let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap();
    assert!(!log.contains(master.trim()), "the master key is in the log");
    let objects = content(&folder.path().join("data/objects/keys"));
    assert_eq!(objects.len(), 3, "each version is an object");
    assert!(objects.values().all(|object| object.starts_with(b"GODWITK") && object.len() <= 104));
}

#[test]
fn the_master_key_comes_from_a_file_or_a_variable() {
    let folder = folder();
    let file = folder.path().join("elsewhere.key");
    let reference = format!("file:{}", file.display());
    let serve = ["serve", "--data", "data", "--listen", "127.0.0.1:0", "--log", "off", "--master-key", &reference];
    let (status, _, err) = run(folder.path(), &serve);
    assert!(status == 1 && err.contains("openssl rand -hex 32"), "{err}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
    std::fs::write(&file, KEY).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, _, err) = run(folder.path(), &serve);
    assert!(status == 1 && err.contains("mode 644") && err.contains("chmod 600"), "{err}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut service = Service::start_with(folder.path(), &["--master-key", &reference]);
    ok(&service, folder.path(), &["keys", "create", "--alias", "alias/pay"]);
    service.signal("TERM");
    service.wait();
    assert!(!folder.path().join("data/master.key").exists(), "the key is in one place only");

    // Without it, or with another one, nothing is read and nothing is changed.
    let before = content(&folder.path().join("data"));
    let without = run(folder.path(), &serve[..7]);
    assert!(without.0 == 1 && without.2.contains("--master-key"), "{}", without.2);
    std::fs::write(&file, OTHER).unwrap();
    let (status, out, err) = run(folder.path(), &serve);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("another master key") && err.contains("next:"), "{err}");
    assert_eq!(content(&folder.path().join("data")), before, "nothing was changed");

    // The same key out of the environment.
    let from_variable = |value: Option<&str>| -> Command {
        let mut command = godwit(folder.path(), &serve[..7]);
        command.args(["--master-key", "env:GODWIT_TEST_MASTER"]);
        value.map(|value| command.env("GODWIT_TEST_MASTER", value));
        command
    };
    let (status, _, err) = told(from_variable(None).output().unwrap());
    assert!(status == 1 && err.contains("GODWIT_TEST_MASTER is not set"), "{err}");
    let (status, _, err) = told(from_variable(Some("secret")).output().unwrap());
    assert!(status == 1 && err.contains("does not hold a key") && !err.contains("secret"), "{err}");
    let (status, _, err) = run(folder.path(), &["serve", "--data", "data", "--master-key", &format!("env:{KEY}")]);
    assert!(status == 2 && err.contains("name of a variable"), "{err}");
    std::fs::write(&file, KEY).unwrap();
    let service = Service::start_with(folder.path(), &["--master-key", &reference]);
    assert!(ok(&service, folder.path(), &["keys", "list"]).contains("alias/pay"));
}

#[test]
fn a_service_reads_its_master_key_from_the_environment() {
    let folder = folder();
    let mut command = godwit(folder.path(), &["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
    command.args(["--master-key", "env:GODWIT_TEST_MASTER"]).env("GODWIT_TEST_MASTER", KEY);
    let mut service = Service::of(folder.path(), command);
    ok(&service, folder.path(), &["keys", "create"]);
    service.signal("TERM");
    service.wait();
    let file = folder.path().join("k");
    std::fs::write(&file, KEY.to_uppercase()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let service = Service::start_with(folder.path(), &["--master-key", &format!("file:{}", file.display())]);
    assert_eq!(ok(&service, folder.path(), &["keys", "list"]).lines().count(), 3);
}
