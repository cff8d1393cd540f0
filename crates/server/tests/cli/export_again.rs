//! `godwit images export` after an interruption: it ends in the right file, and fetches only what is missing.

use crate::stand_in::{IMAGE, LARGE, LARGE_DATA, LARGE_SIZE, StandIn, large_bytes};
use crate::{BOUND, folder, godwit, told};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Clusters that are begun come again, and zeros between data are read along.
const SLACK: u64 = MIB;
/// Longest request.
const PIECE: u64 = 2 * MIB;
/// What is in flight is lost: six requests, and one that is being written.
const LOST: u64 = 7 * PIECE;

fn data() -> u64 {
    LARGE_DATA.iter().map(|(_, length)| length).sum()
}

fn command(folder: &Path, service: &StandIn, image: &str, args: &[&str]) -> Command {
    let mut command = godwit(folder, &["images", "export", image, "--json"]);
    command.args(args).env("GODWIT_ENDPOINT", &service.endpoint);
    command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s");
    command
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a bound, in a test that runs a real process")]
    let now = Instant::now;
    let began = now();
    while !is_so() {
        assert!(now() - began < 4 * BOUND, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Begins an export that gets `bytes` and no more; comes back when it has them.
fn begin(folder: &Path, args: &[&str], bytes: u64) -> Child {
    let service = StandIn::start();
    service.give(bytes);
    let mut command = command(folder, &service, LARGE, args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait("the bytes to be fetched", || service.given() + PIECE > bytes);
    child
}

fn interrupt(child: Child) -> (i32, String, String) {
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    told(child.wait_with_output().unwrap())
}

/// The same command again, which gets all it asks for; tells how much that was. The service is another one, because what
/// was asked before is answered still.
fn go_on(folder: &Path, args: &[&str]) -> (u64, Value) {
    let service = StandIn::start();
    let (status, out, err) = told(command(folder, &service, LARGE, args).output().unwrap());
    assert_eq!(status, 0, "{args:?}: {err}");
    assert!(err.contains("Going on with"), "{args:?}: {err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["bytes_read"], service.given(), "{args:?}");
    (service.given(), told)
}

/// Lets QEMU compare `name`, the only file but the one that it is compared with.
fn assert_is_the_volume(folder: &Path, name: &str, format: &str) {
    let wanted = folder.join("wanted");
    let file = std::fs::File::create(&wanted).unwrap();
    file.set_len(LARGE_SIZE).unwrap();
    for (offset, length) in LARGE_DATA {
        file.write_all_at(&large_bytes(offset, length), offset).unwrap();
    }
    let mut command = Command::new("qemu-img");
    command.args(["compare", "-f", "raw", "-F", format, "wanted", name]).current_dir(folder);
    let output = command.output().unwrap();
    // Of different sizes it would say more.
    assert_eq!(told(output), (0, "Images are identical.\n".to_owned(), String::new()), "{name}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "something is left behind");
}

fn killed_and_done_again(format: &str, more: &[&str]) {
    let folder = folder();
    let args: Vec<_> = ["--format", format, "--output", "e"].iter().chain(more).copied().collect();
    let mut child = begin(folder.path(), &args, 130 * MIB);
    wait("a state", || folder.path().join("e.partial.state").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("e").exists());
    let (read, told) = go_on(folder.path(), &args);
    // The first state is due after 64 MiB.
    assert!(read <= data() - 64 * MIB + SLACK, "{format}: {read} bytes were fetched of {}", data());
    assert!(told["resumed_at"].as_u64().unwrap() >= 64 * MIB - SLACK, "{told}");
    assert_is_the_volume(folder.path(), "e", format);
}

#[test]
fn a_killed_export_to_raw_goes_on() {
    killed_and_done_again("raw", &[]);
}

#[test]
fn a_killed_export_to_compressed_qcow2_goes_on() {
    killed_and_done_again("qcow2", &["--compress"]);
}

#[test]
fn a_killed_export_to_qcow2_goes_on() {
    killed_and_done_again("qcow2", &[]);
}

#[test]
fn a_killed_export_to_vmdk_goes_on() {
    killed_and_done_again("vmdk", &[]);
}

#[test]
fn a_killed_export_to_vhdx_goes_on() {
    killed_and_done_again("vhdx", &[]);
}

#[test]
fn an_interrupted_export_keeps_all_that_it_wrote_however_often() {
    for format in ["raw", "qcow2", "vmdk", "vhdx"] {
        let folder = folder();
        let args = ["--format", format, "--output", "e"];
        for (nth, given) in [60, 50].into_iter().enumerate() {
            let child = begin(folder.path(), &args, given * MIB);
            let (status, out, err) = interrupt(child);
            assert_eq!((status, out.as_str()), (1, ""), "{err}");
            assert!(err.contains("error: interrupted") && err.contains("e.partial: the same command"), "{err}");
            assert_eq!(err.contains("Going on with"), nth > 0, "{err}");
        }
        let (read, _) = go_on(folder.path(), &args);
        assert!(read <= data() - 110 * MIB + 2 * LOST + SLACK, "{format}: {read} bytes were fetched of {}", data());
        assert_is_the_volume(folder.path(), "e", format);
    }
}

#[test]
fn an_export_that_the_service_refuses_halfway_goes_on_later() {
    let (folder, service) = (folder(), StandIn::start());
    let args = ["--format", "qcow2", "--output", "e"];
    service.refuse();
    service.give(60 * MIB);
    let (status, out, err) = told(command(folder.path(), &service, LARGE, &args).output().unwrap());
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("the key is disabled") && err.contains("e.partial: the same command"), "{err}");
    let (read, _) = go_on(folder.path(), &args);
    assert!(read <= data() - 60 * MIB + LOST + SLACK, "{read} bytes were fetched of {}", data());
    assert_is_the_volume(folder.path(), "e", "qcow2");
}

#[test]
fn what_something_else_left_is_refused_until_it_is_said_to_begin_anew() {
    let (folder, service) = (folder(), StandIn::start());
    let child = begin(folder.path(), &["--format", "vmdk", "--output", "e"], 20 * MIB);
    assert_eq!(interrupt(child).0, 1);
    let left = std::fs::read(folder.path().join("e.partial")).unwrap();
    for (image, format) in [(LARGE, "raw"), (IMAGE, "vmdk")] {
        let args = ["--format", format, "--output", "e"];
        let (status, out, err) = told(command(folder.path(), &service, image, &args).output().unwrap());
        assert_eq!((status, out.as_str(), service.given()), (1, "", 0), "{err}");
        assert!(err.contains(&format!("volume 0 of {LARGE} as vmdk")) && err.contains("--restart"), "{err}");
        assert!(std::fs::read(folder.path().join("e.partial")).unwrap() == left);
    }
    let args = ["--format", "raw", "--output", "e", "--restart"];
    let (status, _, err) = told(command(folder.path(), &service, LARGE, &args).output().unwrap());
    assert!(status == 0 && !err.contains("Going on with"), "{err}");
    assert!(service.given() >= data());
    assert_is_the_volume(folder.path(), "e", "raw");
}
