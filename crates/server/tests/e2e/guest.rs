//! A real guest in a real QEMU, writing all the time: what is replicated is one instant of it, and its image boots.
//! Whatever happens to the service, the guest goes on.

use crate::service::{Service, figure};
use crate::testbed;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed").join(name).canonicalize().expect("a testbed tool")
}

/// A booted guest; ended with the value.
struct Guest {
    folder: PathBuf,
}

impl Guest {
    fn boot(folder: &Path, qemu: &str) -> Guest {
        let source = testbed::prepared("GODWIT_TESTBED").join("small.raw").display().to_string();
        let disk = folder.join("disk.qcow2").display().to_string();
        testbed::run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &source, &disk]);
        let guest = Guest { folder: folder.to_owned() };
        testbed::run(tool("start-guest"), &[&disk, &folder.display().to_string(), "--qemu", qemu]);
        guest
    }

    fn qmp_socket(&self) -> PathBuf {
        self.folder.join("qmp.sock")
    }

    fn generation(&self) -> u64 {
        let log = std::fs::read(self.folder.join("serial.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().rev().find_map(|line| line.trim().strip_prefix("GEN ")?.parse().ok()).unwrap_or(0)
    }

    fn wait_for_generation(&self, wanted: u64) {
        testbed::wait("the guest to write", Duration::from_secs(180), || (self.generation() >= wanted).then_some(()));
    }

    fn qmp(&self, command: &str) -> Value {
        let socket = self.qmp_socket().display().to_string();
        serde_json::from_str(&testbed::run(tool("qmp"), &[&socket, command])).expect("QMP answers JSON")
    }

    fn left_behind(&self) -> String {
        let socket = self.qmp_socket().display().to_string();
        testbed::run(tool("qmp"), &[&socket, "--left-behind"]).trim().to_owned()
    }

    /// Our export of the point in time, if there is one now.
    fn export_of_ours(&self) -> Option<String> {
        let exports = self.qmp("query-block-exports");
        let ids = exports.as_array().expect("a list").iter().filter_map(|e| e["id"].as_str());
        ids.filter(|id| id.starts_with("godwit-")).map(str::to_owned).next()
    }
}

/// Asks the guest's agent whether its file systems are frozen, as soon as nobody else talks to it.
fn freeze_status(guest: &Guest) -> Option<String> {
    let mut agent = UnixStream::connect(guest.folder.join("qga.sock")).expect("the agent's channel");
    agent.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout can be set");
    let sync = b"\xff{\"execute\": \"guest-sync-delimited\", \"arguments\": {\"id\": 4711}}\n";
    agent.write_all(sync).ok()?;
    agent.write_all(b"{\"execute\": \"guest-fsfreeze-status\"}\n").ok()?;
    let lines = BufReader::new(agent).split(b'\n').map_while(Result::ok).take(8);
    let said = lines.filter_map(|line| {
        let message = line.rsplit(|byte| *byte == 0xff).next()?;
        serde_json::from_slice::<Value>(message).ok()?["return"].as_str().map(str::to_owned)
    });
    said.into_iter().next()
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = Command::new(tool("stop-guest")).arg(&self.folder).status();
    }
}

/// Everything below a folder, as far as it does not go while one looks.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
}

/// What says that the guest may be frozen.
fn marker(data: &Path) -> Option<PathBuf> {
    below(data).into_iter().find(|path| path.extension().is_some_and(|extension| extension == "frozen"))
}

/// Kills the service at growing moments until it dies with a point in time open, and copies that point with a tool of
/// other people.
fn reference_of_the_point(guest: &Guest, mut service: Service, data: &Path, to: &Path) -> Service {
    for moment in 0..40 {
        std::thread::sleep(Duration::from_millis(100 + moment * 40));
        service.kill();
        if let Some(export) = guest.export_of_ours() {
            let sockets: Vec<PathBuf> = below(data).into_iter().filter(|path| is_socket(path)).collect();
            let copied = sockets.iter().any(|socket| {
                let uri = format!("nbd+unix:///{export}?socket={}", socket.display());
                let convert = ["convert", "-f", "raw", "-O", "raw", &uri, &to.display().to_string()];
                Command::new("qemu-img").args(convert).status().is_ok_and(|status| status.success())
            });
            assert!(copied, "no socket of {sockets:?} serves {export}");
            return Service::start(data);
        }
        service = Service::start(data);
    }
    panic!("the service never died with a point in time open");
}

fn scenario(qemu: &str) {
    let folder = testbed::folder();
    let guest = Guest::boot(folder.path(), qemu);
    guest.wait_for_generation(2);

    let data = folder.path().join("data");
    let service = Service::start(&data);
    service.associate(&guest.qmp_socket());
    let server = service.only_server();
    let listed = service.json(&["servers", "list"]);
    assert_eq!(listed[0]["platform"], "LINUX", "as the guest's agent tells: {listed:#}");
    let refused = service.command(&["jobs", "create", "--server", &server, "--once", "--licence", "aws"]);
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("not possible for a Linux server"), "{refused}");
    let job = service.create_job(&server);
    let run = service.newest_run(&job);
    let truth = folder.path().join("truth.raw");
    let service = reference_of_the_point(&guest, service, &data, &truth);
    let first = service.completed(&run);
    assert_eq!(first["consistency"], "FILE_SYSTEM", "the guest's agent froze it: {first:#}");
    let copy = folder.path().join("copy.raw");
    service.export(&first, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);

    let written = guest.generation();
    guest.wait_for_generation(written + 3);
    let second = service.completed(&service.start_run(&job));
    assert_eq!(second["volumes"][0]["tracked"], true, "{second:#}");
    assert!(figure(&second, 0, "bytes_read") < figure(&first, 0, "bytes_read"), "{second:#}");

    let image = second["image_id"].as_str().expect("an image").to_owned();
    let qcow2 = folder.path().join("boots.qcow2").display().to_string();
    service.cli(&["images", "verify", &image]);
    service.cli(&["images", "export", &image, "--volume", "0", "--format", "qcow2", "--output", &qcow2]);
    let console = testbed::run(tool("boot-image"), &[&qcow2, "--qemu", qemu]);
    assert!(console.contains("GODWIT-CHECK ok"), "{console}");
    let checked = console.split("gen=").nth(1).and_then(|s| s.trim().parse::<u64>().ok()).expect("a generation");
    assert!(checked >= written + 3, "the image holds what was written before the run: {checked} of {}", written + 3);

    service.cli(&["jobs", "delete", &job, "--wait"]);
    assert_eq!(guest.left_behind(), "", "nothing is left in QEMU");
    let before = guest.generation();
    guest.wait_for_generation(before + 1);
    assert_eq!(guest.qmp("query-status")["status"], json!("running"));
}

/// Stands between the service and QMP: keeps transactions back, so that a moment lasts.
struct Brake {
    on: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
}

impl Brake {
    fn between(at: &Path, real: PathBuf) -> Brake {
        let listener = UnixListener::bind(at).expect("a socket for the service");
        let brake = Brake { on: Arc::new(AtomicBool::new(true)), held: Arc::default() };
        let (on, held) = (brake.on.clone(), brake.held.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // One client at a time, as QEMU does.
                let _ = relay(client, &real, &on, &held);
            }
        });
        brake
    }
}

fn relay(client: UnixStream, real: &Path, on: &AtomicBool, held: &AtomicUsize) -> std::io::Result<()> {
    let mut qemu = UnixStream::connect(real)?;
    let (mut answers, mut to_client) = (qemu.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut to_client);
    });
    for line in BufReader::new(client).split(b'\n') {
        let line = line?;
        let is_transaction = line.windows(13).any(|part| part == b"\"transaction\"");
        if is_transaction && on.load(Ordering::SeqCst) {
            held.fetch_add(1, Ordering::SeqCst);
        } else {
            qemu.write_all(&[&line[..], b"\n"].concat())?;
        }
    }
    qemu.shutdown(std::net::Shutdown::Both)?;
    let _ = back.join();
    Ok(())
}

#[test]
fn a_guest_is_thawed_though_the_service_is_killed_while_it_is_frozen() {
    let folder = testbed::folder();
    let guest = Guest::boot(folder.path(), "10");
    guest.wait_for_generation(1);
    let (data, socket) = (folder.path().join("data"), folder.path().join("brake.sock"));
    let brake = Brake::between(&socket, guest.qmp_socket());
    let mut service = Service::start(&data);
    service.associate(&socket);
    let run = service.newest_run(&service.create_job(&service.only_server()));
    for kills in 1..=2 {
        // The transaction comes behind the freeze.
        testbed::wait("the freeze", Duration::from_secs(60), || {
            (brake.held.load(Ordering::SeqCst) >= kills).then_some(())
        });
        let found = marker(&data).expect("what says that the guest may be frozen");
        service.kill();
        // Nobody but the freezer is left, which has nobody to report to.
        testbed::wait("the thaw", Duration::from_secs(60), || (!found.exists()).then_some(()));
        assert_eq!(freeze_status(&guest).as_deref(), Some("thawed"));
        let written = guest.generation();
        guest.wait_for_generation(written + 1);
        service = Service::start(&data);
    }
    brake.on.store(false, Ordering::SeqCst);
    service.kill();
    let service = Service::start(&data);
    let run = service.completed(&run);
    assert_eq!(run["consistency"], "FILE_SYSTEM", "{run:#}");
}

#[test]
fn a_live_guest_of_qemu_10_becomes_an_image_that_boots() {
    scenario("10");
}

#[test]
fn a_live_guest_of_qemu_7_2_becomes_an_image_that_boots() {
    scenario("7.2");
}
