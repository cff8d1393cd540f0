//! Wrong input and a world that fails: a clear message, and nothing is lost.

use crate::daemon::Daemon;
use crate::liar::{Liar, Lie};
use crate::service::{GODWIT, Service, figure};
use crate::testbed::{self, Random};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

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
    let settings = folder.path().join("own.toml");
    std::fs::write(&settings, "[server]\ntls = 'off'\n").expect("write settings");
    let settings = settings.display().to_string();
    refused(&serve(&data, &["--listen", "0.0.0.0:0", "--config", &settings]), &["without TLS", "tls = \"off\""]);
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

/// A machine with 4 MiB of random bytes on its disk.
struct Machine {
    folder: PathBuf,
    daemon: Daemon,
}

impl Machine {
    fn start(folder: &Path, name: &str, seed: u64) -> Machine {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("a folder in our folder");
        let daemon = Daemon::start(&folder, &[16 * MIB]);
        daemon.write_bytes(0, MIB, &Random::new(seed).bytes(4 << 20));
        Machine { folder, daemon }
    }

    /// Waits for a run to complete and compares its image with the disk.
    fn is_replicated_by(&self, service: &Service, run: &str) {
        let run = service.completed(run);
        let (copy, truth) = (self.folder.join("copy.raw"), self.folder.join("truth.raw"));
        self.daemon.reference(0, &truth);
        service.export(&run, 0, &copy);
        testbed::assert_same_bytes(&copy, &truth);
    }
}

/// A repeating job for the server of that name.
fn job_for(service: &Service, name: &str) -> String {
    let servers = service.json(&["servers", "list"]);
    let found = servers.as_array().expect("a list").iter().find(|server| server["name"] == name);
    service.create_job(found.and_then(|server| server["server_id"].as_str()).unwrap_or_else(|| panic!("{servers}")))
}

#[test]
fn a_source_that_lies_about_lengths_fails_its_run_and_nothing_else() {
    let folder = testbed::folder();
    let [honest, short, large] =
        [("honest", 40), ("short", 41), ("large", 42)].map(|(name, seed)| Machine::start(folder.path(), name, seed));
    let cuts = Liar::start(&short.daemon, &short.folder.join("cuts.sock"), Lie::ShortReads);
    let boasts = Liar::start(&large.daemon, &large.folder.join("boasts.sock"), Lie::LargerExport);
    let service = Service::start(&folder.path().join("data"));
    service.associate_all(&[&honest.daemon.qmp_socket(), cuts.qmp_socket(), boasts.qmp_socket()]);

    // An honest machine's run completes while a liar's is tried again.
    let (cause, other_cause) = ("an end before all of them had come", "has 17825792 bytes instead of 16777216");
    let cut_job = job_for(&service, "cuts");
    let run = service.newest_run(&cut_job);
    testbed::wait("the cause to be told while the run is tried again", Duration::from_secs(60), || {
        service.show(&run)["retrying_after"].as_str().filter(|said| said.contains(cause)).map(str::to_owned)
    });
    let honest_job = job_for(&service, "qmp");
    honest.is_replicated_by(&service, &service.newest_run(&honest_job));

    let boast_job = job_for(&service, "boasts");
    for (job, machine, liar, cause) in [(cut_job, &short, &cuts, cause), (boast_job, &large, &boasts, other_cause)] {
        let run = service.ended(&service.newest_run(&job));
        assert_eq!(run["state"], "FAILED", "{run:#}");
        assert_eq!(run["failure"]["code"], "SourceRead", "{run:#}");
        assert!(run["failure"]["evidence"].as_str().is_some_and(|said| said.contains(cause)), "{run:#}");
        assert!(run["image_id"].is_null(), "{run:#}");
        assert_eq!(machine.daemon.left_behind(), Vec::<String>::new());

        liar.be_honest();
        machine.is_replicated_by(&service, &service.start_run(&job));
    }
    assert_eq!(service.json(&["images", "list"]).as_array().map(Vec::len), Some(3), "one for each honest run");
    service.stop();
}
