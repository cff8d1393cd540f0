//! `godwit serve`: what it creates, refuses and survives.

use crate::service::Service;
use crate::{folder, godwit, run, told};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[test]
fn other_addresses_than_loopback_are_refused_without_tls_before_anything_is_created() {
    let folder = folder();
    std::fs::write(folder.path().join("own.toml"), "[server]\ntls = 'off'\n").unwrap();
    for listen in ["0.0.0.0:0", "192.0.2.1:8384", "[::]:0"] {
        let args = ["serve", "--data", "data", "--config", "own.toml", "--listen", listen];
        let (status, out, err) = run(folder.path(), &args);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(err.contains("without TLS") && err.contains("an own certificate is made"), "{err}");
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn settings_are_shown_checked_and_refused_before_anything_is_created() {
    let folder = folder();
    let shown = run(folder.path(), &["serve", "--data", "data", "--check-config"]);
    assert_eq!((shown.0, shown.2.as_str()), (0, ""));
    assert!(shown.1.starts_with("[jobs]\n") && shown.1.contains("keep_deleted = \"90d\""), "{}", shown.1);

    // What is shown can be given back, changed.
    std::fs::write(folder.path().join("own.toml"), shown.1.replace("90d", "forever")).unwrap();
    let own = run(folder.path(), &["serve", "--data", "data", "--config", "own.toml", "--check-config"]);
    assert!(own.1.contains("keep_deleted = \"forever\""), "{}", own.1);

    std::fs::write(folder.path().join("own.toml"), "[jobs]\npause_after = 3\n").unwrap();
    for file in ["own.toml", "missing.toml"] {
        let (status, out, err) = run(folder.path(), &["serve", "--data", "data", "--config", file]);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(file), "{err}");
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_newer_data_folder_is_refused_and_untouched() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("version"), "99\n").unwrap();
    std::fs::write(data.join("state.db"), "of the future").unwrap();
    let (status, out, err) = run(folder.path(), &["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("format 99"), "{err}");
    assert_eq!(std::fs::read_to_string(data.join("state.db")).unwrap(), "of the future");
    assert!(!data.join("master.key").exists() && !data.join("objects").exists());
}

#[test]
fn the_first_start_tells_address_and_keys_and_an_empty_service_says_what_to_do() {
    let folder = folder();
    let service = Service::start(folder.path());
    let file = folder.path().join("data/credentials");
    assert_eq!(service.lines[1], format!("credentials of the administrator: {}", file.display()));
    for name in ["credentials", "master.key", "state.db"] {
        let mode = std::fs::metadata(folder.path().join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for (noun, hint) in [
        ("connectors", "godwit connectors add qmp"),
        ("servers", "godwit connectors add qmp"),
        ("jobs", "godwit jobs create"),
        ("runs", "godwit jobs create"),
        ("images", "godwit runs list"),
    ] {
        let (status, out, err) = service.ask(folder.path(), &[noun, "list"]);
        assert_eq!((status, err.as_str()), (0, ""), "{noun}");
        assert!(out.starts_with("No ") && out.contains(hint), "{out}");
        assert_eq!(service.ask(folder.path(), &[noun, "list", "--json"]), (0, "[]\n".to_owned(), String::new()));
    }
}

#[test]
fn a_folder_in_use_names_the_process_and_is_free_after_an_orderly_end() {
    let folder = folder();
    let mut first = Service::start(folder.path());
    let (status, out, err) = run(folder.path(), &["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("in use by another process") && err.contains(&first.child.id().to_string()), "{err}");
    first.signal("TERM");
    assert_eq!(first.wait(), Some(0));

    let keys = std::fs::read(folder.path().join("data/credentials")).unwrap();
    let second = Service::start(folder.path());
    assert_eq!(second.lines.len(), 1, "the keys are told once");
    assert_eq!(std::fs::read(folder.path().join("data/credentials")).unwrap(), keys);
    assert_eq!(second.ask(folder.path(), &["jobs", "list"]).0, 0);
}

#[test]
fn keys_survive_a_kill_and_foreign_ones_are_status_4() {
    let folder = folder();
    let mut service = Service::start(folder.path());
    service.signal("KILL");
    assert_eq!(service.wait(), None);
    let service = Service::start(folder.path());
    assert_eq!(service.ask(folder.path(), &["images", "list"]).0, 0);
    for (id, secret) in [("GWAAAAAAAAAAAAAAAAAA", "x"), ("", "")] {
        let mut command = godwit(folder.path(), &["images", "list", "--endpoint", &service.endpoint]);
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
        let (status, _, err) = told(command.output().unwrap());
        assert_eq!(status, 4, "{err}");
        assert!(err.contains("next:"), "{err}");
    }
}

#[test]
fn a_port_in_use_is_told_and_the_service_ends() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (status, out, err) = run(folder.path(), &["serve", "--data", "data", "--listen", &listen, "--log", "off"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains(&listen) && err.contains("--listen 127.0.0.1:PORT"), "{err}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    assert_eq!(Service::start(folder.path()).lines.len(), 2, "the first start tells where the keys are");
}

#[test]
fn lost_keys_are_made_anew_and_told() {
    let folder = folder();
    let file = folder.path().join("data/credentials");
    drop(Service::start(folder.path()));
    std::fs::remove_file(&file).unwrap();
    let service = Service::start(folder.path());
    assert_eq!(service.lines[1], format!("credentials of the administrator: {}", file.display()));
    assert_eq!(service.ask(folder.path(), &["jobs", "list"]).0, 0);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap();
    assert!(log.contains("WARN") && log.contains("keys were missing") && log.contains("data/credentials"), "{log}");
}

#[test]
fn keys_that_others_can_read_are_told() {
    let folder = folder();
    let file = folder.path().join("data/credentials");
    drop(Service::start(folder.path()));
    for (mode, is_told) in [(0o600, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let service = Service::start(folder.path());
        assert_eq!((service.lines.len(), service.ask(folder.path(), &["jobs", "list"]).0), (1, 0));
        let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap();
        let told = log.contains(&format!("can be read by other users (mode {mode:03o})")) && log.contains("chmod 600");
        assert_eq!(told, is_told, "{log}");
    }
}

#[test]
fn session_tokens_are_not_logged_at_any_level() {
    for filter in ["trace", "aws_sigv4=trace", "info,aws_sigv4::http_request::sign=trace"] {
        let folder = folder();
        let mut service = Service::start_with(folder.path(), &["--log", filter]);
        let mut command = godwit(folder.path(), &["images", "list", "--endpoint", &service.endpoint]);
        command.env("AWS_SHARED_CREDENTIALS_FILE", with_token(folder.path()));
        told(command.output().unwrap());
        service.signal("TERM");
        service.wait();
        let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap();
        assert!(!log.contains("t0ken-of-a-session"), "{filter}:\n{log}");
        assert!(filter != "trace" || log.contains("DEBUG"), "other targets are not capped:\n{log}");
    }
}

/// The administrator's keys, with a session token added.
fn with_token(folder: &Path) -> PathBuf {
    let mut text = std::fs::read_to_string(folder.join("data/credentials")).unwrap();
    text.push_str("aws_session_token = t0ken-of-a-session\n");
    let file = folder.join("with-token");
    std::fs::write(&file, text).unwrap();
    file
}
