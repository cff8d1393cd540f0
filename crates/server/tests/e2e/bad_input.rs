//! Wrong input and a world that fails: a clear message, and nothing is lost.

use crate::daemon::Daemon;
use crate::service::{GODWIT, Service, figure};
use crate::testbed::{self, Random};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MIB: u64 = 1 << 20;

fn serve(data: &Path, more: &[&str]) -> Output {
    Command::new(GODWIT).arg("serve").arg("--data").arg(data).args(more).output().expect("start godwit serve")
}

/// Insists that the command failed and that its message holds all of `words`.
fn refused(output: &Output, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it should have failed: {message}");
    for word in words {
        assert!(message.contains(word), "'{word}' is missing in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn a_data_folder_belongs_to_one_process() {
    let folder = testbed::folder();
    let data = folder.path().join("data");
    let service = Service::start(&data);
    let second = serve(&data, &["--listen", "127.0.0.1:0"]);
    refused(&second, &["in use", &data.display().to_string()]);
    assert_eq!(service.json(&["connectors", "list"]).as_array().map(Vec::len), Some(0), "the first one goes on");
}

#[test]
fn a_data_folder_of_a_newer_version_is_left_alone() {
    let folder = testbed::folder();
    let data = folder.path().join("data");
    Service::start(&data).stop();
    std::fs::write(data.join("version"), "999\n").expect("write a version of the future");
    let before = std::fs::read(data.join("state.db")).expect("the state");
    refused(&serve(&data, &["--listen", "127.0.0.1:0"]), &["newer", "999"]);
    assert_eq!(std::fs::read(data.join("state.db")).expect("the state"), before);
}

#[test]
fn plain_http_is_for_loopback_only() {
    let folder = testbed::folder();
    let data = folder.path().join("data");
    refused(&serve(&data, &["--listen", "0.0.0.0:0"]), &["loopback"]);
    assert!(!data.exists(), "nothing was made");
}

#[test]
fn sockets_that_are_no_source_are_refused() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[MIB]);
    let service = Service::start(&folder.path().join("data"));
    let add = |socket: PathBuf| {
        let socket = socket.display().to_string();
        service.command(&["connectors", "add", "qmp", "--name", "x", "--socket", &socket])
    };
    refused(&add(folder.path().join("nothing.sock")), &["nothing.sock", "there is no socket"]);
    refused(&add(folder.path().join("nbd.sock")), &["nbd.sock", "QMP"]);
    refused(&service.command(&["servers", "import"]), &["connector"]);
    assert_eq!(service.json(&["connectors", "list"]).as_array().map(Vec::len), Some(0));
    drop(daemon);
}

#[test]
fn unknown_things_are_named() {
    let folder = testbed::folder();
    let service = Service::start(&folder.path().join("data"));
    refused(&service.command(&["runs", "show", "sms-run-00000000"]), &["sms-run-00000000"]);
    refused(&service.command(&["images", "verify", "ami-00000000000000000"]), &["ami-00000000000000000"]);
    refused(&service.command(&["jobs", "create", "--server", "s-00000000", "--every", "12h"]), &["s-00000000"]);
    refused(&service.command(&["jobs", "delete", "sms-job-00000000"]), &["sms-job-00000000"]);
}

/// A folder on a file system of its own, unmounted with the value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, mib: u64) -> Tmpfs {
        std::fs::create_dir_all(at).expect("a mount point");
        let size = format!("size={mib}m,mode=0700");
        testbed::run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &at.display().to_string()]);
        Tmpfs(at.to_owned())
    }

    fn grow(&self, mib: u64) {
        let size = format!("remount,size={mib}m");
        testbed::run("mount", &["-o", &size, &self.0.display().to_string()]);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_the_run_and_nothing_else() {
    let folder = testbed::folder();
    let data = folder.path().join("data");
    let disk = Tmpfs::mount(&data, 48);
    let daemon = Daemon::start(folder.path(), &[128 * MIB]);
    let mut random = Random::new(30);
    daemon.write_bytes(0, 0, &random.bytes(90 << 20));

    // Scratch files elsewhere: a full scratch folder is another failure, found before the point in time is taken.
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).expect("a scratch folder");
    let service = Service::start_with(&data, &["--scratch-dir", &scratch.display().to_string()]);
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    let run = service.ended(&service.newest_run(&job));
    assert_eq!(run["state"], "FAILED", "{run:#}");
    assert_eq!(run["failure"]["code"], "StoreFull", "{run:#}");
    assert!(run["failure"]["next_step"].as_str().is_some_and(|s| s.contains("free space")), "{run:#}");
    assert_eq!(service.json(&["images", "list"]).as_array().map(Vec::len), Some(0));

    disk.grow(400);
    let truth = folder.path().join("truth.raw");
    daemon.reference(0, &truth);
    let run = service.completed(&service.start_run(&job));
    let copy = folder.path().join("copy.raw");
    service.export(&run, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
    assert!(figure(&run, 0, "bytes_stored") >= 90 * MIB, "{run:#}");
    service.stop();
}
