//! The real binary from outside: its statuses, its messages, its data folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const GODWIT: &str = env!("CARGO_BIN_EXE_godwit");
/// Bound of everything that is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// A command without anything of this machine's environment.
fn godwit(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(GODWIT);
    command.args(args).env_clear().env("HOME", folder).env("TZ", "UTC").current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    told(godwit(folder, args).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A running service; ended when dropped.
struct Service {
    child: Child,
    endpoint: String,
    lines: Vec<String>,
}

impl Service {
    fn start(folder: &Path) -> Service {
        let mut child = godwit(folder, &["serve", "--data", "data", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let is_first = !folder.join("data/credentials").exists();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<String> = (0..1 + usize::from(is_first)).filter_map(|_| out.next()?.ok()).collect();
        let endpoint =
            lines.iter().find_map(|line| line.strip_prefix("godwit listening on ")).unwrap_or_default().to_owned();
        let service = Service { child, endpoint, lines };
        assert!(service.endpoint.starts_with("http://127.0.0.1:"), "{:?}", service.lines);
        service
    }

    fn ask(&self, folder: &Path, args: &[&str]) -> (i32, String, String) {
        let file = folder.join("data/credentials");
        let mut command = godwit(folder, args);
        command.env("GODWIT_ENDPOINT", &self.endpoint).env("AWS_SHARED_CREDENTIALS_FILE", file);
        told(command.output().unwrap())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    fn wait(&mut self) -> Option<i32> {
        // Polled: a process cannot be waited for with a bound otherwise.
        const PAUSE: Duration = Duration::from_millis(20);
        for _ in 0..BOUND.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(PAUSE);
        }
        panic!("the service did not end in {BOUND:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

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
fn no_service_is_status_3_and_says_how_to_start_one() {
    let folder = folder();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = godwit(folder.path(), &["runs", "list", "--endpoint", &free.to_string()])
        .env("AWS_ACCESS_KEY_ID", "GW")
        .env("AWS_SECRET_ACCESS_KEY", "s")
        .output();
    let (status, out, err) = told(output.unwrap());
    assert_eq!((status, out.as_str()), (3, ""), "{err}");
    assert!(err.contains(&free.to_string()) && err.contains("godwit serve --data"), "{err}");
}

#[test]
fn no_keys_is_status_4_and_names_the_file_that_serve_writes() {
    let folder = folder();
    let (status, _, err) = run(folder.path(), &["runs", "list"]);
    assert_eq!(status, 4, "{err}");
    assert!(err.contains(".aws/credentials") && err.contains("AWS_SHARED_CREDENTIALS_FILE=DIR/credentials"), "{err}");
}

#[test]
fn other_addresses_than_loopback_are_refused_before_anything_is_created() {
    let folder = folder();
    for listen in ["0.0.0.0:0", "192.0.2.1:8384", "[::]:0"] {
        let (status, out, err) = run(folder.path(), &["serve", "--data", "data", "--listen", listen]);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(err.contains("loopback") && err.contains("TLS"), "{err}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
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
    ] {
        let (status, out, err) = service.ask(folder.path(), args);
        assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(err.starts_with("error: ") && err.lines().count() <= 2, "{args:?}: {err}");
    }
    assert!(!folder.path().join("disk.raw").exists() && !folder.path().join("disk.raw.partial").exists());
}

#[test]
fn a_port_in_use_is_told_and_the_service_ends() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (status, out, err) = run(folder.path(), &["serve", "--data", "data", "--listen", &listen, "--log", "off"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains(&listen) && err.contains("--listen 127.0.0.1:PORT"), "{err}");
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

/// A guest agent that answers what a freeze needs, and says what it was asked.
fn guest_agent(socket: &Path) -> std::sync::mpsc::Receiver<String> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut frozen = false;
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut out = stream;
            loop {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&line).replace('\u{fffd}', "");
                let asked: serde_json::Value = serde_json::from_str(&text).unwrap();
                let command = asked["execute"].as_str().unwrap().to_owned();
                let (before, answer) = match command.as_str() {
                    "guest-sync-delimited" => (&[0xff][..], asked["arguments"]["id"].clone()),
                    "guest-fsfreeze-status" => (&[][..], if frozen { "frozen".into() } else { "thawed".into() }),
                    _ => (&[][..], 1.into()),
                };
                frozen = command == "guest-fsfreeze-freeze" || (frozen && command != "guest-fsfreeze-thaw");
                let line = [before, format!("{{\"return\": {answer}}}\n").as_bytes()].concat();
                if out.write_all(&line).is_err() || tell.send(command).is_err() {
                    return;
                }
            }
        }
    });
    told
}

#[test]
fn a_frozen_guest_is_thawed_when_the_service_is_gone() {
    let folder = folder();
    let (socket, marker) = (folder.path().join("qga.sock"), folder.path().join("frozen"));
    let asked = guest_agent(&socket);
    let (socket, file) = (socket.to_str().unwrap(), marker.to_str().unwrap());
    let args = ["thaw-guard", socket, file, "7", "5000", "5000", "60000", "5000"];
    let mut guard = godwit(folder.path(), &args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(guard.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "frozen 1");
    assert!(marker.exists());
    // Signals to the service's group do not end it; the end of the service does: its side of the pipe closes.
    for name in ["-TERM", "-INT", "-HUP"] {
        assert!(Command::new("kill").args([name, &guard.id().to_string()]).status().unwrap().success());
    }
    assert!(guard.try_wait().unwrap().is_none());
    drop(guard.stdin.take());
    assert_eq!(said.next().unwrap().unwrap(), "thawed");
    assert_eq!(guard.wait().unwrap().code(), Some(0));
    assert!(!marker.exists());
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked.last().map(String::as_str), Some("guest-fsfreeze-thaw"), "{asked:?}");
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
