//! Users, policies and roles by the command line, against the real service.

use crate::service::Service;
use crate::{folder, godwit, told};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_user_works_with_the_key_of_its_file_as_far_as_its_policies_go() {
    let folder = folder();
    let service = Service::start(folder.path());
    let ask = |args: &[&str]| service.ask(folder.path(), args);
    let (status, out, err) =
        ask(&["users", "create", "ann", "--policy", "read-only", "--credentials-file", "ann.credentials"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let file = folder.path().join("ann.credentials");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(secret.len() == 40 && !out.contains(secret), "the secret is in the file only");
    assert_eq!(ask(&["users", "create", "eve", "--credentials-file", "ann.credentials"]).0, 2, "not overwritten");

    let as_ann = |args: &[&str]| {
        let mut command = godwit(folder.path(), args);
        command.env("GODWIT_ENDPOINT", &service.endpoint).env("AWS_SHARED_CREDENTIALS_FILE", &file);
        told(command.output().unwrap())
    };
    assert_eq!(as_ann(&["jobs", "list", "--json"]).1, "[]\n");
    let (status, _, err) = as_ann(&["servers", "import"]);
    assert!(status == 4 && err.contains("sms:ImportServerCatalog"), "{status} {err}");
    assert_eq!(ask(&["users", "attach", "ann", "operator"]).0, 0);
    let (status, _, err) = as_ann(&["users", "delete", "ann"]);
    assert!(status == 4 && err.contains("godwit:DeleteUser"), "{status} {err}");
    let (status, out, _) = ask(&["users", "list"]);
    assert!(status == 0 && out.contains("operator, read-only") && out.contains("administrator"), "{out}");
    assert_eq!(ask(&["users", "disable", "ann"]).0, 0);
    assert_eq!(as_ann(&["jobs", "list"]).0, 4);
    let (status, _, err) = ask(&["users", "delete", "administrator"]);
    assert!(status == 1 && err.contains("last enabled administrator"), "{err}");
}

#[test]
fn policies_and_roles_come_from_files_and_are_shown_again() {
    let folder = folder();
    let service = Service::start(folder.path());
    let ask = |args: &[&str]| service.ask(folder.path(), args);
    std::fs::write(folder.path().join("p.json"), r#"{"Statement": {"Effect": "Allow", "Action": "godwit:*"}}"#)
        .unwrap();
    std::fs::write(folder.path().join("slip.json"), r#"{"Statement": {"Effect": "Allow", "Action": "sms:GetServer"}}"#)
        .unwrap();
    for noun in ["policies", "roles"] {
        assert_eq!(ask(&[noun, "create", "mine", "--document", "p.json", "--description", "d"]).0, 0, "{noun}");
        let (status, out, _) = ask(&[noun, "show", "mine"]);
        assert!(status == 0 && out.contains("\"Action\": \"godwit:*\""), "{out}");
        let (status, _, err) = ask(&[noun, "update", "mine", "--document", "slip.json"]);
        assert!(status == 1 && err.contains("is 'sms:GetServers' meant?"), "{err}");
        assert!(ask(&[noun, "list"]).1.contains("mine"));
        assert_eq!(ask(&[noun, "delete", "mine"]).0, 0);
        assert_eq!(ask(&[noun, "show", "mine"]).0, 1);
    }
    let (status, _, err) = ask(&["jobs", "update", "sms-job-00000000", "--role", "mine"]);
    assert!(status == 1 && err.contains("sms-job-00000000"), "{err}");
    let (_, out, _) = ask(&["users", "keys", "create", "administrator", "--json"]);
    let key: serde_json::Value = serde_json::from_str(&out).unwrap();
    let id = key["access_key_id"].as_str().unwrap();
    assert_eq!(key["secret_access_key"].as_str().unwrap().len(), 40);
    for action in ["disable", "enable", "delete"] {
        assert_eq!(ask(&["users", "keys", action, id]).0, 0, "{action}");
    }
    let (_, out, _) = ask(&["users", "keys", "list", "--json"]);
    assert!(!out.contains(id) && out.contains("administrator"), "{out}");
}
