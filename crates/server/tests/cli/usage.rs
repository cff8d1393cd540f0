//! Statuses, messages and help.

use crate::service::Service;
use crate::{folder, godwit, run};
use std::io::Read;
use std::process::Stdio;

#[test]
fn wrong_usage_is_status_2() {
    let folder = folder();
    for args in [&["nonsense"][..], &["jobs", "create"], &["serve"], &["runs", "list", "--endpoint", "ftp://x"]] {
        let (status, out, err) = run(folder.path(), args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains("error:"), "{err}");
    }
}

#[test]
fn what_the_service_refuses_is_status_1_with_its_message() {
    let folder = folder();
    let service = Service::start(folder.path());
    for args in [
        &["jobs", "show", "sms-job-00000000"][..],
        &["jobs", "create", "--server", "nobody", "--once"],
        &["jobs", "create", "--server", "s-00000000", "--once"],
        &["runs", "show", "sms-run-00000000"],
        &["runs", "watch", "sms-run-00000000"],
        &["images", "verify", "ami-00000000000000000"],
        &["images", "export", "ami-00000000000000000", "--format", "raw", "--output", "disk.raw"],
        &["connectors", "add", "qmp", "--name", "n", "--socket", "/nowhere/qmp.sock"],
        &["connectors", "remove", "nobody"],
        &["connectors", "remove", "c-nobody"],
        &["jobs", "create", "--server", "nobody", "--once", "--keep", "0"],
    ] {
        let (status, out, err) = service.ask(folder.path(), args);
        assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(err.starts_with("error: ") && err.lines().count() <= 2, "{args:?}: {err}");
    }
    assert!(!folder.path().join("disk.raw").exists() && !folder.path().join("disk.raw.partial").exists());
}

#[test]
fn help_version_and_completions_need_no_service() {
    let folder = folder();
    for (args, part) in [
        (&["--help"][..], "Exit status"),
        (&["--version"], "godwit 0."),
        (&["jobs", "create", "--help"], "Examples:"),
        (&["images", "export", "--help"], "--format"),
        (&["completions", "bash"], "_godwit"),
        (&["completions", "zsh"], "#compdef godwit"),
        (&["completions", "fish"], "complete -c godwit"),
    ] {
        let (status, out, err) = run(folder.path(), args);
        assert_eq!((status, err.as_str()), (0, ""), "{args:?}");
        assert!(out.contains(part) && !out.contains("thaw-guard <"), "{args:?}: {out}");
    }
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let folder = folder();
    let mut child =
        godwit(folder.path(), &["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn a_connector_may_be_called_like_an_id() {
    let folder = folder();
    let service = Service::start(folder.path());
    let add = ["connectors", "add", "qmp", "--name", "c-rack1", "--socket", "."];
    let (status, _, err) = service.ask(folder.path(), &add);
    assert_eq!((status, err.as_str()), (0, ""));
    let (status, out, err) = service.ask(folder.path(), &["connectors", "remove", "c-rack1"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert_eq!(service.ask(folder.path(), &["connectors", "list", "--json"]).1, "[]\n");
}
